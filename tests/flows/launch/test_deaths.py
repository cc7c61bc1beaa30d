"""Server, worker and engine are killed under a run, as real processes: it goes on or ends, and is not waited for."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
FLOW = """
import time
from pathlib import Path

from prefect import flow


def working(name, seconds):
    def work(progress):
        from flows.steps import StepResult

        Path(f"{name}-begun").touch()
        for n in range(2 * seconds):
            progress(n, 2 * seconds)
            time.sleep(0.5)
        Path(f"{name}-done").touch()
        return StepResult(stage=name, what="", seconds=1.0, reused=False, folder=Path())

    return work


@flow(name="augment-and-evaluate", persist_result=False)
def augment_and_evaluate(config: str = "", overrides: list[str] | None = None):
    if not overrides:  # to be killed
        Path("first-begun").touch()
        time.sleep(900)
        return
    from flows.prefect_tasks import PrefectRunner

    for name in ("first", "second"):
        PrefectRunner()(name, "", working(name, int(overrides[0])))
"""
DEPLOYMENT = """
name: lesionloom
deployments:
  - name: demo
    entrypoint: killed_flow.augment_and_evaluate
    work_pool: {name: lesionloom}
"""
RUN = """
import sys, uuid
from flows.launch.requests import ask
deployment = ask("/deployments/name/augment-and-evaluate/demo")
wanted = {"parameters": {"overrides": sys.argv[1:]}, "state": {"type": "SCHEDULED"}}
print(ask(f"/deployments/{deployment['id']}/create_flow_run", wanted)["id"])
"""
UP = "from flows.launch.serving import server, worker; server(); worker()"
DEPLOY = "from flows.launch.serving import deploy; deploy()"
STOP = "from flows.launch.serving import end; end('worker'); end('server')"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found as Linux shows them"),
]


class Project:
    """A copy of the project with a flow that only waits, and programs that run in it."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(REPOSITORY / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "prefect.toml", folder)
        (folder / "prefect.yaml").write_text(DEPLOYMENT, encoding="utf-8")
        (folder / "killed_flow.py").write_text(FLOW, encoding="utf-8")
        (folder / ".venv").symlink_to(sys.prefix)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = own | {
            "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}",
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "DO_NOT_TRACK": "1",
        }

    def started(self, program, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def said(self, program, *arguments):
        process = self.started(program, *arguments)
        output, _ = process.communicate(timeout=280)
        assert process.returncode == 0, output
        return output.strip()

    def pid(self, name):
        return int((self.folder / ".prefect" / f"{name}.pid").read_text(encoding="utf-8"))

    def engines(self):
        """This folder's engines: run ids by process id."""
        return json.loads(
            self.said("from flows.launch.engines import *; import json; print(json.dumps(engines(HOME)))")
        )

    def state(self, run):
        return self.said("import sys; from flows.launch.requests import ask; "
                         "print(ask(f'/flow_runs/{sys.argv[1]}')['state']['type'])", run)  # fmt: skip

    def wait_for(self, name, seconds=280):
        end = time.monotonic() + seconds
        while not (self.folder / name).exists():
            assert time.monotonic() < end, (self.folder / ".prefect" / "worker.log").read_text(encoding="utf-8")[-3000:]
            time.sleep(0.3)

    def forget(self):
        for path in [*self.folder.glob("*-begun"), *self.folder.glob("*-done")]:
            path.unlink()


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """The project with server, worker and deployment."""
    project = Project(tmp_path_factory.mktemp("project"))
    try:
        project.said(UP)
        project.said(DEPLOY)
        yield project
    finally:
        project.said(STOP)


def kill(*processes):
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


def test_stop_finds_the_engine_of_a_worker_that_was_killed(up):
    run = up.said(RUN)
    up.wait_for("first-begun")
    kill(up.pid("worker"))
    assert set(up.engines().values()) == {run}
    assert "runs: 1 stopped" in up.said("from flows.launch.serving import end; end('worker')")
    assert up.engines() == {}
    up.forget()


def test_demo_ends_where_worker_and_engine_are_killed_and_the_run_is_crashed(up):
    up.said(UP)
    following = up.started("import sys; from flows.launch.follow import follow; sys.exit(follow([]))")
    up.wait_for("first-begun")
    (run,) = set(up.engines().values())
    kill(up.pid("worker"), *up.engines())
    said, _ = following.communicate(timeout=280)
    assert following.returncode == 1, said
    assert "has ended; type the same again: it goes on from what is finished" in said
    assert up.state(run) == "CRASHED"
    up.forget()


def test_a_run_that_nobody_follows_is_crashed_when_the_next_worker_comes_up(up):
    up.said(UP)
    run = up.said(RUN)
    up.wait_for("first-begun")
    kill(up.pid("worker"), *up.engines())
    assert "runs: 1 had no process any more, and are recorded as crashed" in up.said(UP)
    assert up.state(run) == "CRASHED"
    up.forget()


def test_a_server_that_is_killed_ends_no_healthy_work(up):
    up.said(UP)
    up.said(RUN, "10")
    up.wait_for("first-begun")
    kill(up.pid("server"))
    up.wait_for("first-done")
    up.wait_for("second-done")
