"""One command for every program, with the exit codes that they have everywhere."""

import subprocess
import sys

import pytest

from augment.finetune.stopping import Announcement
from flows import cli

COMMANDS = ("run", "plan", "step", "doctor", "predict", "export", "report", "pool", "pretrain", "start", "stop", "test")


def test_the_help_lists_every_command_and_needs_no_torch():
    program = (
        "import sys; from flows.cli import main; code = main(['--help']); print('torch' in sys.modules); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert ran.stdout.rstrip().endswith("False")
    assert all(f"│ {command} " in ran.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"lesionloom {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["run"], ["predict", "runs/demo"], ["export", "runs/demo"], ["stop", "--now"], ["plan", "--steps"]],
)
def test_an_invalid_command_is_one_line_and_exit_code_2(arguments, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "program", "expected"),
    [
        (["run", "a.yaml", "seeds=[0]"], "flows.augment_and_evaluate", ["a.yaml", "seeds=[0]"]),
        (["step", "runs/a", "arm real 0"], "flows.step", ["runs/a", "arm real 0"]),
        (["doctor", "a.yaml", "--all"], "data.doctor.__main__", ["a.yaml", "--all"]),
        (["predict", "runs/a", "x", "--seed", "1"], "classify.predict",
         ["runs/a", "x", "--seed", "1", "--out", "predictions.csv"]),
        (["export", "runs/a", "--for", "webui", "--label", "df", "--ckpt"], "flows.export",
         ["runs/a", "--for", "webui", "--label", "df", "--ckpt"]),
        (["report", "runs/a"], "reports.render", ["runs/a"]),
        (["pool", "runs/a", "runs/b", "--out", "c"], "reports.pool", ["runs/a", "runs/b", "--out", "c"]),
        (["pretrain", "a.yaml"], "augment.base.pretrain", ["a.yaml"]),
        (["start"], "flows.start", ["up"]),
        (["stop"], "flows.start", ["stop"]),
        (["test", "tests/data", "-x"], "flows.start", ["test", "tests/data", "-x"]),
    ],
)  # fmt: skip
def test_a_command_gives_the_exit_code_of_its_program(arguments, program, expected, monkeypatch):
    called = []
    monkeypatch.setattr(f"{program}.main", lambda given: called.append(given) or 3)
    assert cli.main(arguments) == 3
    assert called == [expected]


def test_bad_input_is_one_line_and_exit_code_2(capsys):
    assert cli.main(["plan", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere.yaml: cannot be read")


def test_a_fine_tune_that_is_at_work_is_stopped_and_without_one_it_is_one_line(tmp_path, capsys):
    assert cli.main(["stop", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: no fine-tune is at work there; give the folder of a run")
    assert error.count("\n") == 1
    df, vasc = (Announcement(tmp_path, label) for label in ("df", "vasc"))
    try:
        assert cli.main(["stop", str(tmp_path), "mel"]) == 2
        assert "'mel' is not being fine-tuned now; name one of df, vasc" in capsys.readouterr().err
        assert cli.main(["stop", str(tmp_path), "vasc"]) == 0
        assert capsys.readouterr().out == (
            "vasc: the fine-tune stops after its present step, and is kept as it is then\n"
        )
        assert (df.stop_requested, vasc.stop_requested) == (False, True)
    finally:
        df.withdraw()
        vasc.withdraw()
