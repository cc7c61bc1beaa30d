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
        (KeyboardInterrupt(), 130, "goes on"),
    ],
)
def test_exit_codes(monkeypatch, capsys, fault, code, words):
    def fails():
        raise fault

    monkeypatch.setattr(start, "environment", fails)
    assert start.main(["up"]) == code
    assert words in capsys.readouterr().err


def test_one_failing_check_fails_the_whole_after_all_have_run(monkeypatch, capsys):
    ran = []

    class Ended:
        def __init__(self, code):
            self.returncode = code

    def call(command, **_):
        ran.append(command[0].rsplit("/", 1)[-1])
        return Ended(int(ran[-1] == "mypy"))

    monkeypatch.setattr(start, "environment", lambda: None)
    monkeypatch.setattr(start, "call", call)
    assert start.main(["test"]) == 1
    assert ran == ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    assert "failed: mypy" in capsys.readouterr().err
