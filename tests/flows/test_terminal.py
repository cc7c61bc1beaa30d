import io
from pathlib import Path

from rich.console import Console

from flows.steps import StepResult
from flows.terminal import TerminalRunner


def done(*, reused):
    return StepResult(stage="arm", what="real 0", seconds=12.4, reused=reused, folder=Path())


def test_each_piece_of_work_is_a_line_with_its_number_and_its_outcome():
    out = io.StringIO()
    run = TerminalRunner(Console(file=out, width=100))
    run("split", "", lambda progress: done(reused=False))
    run.expect(2)
    run("arm", "real 0", lambda progress: done(reused=False))
    run("arm", "real 1", lambda progress: done(reused=True))
    assert out.getvalue().splitlines() == [
        " 1 split: 12 s",
        " 2/3 arm real 0: 12 s",
        " 3/3 arm real 1: kept from before (took 12 s)",
    ]
