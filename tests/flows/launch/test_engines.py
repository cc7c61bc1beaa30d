"""Runs are found by their process, ended with it, and recorded as crashed where it has ended by itself."""

import json
import subprocess
import sys

import pytest

from flows.launch import engines, follow, serving

pytestmark = pytest.mark.skipif(not engines.can_look(), reason="this system shows no process's environment")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "HOME", tmp_path)
    return tmp_path


@pytest.fixture
def started():
    """Starts processes with an engine's environment; `deaf`: that do not end when they are asked to."""
    running = []

    def start(run, home, *, deaf=False):
        program = "import signal, time; "
        program += "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
        process = subprocess.Popen(
            [sys.executable, "-c", f"{program}print('up', flush=True); time.sleep(60)"], stdout=subprocess.PIPE,
            env={"PREFECT__FLOW_RUN_ID": run, "PREFECT_HOME": str(home)}, start_new_session=True,
        )  # fmt: skip
        assert process.stdout.readline() == b"up\n"
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_process_is_found_by_its_run_and_its_folder(home, started, tmp_path):
    mine, theirs = started("run-1", home), started("run-2", tmp_path / "elsewhere")
    assert engines.engines(home) == {mine.pid: "run-1"}
    assert {mine.pid: "run-1", theirs.pid: "run-2"}.items() <= engines.engines().items()


@pytest.mark.parametrize("deaf", [False, True])
def test_stop_ends_what_a_killed_worker_left_behind_and_nothing_else(
    home, started, tmp_path, capsys, monkeypatch, deaf
):
    monkeypatch.setattr(serving, "HOME", home)
    monkeypatch.setattr(serving, "end_engines", lambda: engines.end_engines(seconds=1))
    mine, theirs = started("run-1", home, deaf=deaf), started("run-2", tmp_path / "elsewhere")
    serving.end("worker")
    assert mine.wait(timeout=10) < 0
    assert theirs.poll() is None
    assert capsys.readouterr().out == "runs: 1 stopped; the same command goes on from what is finished\n"


def test_a_run_is_dead_where_its_own_server_knows_it_as_running_and_no_process_is_there(answers, home, started):
    started("run-1", home)
    assert not engines.is_dead("run-1", "RUNNING")
    assert engines.is_dead("run-2", "RUNNING")
    assert not engines.is_dead("run-2", "COMPLETED")


def test_what_runs_on_another_machine_is_never_taken_for_dead(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    assert not engines.is_dead("run-2", "RUNNING")


def test_dead_runs_are_recorded_as_crashed_before_a_new_worker_starts(answers, home, started, monkeypatch, capsys):
    monkeypatch.setattr(serving, "HOME", home)
    monkeypatch.setattr(serving, "_start", lambda *given: None)
    monkeypatch.setattr(serving, "_wait", lambda *given: None)
    started("run-1", home)
    runs = [{"id": f"run-{n}", "state": {"type": "RUNNING"}} for n in (1, 2)]
    answers["/workers/filter"] = [(200, [])]
    answers["/flow_runs/filter"] = [(200, runs)]
    answers["/set_state"] = [(201, {"status": "ACCEPT"})]
    serving.worker()
    (asked,) = [(path, json.loads(body)) for path, body in answers["asked"] if path.endswith("/set_state")]
    assert asked[0] == "/api/flow_runs/run-2/set_state"
    assert (asked[1]["state"]["type"], asked[1]["force"]) == ("CRASHED", True)
    assert "runs: 1 had no process any more, and are recorded as crashed" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
def test_a_run_whose_worker_and_process_are_killed_is_not_waited_for(answers, home, monkeypatch, capsys, state):
    monkeypatch.setattr(follow, "GRACE", 0.0)
    monkeypatch.setattr(serving, "HOME", home)
    (home / "worker.pid").write_text("1", encoding="utf-8")
    answers["/name/augment-and-evaluate/demo"] = [(200, {"id": "d1", "parameters": {}})]
    answers["/create_flow_run"] = [(201, {"id": "r1", "name": "quiet-newt"})]
    answers["/flow_runs/r1"] = [(200, {"state": {"type": state, "name": "Running", "message": None}})]
    answers["/logs/filter"] = [(200, [])]
    answers["/set_state"] = [(201, {"status": "ACCEPT"})]
    assert follow.follow([]) == 1
    assert "has ended; type the same again: it goes on from what is finished" in capsys.readouterr().err
    assert any(path.endswith("/r1/set_state") for path, _ in answers["asked"])


def test_a_run_that_waits_for_a_worker_that_is_there_is_waited_for(answers, home, monkeypatch):
    monkeypatch.setattr(serving, "HOME", home)
    monkeypatch.setattr(serving, "_ours", lambda _: True)
    (home / "worker.pid").write_text("1", encoding="utf-8")
    assert not follow._is_stuck("r1", "SCHEDULED")
    (home / "worker.pid").unlink()
    answers["/workers/filter"] = [(200, [{"status": "OFFLINE"}])]
    assert follow._is_stuck("r1", "SCHEDULED")
