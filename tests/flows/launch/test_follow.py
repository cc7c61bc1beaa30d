"""A run is followed to its end: its own lines, its exit code, the overrides that it was asked for."""

import json

import pytest

from flows.launch.follow import follow

DEPLOYMENT = {"id": "d1", "parameters": {"config": "configs/demo.yaml", "overrides": []}}


def ran_with(answers, name, kind, message):
    answers["/name/augment-and-evaluate/demo"] = [(200, DEPLOYMENT)]
    answers["/create_flow_run"] = [(201, {"id": "r1", "name": "quiet-newt"})]
    answers["/flow_runs/r1"] = [(200, {"state": {"type": kind, "name": name, "message": message}})]
    answers["/logs/filter"] = [
        (200, [_line("split: 3 s"), _line("Finished in state Completed('3 s')")]),
        (200, []),
    ]
    return follow(["study_seeds=[1]"])


def _line(message):
    return {"timestamp": "2026-01-01T10:11:12.5Z", "message": message}


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("Completed", "COMPLETED", 0), ("Refused", "FAILED", 2), ("Failed", "FAILED", 1), ("Crashed", "CRASHED", 1)],
)
def test_the_exit_code_tells_bad_input_from_a_failure(answers, capsys, name, kind, code):
    assert ran_with(answers, name, kind, "what came of it") == code
    printed = capsys.readouterr()
    assert "what came of it" in (printed.err if code else printed.out)


def test_a_run_is_shown_by_its_own_lines_and_gets_the_overrides(answers, capsys):
    ran_with(answers, "Completed", "COMPLETED", "higher")
    shown = capsys.readouterr().out
    assert "10:11:12 split: 3 s" in shown
    assert "Finished in state" not in shown
    asked = next(body for path, body in answers["asked"] if path.endswith("/create_flow_run"))
    assert json.loads(asked)["parameters"] == {"config": "configs/demo.yaml", "overrides": ["study_seeds=[1]"]}


def test_a_run_is_followed_until_it_ends_and_each_line_is_shown_once(answers, capsys):
    running = {"state": {"type": "RUNNING", "name": "Running", "message": None}}
    ended = {"state": {"type": "COMPLETED", "name": "Completed", "message": "done"}}
    answers["/name/augment-and-evaluate/demo"] = [(200, DEPLOYMENT)]
    answers["/create_flow_run"] = [(201, {"id": "r1", "name": "quiet-newt"})]
    answers["/flow_runs/r1"] = [(200, running), (200, running), (200, ended)]
    lines = [_line("split: 3 s"), _line("Worker 'one' took it")], [], [_line("report: 1 s")]
    answers["/logs/filter"] = [(200, found) for found in lines]
    assert follow([]) == 0
    shown = capsys.readouterr().out
    assert shown.count("split: 3 s") == shown.count("report: 1 s") == 1
    asked = [json.loads(body)["offset"] for path, body in answers["asked"] if path.endswith("/logs/filter")]
    assert asked == [0, 2, 2]  # lines that are not shown are passed over too


def test_each_run_is_asked_for_under_a_key_of_its_own(answers):
    keys = set()
    for _ in range(2):
        ran_with(answers, "Completed", "COMPLETED", "")
        asked = [json.loads(body) for path, body in answers["asked"] if path.endswith("/create_flow_run")]
        keys |= {each["idempotency_key"] for each in asked}
    assert len(keys) == 2  # so that a busy server that is asked again starts no second run
