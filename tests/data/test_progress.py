import io

from rich.console import Console

from data.progress import LogProgress, progress_bar


def test_progress_is_logged_now_and_then_but_not_at_the_end():
    lines = []
    progress = LogProgress(lines.append, every=0)
    progress(1, 4, "loss 0.6")  # the first call is where an interrupted run resumes
    progress(2, 4, "loss 0.5")
    progress(4, 4, "loss 0.4")
    assert len(lines) == 1
    assert lines[0].startswith("2 of 4, about ")
    assert lines[0].endswith(" s left, loss 0.5")
    patient = LogProgress(lines.append, every=60)
    patient(1, 4)
    patient(2, 4)
    assert len(lines) == 1


def test_a_bar_is_shown_in_a_terminal_and_disappears_at_the_end():
    out = io.StringIO()
    with progress_bar(Console(file=out, width=80, force_terminal=True, color_system=None), "reading") as progress:
        progress(3, 4)
    assert "3 of 4" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K"), "the line is wiped"


def test_no_terminal_gets_no_bar():
    out = io.StringIO()
    with progress_bar(Console(file=out, width=80), "reading") as progress:
        progress(3, 4)
    assert out.getvalue() == ""


def test_a_long_line_is_one_line_in_a_narrow_window(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("data.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    with progress_bar(Console(file=out, width=20), "fine-tune df, vasc") as progress:
        progress(1, 9)
        now[0] = 20.0
        progress(2, 9, "loss df 0.121 (held-out 0.153), vasc 0.140")
    assert out.getvalue().count("\n") == 1
