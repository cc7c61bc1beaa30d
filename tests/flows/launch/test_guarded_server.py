"""A real server, as set-up starts it in a copy of the project, against other origins and other users."""

import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


STEP = {"prefect.deployments.steps.run_shell_script": {"script": "id"}}
FOREIGN_DEPLOYMENT = {"name": "foreign", "flow_id": "00000000-0000-0000-0000-000000000000", "pull_steps": [STEP]}
# What a page can try: with and without a preflight, blindly, with what the browser may know of a login, and a form.
PAGE = """<!doctype html><title>another origin</title><form method=post enctype=text/plain target=frame></form>
<iframe name=frame></iframe><script>
const api = API, body = JSON.stringify(BODY), json = {"Content-Type": "application/json"}, tried = {};
const ways = {
  json: {method: "POST", headers: json, body},
  plain: {method: "POST", body},
  blind: {method: "POST", mode: "no-cors", body},
  login: {method: "POST", headers: json, body, credentials: "include"},
  reading: {method: "GET"},
};
async function main() {
  for (const [name, how] of Object.entries(ways)) {
    const path = name === "reading" ? "/admin/version" : "/deployments/";
    try { const answer = await fetch(api + path, how); tried[name] = answer.type + " " + answer.status }
    catch (fault) { tried[name] = "refused" }
  }
  document.forms[0].action = api + "/deployments/";
  document.forms[0].submit();
  setTimeout(() => fetch("/tried", {method: "POST", body: JSON.stringify(tried)}), 1000);
}
main();
</script>"""


@pytest.fixture
def foreign_page(project):
    """A page on another port, and what it has tried once a browser has opened it."""
    page = PAGE.replace("API", json.dumps(project[1]["PREFECT_API_URL"])).replace(
        "BODY", json.dumps(FOREIGN_DEPLOYMENT)
    )
    tried, done = {}, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode() if self.path == "/" else b"")

        def do_POST(self):
            tried.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", tried, done
        server.shutdown()


def _deployments(project):
    """The names of all deployments, as the user sees them."""
    folder, environment = project
    listed = _run("prefect", "deployment", "ls", folder=folder, environment=environment)
    return {name for name in ("demo", "ham10000", "foreign") if name in listed}


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_a_page_in_a_real_browser_reads_nothing_and_lays_down_no_deployment(project, foreign_page, tmp_path):
    address, tried, done = foreign_page
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path}"]
    browser = subprocess.Popen(
        [BROWSER, *options, "--remote-debugging-port=0", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert done.wait(timeout=90), "the page was not run"
    finally:
        os.killpg(browser.pid, 9)
        browser.wait()
    assert tried == {
        "json": "refused",
        "plain": "refused",
        "blind": "opaque 0",
        "login": "refused",
        "reading": "refused",
    }
    assert _deployments(project) == {"demo", "ham10000"}


OTHER_USER = """
import os, sys, urllib.error, urllib.request
home, api = sys.argv[1:]
urllib.request.urlopen(api + "/health", timeout=60).close()  # imports what the other user may not read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for name in ("auth", "prefect.db", "server.log"):
    try:
        open(os.path.join(home, name), "rb").read(1)
        print(name, "read")
    except PermissionError:
        print(name, "denied")
body, headers = sys.stdin.buffer.read(), {"Content-Type": "application/json"}
for path in ("/deployments/", "/flows/filter"):
    try:
        print(path, urllib.request.urlopen(urllib.request.Request(api + path, body, headers), timeout=60).status)
    except urllib.error.HTTPError as refused:
        print(path, refused.code)
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root starts processes of other users")
def test_another_user_reads_no_file_of_the_server_and_lays_down_no_deployment(project):
    home, shared = project[0] / ".prefect", Path(tempfile.gettempdir())
    for above in project[0].parents:  # or the test's own folders would keep the other user out
        if above != shared and above.is_relative_to(shared):
            above.chmod(0o711)
    project[0].chmod(0o755)
    arguments = [sys.executable, "-c", OTHER_USER, str(home), project[1]["PREFECT_API_URL"]]
    body = json.dumps(FOREIGN_DEPLOYMENT).encode()
    ran = subprocess.run(arguments, input=body, capture_output=True, check=False)
    assert ran.stdout.decode().splitlines() == [
        "auth denied", "prefect.db denied", "server.log denied", "/deployments/ 401", "/flows/filter 401",
    ], ran.stderr.decode()  # fmt: skip
    assert _deployments(project) == {"demo", "ham10000"}
