import io

from rich.console import Console

from data.progress import Spoken, watched


def test_progress_is_said_now_and_then_but_not_at_the_end():
    lines = []
    watch = Spoken(lines.append, every=0)
    watch(1, 4, "loss 0.6")  # the first tells where an interrupted run goes on
    watch(2, 4, "loss 0.5")
    watch(4, 4, "loss 0.4")
    assert len(lines) == 1
    assert lines[0].startswith("2 of 4, about ")
    assert lines[0].endswith(" s left, loss 0.5")
    patient = Spoken(lines.append, every=60)
    patient(1, 4)
    patient(2, 4)
    assert len(lines) == 1


def test_a_bar_is_shown_in_a_terminal_and_goes_when_the_work_is_done():
    out = io.StringIO()
    with watched(Console(file=out, width=80, force_terminal=True, color_system=None), "reading") as watch:
        watch(3, 4)
    assert "3 of 4" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K"), "the line is wiped"


def test_no_terminal_gets_no_bar():
    out = io.StringIO()
    with watched(Console(file=out, width=80), "reading") as watch:
        watch(3, 4)
    assert out.getvalue() == ""
