"""A real server, as set-up starts it in a copy of the project, against other origins and other users."""

import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FOREIGN = "http://127.0.0.1:9999"
UP = """
from flows.launch.serving import ask, deploy, server
server()
server()
ask("/work_pools/", {"name": "lesionloom", "type": "process"})
deploy()
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a server up and the deployments registered; its folder and environment."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(REPOSITORY / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.toml", "prefect.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    environment = _exposed(folder, tmp_path_factory.mktemp("home"))
    try:
        _run("python", "-c", UP, folder=folder, environment=environment)
        yield folder, environment
    finally:
        _run(
            "python",
            "-c",
            "from flows.launch.serving import end; end('server')",
            folder=folder,
            environment=environment,
        )


def _exposed(folder, home):
    """The environment of a user who set what would open the server to all, and no auth string."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return environment | {
        "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}",
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_HOST": "0.0.0.0",  # noqa: S104 - what must not count
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*",
        "DO_NOT_TRACK": "1",
    }


def _run(program, *arguments, folder, environment):
    """What a program prints that is run in the folder, found as a shell with .venv activated finds it."""
    found = shutil.which(program, path=environment["PATH"])
    ran = subprocess.run([found, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _answer(project, path, body=None, auth=None, method=None, **headers):
    """Status and headers of an answer."""
    if auth:
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
    url = project[1]["PREFECT_API_URL"] + path
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.headers
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers


def _kept(project):
    return (project[0] / ".prefect" / "auth").read_text(encoding="ascii").strip()


def test_only_who_knows_the_auth_string_is_let_in(project):
    assert _answer(project, "/admin/version")[0] == 401
    assert _answer(project, "/admin/version", auth="lesionloom:wrong")[0] == 401
    assert _answer(project, "/flows/filter", b"{}", Content_Type="application/json")[0] == 401
    assert _answer(project, "/admin/version", auth=_kept(project))[0] == 200


def test_a_page_of_another_origin_is_refused_and_the_ui_is_not(project):
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    code, headers = _answer(project, "/deployments/", method="OPTIONS", Origin=FOREIGN, **asks)
    assert code == 400
    assert headers["Access-Control-Allow-Origin"] is None
    own = project[1]["PREFECT_API_URL"].removesuffix("/api")
    for origin in (own, own.replace("127.0.0.1", "localhost")):
        code, headers = _answer(project, "/deployments/", method="OPTIONS", Origin=origin, **asks)
        assert (code, headers["Access-Control-Allow-Origin"]) == (200, origin)


def test_a_page_that_needs_no_preflight_lays_down_no_deployment(project):
    step = {"prefect.deployments.steps.run_shell_script": {"script": "id"}}
    flow = "00000000-0000-0000-0000-000000000000"
    body = json.dumps({"name": "foreign", "flow_id": flow, "pull_steps": [step]}).encode()
    code, headers = _answer(project, "/deployments/", body, Origin=FOREIGN, Content_Type="text/plain")
    assert (code, headers["Access-Control-Allow-Origin"]) == (401, None)


def test_nothing_else_listens_than_this_machine_itself(project):
    port = int(project[1]["PREFECT_API_URL"].rsplit(":", 1)[1].removesuffix("/api"))
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", port))  # this machine too, by an address that 0.0.0.0 would answer


def test_what_the_server_writes_is_its_users_alone(project):
    home = project[0] / ".prefect"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("auth", "prefect.db", "server.log"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name


def test_the_commands_as_the_user_types_them_need_no_word(project):
    folder, environment = project
    assert "augment-and-evaluate" in _run("prefect", "deployment", "ls", folder=folder, environment=environment)
    ran = _run("prefect", "deployment", "run", "augment-and-evaluate", folder=folder, environment=environment)
    assert "Creating flow run for deployment 'augment-and-evaluate/demo'" in ran
