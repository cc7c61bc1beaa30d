import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.launch import requests as asking
from flows.launch import serving
from flows.launch.environment import StartError
from flows.launch.follow import follow

DEPLOYMENT = {"id": "d1", "parameters": {"config": "configs/demo.yaml", "overrides": []}}


@pytest.fixture
def answers(monkeypatch):
    """Answers of a stand-in server by the end of the path; each a list, of which the last stays."""
    given = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            queue = next(queue for path, queue in given.items() if self.path.endswith(path))
            code, answer = queue.pop(0) if len(queue) > 1 else queue[0]
            given.setdefault("asked", []).append((self.path, body))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        do_POST = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setattr(asking.time, "sleep", lambda _: None)
        yield given
        server.shutdown()


def ran_with(answers, name, kind, message):
    answers["/name/augment-and-evaluate/demo"] = [(200, DEPLOYMENT)]
    answers["/create_flow_run"] = [(201, {"id": "r1", "name": "quiet-newt"})]
    answers["/flow_runs/r1"] = [(200, {"state": {"type": kind, "name": name, "message": message}})]
    answers["/logs/filter"] = [
        (200, [_line("split: 3 s"), _line("Finished in state Completed('3 s')")]),
        (200, []),
    ]
    return follow(["study_seed=1"])


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
    assert json.loads(asked)["parameters"] == {"config": "configs/demo.yaml", "overrides": ["study_seed=1"]}


def test_a_busy_server_is_asked_again(answers):
    answers["/busy"] = [(503, {}), (503, {}), (200, "ready")]
    assert serving.ask("/busy") == "ready"


def test_an_address_that_something_else_holds_is_named(answers):
    answers["/health"] = [(404, {})]
    with pytest.raises(StartError, match="no Prefect server"):
        serving.server()
    answers["/health"] = [(200, b"<html>")]
    with pytest.raises(StartError, match="no Prefect server"):
        serving.server()


def test_a_server_elsewhere_is_not_started_here(monkeypatch):
    monkeypatch.setattr(serving, "_healthy", lambda: False)
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api")
    with pytest.raises(StartError, match="unset PREFECT_API_URL"):
        serving.server()


def test_the_address_is_the_one_that_prefect_reads(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert serving.api() == "http://127.0.0.1:4200/api"


def test_a_server_that_refuses_the_auth_string_is_named_with_the_fix(answers):
    answers["/health"] = [(200, True)]
    answers["/admin/version"] = [(401, {})]
    with pytest.raises(StartError, match=r"refuses our auth string.*set PREFECT_API_AUTH_STRING"):
        serving.server()


@pytest.fixture
def unnamed(answers, monkeypatch, tmp_path):
    """A healthy server at the project's own address, which the environment does not name."""
    url = serving.api()
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    for module in (asking, serving):
        monkeypatch.setattr(module, "api", lambda: url)
    monkeypatch.setattr(serving, "HOME", tmp_path)
    answers["/health"] = [(200, True)]
    answers["/admin/version"] = [(200, "3")]
    return tmp_path


def test_a_server_of_somebody_else_is_not_told_the_auth_string(unnamed, answers):
    with pytest.raises(StartError, match="not started from this folder"):
        serving.server()
    assert [path for path, _ in answers["asked"]] == ["/api/health"]


def test_our_own_server_that_lets_anyone_in_is_to_be_stopped(unnamed, monkeypatch):
    (unnamed / "server.pid").write_text("1", encoding="utf-8")
    monkeypatch.setattr(serving, "_ours", lambda _: True)
    with pytest.raises(StartError, match=r"without an auth string.*flows\.start stop"):
        serving.server()


def test_our_own_server_that_wants_the_auth_string_is_used(unnamed, answers, monkeypatch, capsys):
    answers["/admin/version"] = [(200, "3"), (401, {})]
    (unnamed / "server.pid").write_text("1", encoding="utf-8")
    monkeypatch.setattr(serving, "_ours", lambda _: True)
    serving.server()
    assert "its login wants what `cat .prefect/auth` shows" in capsys.readouterr().out


def test_a_server_that_the_environment_names_may_let_anyone_in(answers, capsys):
    answers["/health"] = [(200, True)]
    answers["/admin/version"] = [(200, "3")]
    serving.server()
    assert "server: there" in capsys.readouterr().out


def test_a_process_that_is_not_ours_is_left_alone(answers, monkeypatch, tmp_path, capsys):
    answers[f"/workers/{serving.POOL}"] = [(404, {})]
    monkeypatch.setattr(serving, "HOME", tmp_path)
    (tmp_path / "worker.pid").write_text("1", encoding="utf-8")
    serving.end("worker")
    assert capsys.readouterr().out == "worker: was not running\n"
    assert not (tmp_path / "worker.pid").exists()


def test_a_worker_that_has_ended_is_not_taken_for_online(answers, monkeypatch, tmp_path):
    answers[f"/workers/{serving.POOL}"] = [(204, b"")]
    answers["/workers/filter"] = [(200, [{"status": "ONLINE"}])]
    monkeypatch.setattr(serving, "HOME", tmp_path)
    for ended in (lambda: serving.end("worker"), serving.worker):  # stopped, or killed
        (tmp_path / "worker.pid").write_text("1", encoding="utf-8")
        answers["asked"] = []
        ended()
        assert answers["asked"][0][0] == f"/api/work_pools/{serving.POOL}/workers/{serving.POOL}"
