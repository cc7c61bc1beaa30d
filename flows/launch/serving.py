"""Prefect's server, worker and deployments: look over HTTP, start what is missing, stop what was started.

Standard library only, and no Prefect: importing that takes seconds.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.launch.environment import QUIET, ROOT, VENV, StartError, call, program

HOME = ROOT / ".prefect"  # the server's database and logs; your own Prefect profile is left alone
OF_PREFECT = (  # log lines that tell a reader of this run nothing
    "Beginning flow run",
    "Deployment step",
    "All deployment steps",
    "Engine execution exited",
    "Executing deployment step",
    "Finished in state",
    "Flow run '",
    "Process for flow run",
    "Running 1 deployment pull step",
    "Submitting flow run",
    "Task run failed with state",
    "Worker '",
)
POOL, FLOW, DEPLOYMENT = "lesionloom", "augment-and-evaluate", "demo"


def environ() -> dict[str, str]:
    """Variables of whatever this program starts, beside those of its own environment."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    return {"PREFECT_HOME": str(HOME), "PREFECT_API_URL": api(), "PATH": path}


def api() -> str:
    """Give the server's address: the environment's, else prefect.toml's."""
    if given := os.environ.get("PREFECT_API_URL"):
        return given.rstrip("/")
    found = re.search(r'^url = "(.+)"', (ROOT / "prefect.toml").read_text(), re.MULTILINE)
    if not found:
        raise StartError("prefect.toml names no api.url; put it back, or set PREFECT_API_URL")
    return found[1]


def ask(path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever the server answers
    """Ask the server, answer in JSON; a body makes it a POST. A busy server (SQLite is locked) is asked again."""
    for pause in (1, 2, 4, 8, 15, 30):
        try:
            return _ask_once(path, body)
        except urllib.error.HTTPError as fault:
            if fault.code < 500:  # noqa: PLR2004 - the server's own trouble begins there
                raise
        except TimeoutError:
            pass
        time.sleep(pause)
    return _ask_once(path, body)


def server() -> None:
    """Start a server on SQLite unless one answers."""
    if _healthy():
        print(f"server: there, {api()}", flush=True)
        return
    url = urllib.parse.urlsplit(api())
    if url.hostname not in ("127.0.0.1", "localhost"):
        raise StartError(f"no Prefect server answers at {api()}; unset PREFECT_API_URL to have one started here")
    started = _start("server", ["server", "start", "--host", "127.0.0.1", "--port", str(url.port or 80)])
    _wait("server", started, _healthy)
    print(f"server: started, UI at {api().removesuffix('/api')}", flush=True)


def worker() -> None:
    """Start a worker of the project's pool unless one is awake; it makes the pool itself."""
    record = HOME / "worker.pid"
    if record.is_file() and not _ours(int(record.read_text())):
        _forget_worker()
    if _awake():
        print(f"worker: there, pool {POOL}", flush=True)
        return
    started = _start("worker", ["worker", "start", "--pool", POOL, "--type", "process", "--name", POOL])
    _wait("worker", started, _awake)
    print(f"worker: started, pool {POOL}", flush=True)


def deploy() -> None:
    """Lay down the deployments of prefect.yaml, as it stands now."""
    done = call([program("prefect"), "--no-prompt", "deploy", "--all"], quiet=True, env=environ())
    if done.returncode:
        raise RuntimeError(f"the deployments were refused: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    print("deployments: laid down; `prefect deployment run augment-and-evaluate --watch` runs the default", flush=True)


def follow(overrides: list[str]) -> int:
    """Run the default deployment and print its log until it ends."""
    deployment = ask(f"/deployments/name/{FLOW}/{DEPLOYMENT}")
    parameters = {**deployment["parameters"], "overrides": overrides}
    wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": uuid.uuid4().hex}
    run = ask(f"/deployments/{deployment['id']}/create_flow_run", wanted)
    print(f"run: {run['name']}, {api().removesuffix('/api')}/runs/flow-run/{run['id']}", flush=True)
    seen = 0
    while True:
        state = ask(f"/flow_runs/{run['id']}")["state"]
        seen += _print_log(run["id"], seen)
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            break
        time.sleep(1)
    if state["type"] == "COMPLETED":
        print(f"\n{state['message']}\n\nServer and worker stay up; `python3 -m flows.start stop` ends them.")
        return 0
    print(f"error: {state['message'] or state['name']}", file=sys.stderr)
    return 2 if state["name"] == "Refused" else 1


def end(name: str) -> None:
    """Stop the server or the worker that this program started."""
    record = HOME / f"{name}.pid"
    if record.is_file():
        print(f"{name}: {'stopped' if _end(int(record.read_text())) else 'was not running'}", flush=True)
        record.unlink()
        if name == "worker":
            _forget_worker()


def _ask_once(path: str, body: object = None) -> Any:  # noqa: ANN401
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api() + path, data, {"Content-Type": "application/json"})  # noqa: S310 - http only
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read() or "null")


def _healthy() -> bool:
    try:
        return _ask_once("/health") is True
    except urllib.error.HTTPError as fault:
        if fault.code >= 500:  # noqa: PLR2004 - starting, or busy
            return False
        raise StartError(
            f"{api()} is taken by something that is no Prefect server ({fault}); set PREFECT_API_URL"
        ) from fault
    except ValueError as fault:
        raise StartError(f"{api()} is taken by something that is no Prefect server; set PREFECT_API_URL") from fault
    except OSError:
        return False


def _awake() -> bool:
    try:
        workers = ask(f"/work_pools/{POOL}/workers/filter", {})
    except urllib.error.HTTPError:
        return False
    return any(each["status"] == "ONLINE" for each in workers)


def _forget_worker() -> None:
    """Strike a worker that has ended off the server's list, where it would pass for awake for a minute and a half."""
    gone = urllib.request.Request(f"{api()}/work_pools/{POOL}/workers/{POOL}", method="DELETE")  # noqa: S310 - http only
    with contextlib.suppress(OSError):  # no server, or no such worker
        urllib.request.urlopen(gone, timeout=30).close()  # noqa: S310


def _start(name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a part of Prefect in a session of its own, so that Ctrl-C here does not end it."""
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - ours alone
            [program("prefect"), *arguments],
            env={**os.environ, **QUIET, **environ()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (HOME / f"{name}.pid").write_text(str(process.pid))
    print(f"{name}: starting ...", flush=True)
    return process


def _wait(name: str, started: subprocess.Popen[bytes], ready: Callable[[], bool], seconds: float = 180) -> None:
    start = time.monotonic()
    while not ready():
        if started.poll() is not None or time.monotonic() - start > seconds:
            tail = (HOME / f"{name}.log").read_text(errors="replace")[-1500:]
            raise RuntimeError(f"the {name} did not come up; the end of .prefect/{name}.log:\n{tail}")
        time.sleep(0.5)


def _ours(pid: int) -> bool:
    """Tell whether the process lives and is a Prefect one: numbers are used again."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return b"prefect" in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for one that has ended
        return False
    listed = call(["ps", "-o", "stat=,command=", "-p", str(pid)], quiet=True).stdout
    return "prefect" in listed and not listed.startswith("Z")


def _end(pid: int) -> bool:
    if not _ours(pid):
        return False
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(pid, wanted)
        for _ in range(40):
            if not _ours(pid):
                return True
            time.sleep(0.25)
    return True


def _print_log(run: str, seen: int) -> int:
    """Print the log lines after the first `seen`; count them."""
    wanted = {"flow_run_id": {"any_": [run]}, "level": {"ge_": 20}}
    lines: list[dict[str, str]] = ask(
        "/logs/filter", {"logs": wanted, "sort": "TIMESTAMP_ASC", "offset": seen, "limit": 200}
    )
    for line in lines:
        if not line["message"].startswith(OF_PREFECT):
            print(f"{line['timestamp'][11:19]} {line['message']}", flush=True)
    return len(lines)
