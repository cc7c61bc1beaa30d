import io
from pathlib import Path

from rich.console import Console

from flows.steps import Done
from flows.terminal import Terminal


def done(*, reused):
    return Done(stage="arm", what="real 0", seconds=12.4, reused=reused, folder=Path())


def test_each_step_is_a_line_with_its_number_and_what_became_of_it():
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100), 2)
    terminal("arm", "real 0", lambda watch: done(reused=False))
    terminal("arm", "real 1", lambda watch: done(reused=True))
    assert out.getvalue().splitlines() == [" 1/2 arm real 0: 12 s", " 2/2 arm real 1: kept from before (took 12 s)"]
