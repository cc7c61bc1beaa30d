import urllib.error

import pytest

from flows import start
from flows.launch.environment import StartError


def test_an_unknown_command_gets_the_usage_and_2(capsys):
    assert start.main(["dmeo"]) == 2
    assert "python3 -m flows.start demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (StartError("no Python"), 2, "error: no Python\n"),
        (RuntimeError("it broke"), 1, "failed: it broke\n"),
        (
            urllib.error.URLError("refused"),
            1,
            "failed: the Prefect server answers no more (<urlopen error refused>); the",
        ),
        (KeyboardInterrupt(), 130, "goes on"),
    ],
)
def test_exit_codes(monkeypatch, capsys, fault, code, words):
    def fails():
        raise fault

    monkeypatch.setattr(start, "environment", fails)
    assert start.main(["up"]) == code
    assert words in capsys.readouterr().err


@pytest.fixture
def ran(monkeypatch):
    """Nothing is set up, and mypy fails; gives what was called, and with which instructions for the processor."""
    calls = []

    class Ended:
        def __init__(self, code):
            self.returncode = code

    def call(command, env):
        calls.append((command[0].rsplit("/", 1)[-1], env.get("ATEN_CPU_CAPABILITY")))
        return Ended(int(calls[-1][0] == "mypy"))

    monkeypatch.setattr(start, "environment", lambda: None)
    monkeypatch.setattr(start, "call", call)
    return calls


ONCE = [("ruff", None), ("ruff", None), ("mypy", None), ("lint-imports", None), ("pytest", None)]


def test_one_failing_check_fails_the_whole_after_all_have_run(ran, capsys):
    assert start.main(["test"]) == 1
    assert ran == [*ONCE, ("pytest", "avx2"), ("pytest", "default")]
    said = capsys.readouterr()
    assert "failed: mypy\n" in said.err
    assert "$ ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 pytest -q" in said.out


def test_tests_that_are_asked_for_run_once(ran):
    assert start.main(["test", "tests/data"]) == 1
    assert ran == ONCE
