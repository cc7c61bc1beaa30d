from types import SimpleNamespace

import pytest

from flows.launch import requests as asking
from flows.launch import serving
from flows.launch.environment import StartError


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


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Traceback\n  x\nalembic.util.exc.CommandError: Can't locate revision identified by 'a1'\n\nServer stopped!\n",
         StartError, r"database is of another version of Prefect; move it away: mv \.prefect/prefect\.db "),
        ("Traceback\n  File x\nOSError: [Errno 98] in use\n\nServer stopped!\n", RuntimeError,
         r"the server did not come up \(OSError: \[Errno 98\] in use\); \.prefect/server\.log says more"),
        ("", RuntimeError, r"the server did not come up \(nothing\)"),
    ],
)  # fmt: skip
def test_a_server_that_does_not_come_up_says_why_in_one_line(monkeypatch, tmp_path, said, kind, words):
    monkeypatch.setattr(serving, "HOME", tmp_path)
    before = "ValueError: of an earlier start: Can't locate revision\n"
    (tmp_path / "server.log").write_text(before + said, encoding="utf-8")
    ended = serving._Started(SimpleNamespace(poll=lambda: 3), len(before))
    with pytest.raises(kind, match=words) as fault:
        serving._wait("server", ended, lambda: False)
    assert "\n" not in str(fault.value)
