import base64
import os
import stat

import pytest

from flows.launch import auth

OURS, ELSEWHERE = "http://127.0.0.1:4200/api", "https://prefect.example.org/api"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A folder that is not there yet, for the auth string."""
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    monkeypatch.setattr(auth, "HOME", tmp_path / ".prefect")
    monkeypatch.setattr(auth, "KEPT", tmp_path / ".prefect" / "auth")
    return tmp_path / ".prefect"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_auth_string_is_its_users_alone_whatever_the_umask(home):
    before = os.umask(0)
    try:
        auth.create_auth_string()
    finally:
        os.umask(before)
    assert mode(home) == 0o700
    assert mode(home / "auth") == 0o600
    assert list(home.iterdir()) == [home / "auth"]


def test_it_is_drawn_once_and_differs_elsewhere(home, monkeypatch, tmp_path):
    auth.create_auth_string()
    first = auth.auth_string(OURS)
    auth.create_auth_string()
    assert auth.auth_string(OURS) == first
    assert len(first.removeprefix("lesionloom:")) >= 43  # 32 bytes
    (home / "auth").unlink()
    auth.create_auth_string()
    assert auth.auth_string(OURS) != first


def test_what_an_earlier_version_left_open_is_closed(home):
    home.mkdir(mode=0o755)
    (home / "auth").write_text("a:b\n", encoding="ascii")
    (home / "auth").chmod(0o644)
    auth.create_auth_string()
    assert (mode(home), mode(home / "auth")) == (0o700, 0o600)
    assert auth.auth_string(OURS) == "a:b"


def test_the_users_own_wins(home, monkeypatch):
    auth.create_auth_string()
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:mine")
    assert auth.auth_string(OURS) == auth.auth_string(ELSEWHERE) == "me:mine"
    assert auth.server_variables(OURS)["PREFECT_SERVER_API_AUTH_STRING"] == "me:mine"
    assert auth.header(OURS) == {"Authorization": f"Basic {base64.b64encode(b'me:mine').decode()}"}
    assert "PREFECT_API_AUTH_STRING" in auth.sign_in()


def test_ours_is_not_sent_elsewhere(home):
    auth.create_auth_string()
    assert auth.header(ELSEWHERE) == auth.header("http://192.0.2.1:4200/api") == auth.header("") == {}
    assert auth.header("http://localhost:4321/api")


def test_without_a_file_there_is_none(home):
    assert auth.auth_string(OURS) is None


def test_a_server_of_ours_knows_its_own_pages_alone(home):
    auth.create_auth_string()
    assert auth.server_variables(OURS) == {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_AUTH_STRING": auth.auth_string(OURS),
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "http://127.0.0.1:4200,http://localhost:4200",
    }


def test_the_plugin_sets_it_for_prefects_own_command_line(home, monkeypatch):
    from prefect.plugins import HookContext

    from flows.launch.prefect_plugin import setup_environment

    auth.create_auth_string()
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")  # put back afterwards
    setup_environment(ctx=HookContext(prefect_version="3", api_url=ELSEWHERE, logger_factory=lambda _: None))
    assert not os.environ["PREFECT_API_AUTH_STRING"]
    setup_environment(ctx=HookContext(prefect_version="3", api_url=OURS, logger_factory=lambda _: None))
    assert os.environ["PREFECT_API_AUTH_STRING"] == auth.auth_string(OURS)
