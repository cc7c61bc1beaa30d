"""Prefect's server, worker and deployments: asked for over HTTP, started if missing, stopped if started here.

Standard library only, and no Prefect: importing that takes seconds.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.launch.auth import HOME, VARIABLE, auth_string, create_auth_string, local, server_variables, sign_in
from flows.launch.engines import POOL, crash_dead_runs, end_engines
from flows.launch.environment import QUIET, VENV, StartError, call, program
from flows.launch.requests import api, ask, ask_once

_OTHER_DATABASE = "Can't locate revision"  # what the server's log says of a database of another version


@dataclass(frozen=True)
class _Started:
    process: subprocess.Popen[bytes]
    log_start: int  # bytes of the log that earlier ones wrote


def environ() -> dict[str, str]:
    """Environment variables of whatever this program starts, beside those of its own environment."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    known = {VARIABLE: found} if (found := auth_string(api())) else {}
    return {"PREFECT_HOME": str(HOME), "PREFECT_API_URL": api(), "PATH": path, **known}


def server() -> None:
    """Start a server on SQLite unless one answers; its answers are for the user of this folder alone."""
    there = _healthy()
    if not there:
        if not local(api()):
            raise StartError(f"no Prefect server answers at {api()}; unset PREFECT_API_URL to have one started here")
        create_auth_string()
        port = str(urllib.parse.urlsplit(api()).port or 80)
        started = _start("server", ["server", "start", "--host", "127.0.0.1", "--port", port], server_variables(api()))
        _wait("server", started, _healthy)
    _check_access()
    ui = f"UI at {api().removesuffix('/api')}; its login wants {sign_in()}" if local(api()) else api()
    print(f"server: {'there' if there else 'started'}, {ui}", flush=True)


def worker() -> None:
    """Start a worker of the project's pool unless one is online; it makes the pool itself."""
    record = HOME / "worker.pid"
    if record.is_file() and not _ours(int(record.read_text())):
        _forget_worker()
    if _is_online():
        print(f"worker: there, pool {POOL}", flush=True)
        return
    if dead := crash_dead_runs():
        print(f"runs: {dead} had no process any more, and are recorded as crashed", flush=True)
    started = _start("worker", ["worker", "start", "--pool", POOL, "--type", "process", "--name", POOL])
    _wait("worker", started, _is_online)
    print(f"worker: started, pool {POOL}", flush=True)


def deploy() -> None:
    """Register the deployments of prefect.yaml."""
    done = call([program("prefect"), "--no-prompt", "deploy", "--all"], quiet=True, env=environ())
    if done.returncode:
        raise RuntimeError(f"the deployments were refused: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    print("deployments: registered; `prefect deployment run augment-and-evaluate --watch` runs the default", flush=True)


def end(name: str) -> None:
    """Stop the server or the worker that this program started."""
    record = HOME / f"{name}.pid"
    if record.is_file():
        print(f"{name}: {'stopped' if _end(int(record.read_text())) else 'was not running'}", flush=True)
        record.unlink()
        if name == "worker":
            _forget_worker()
    if name == "worker" and (ended := end_engines()):
        print(f"runs: {ended} stopped; the same command goes on from what is finished", flush=True)


def worker_is_gone() -> bool:
    """Whether no worker will take a run: the one that was started here has ended, or none is online."""
    record = HOME / "worker.pid"
    return not _ours(int(record.read_text())) if record.is_file() else not _is_online()


def _healthy() -> bool:
    try:
        return ask_once("/health") is True
    except urllib.error.HTTPError as fault:
        if fault.code >= 500:  # noqa: PLR2004 - it is starting or busy
            return False
        raise StartError(
            f"{api()} is taken by something that is no Prefect server ({fault}); set PREFECT_API_URL"
        ) from fault
    except ValueError as fault:
        raise StartError(f"{api()} is taken by something that is no Prefect server; set PREFECT_API_URL") from fault
    except OSError:
        return False


def _check_access() -> None:
    """Refuse a server that is not ours to use; one that the environment names is the user's own choice."""
    mine = "stop it, or set PREFECT_API_URL to your own server or to a free port: http://127.0.0.1:4201/api"
    named = os.environ.get("PREFECT_API_URL") or os.environ.get(VARIABLE)
    record = HOME / "server.pid"
    if not named and not (record.is_file() and _ours(int(record.read_text()))):
        # Asked before it is told our auth string: whoever holds the port would have the worker run what they like.
        raise StartError(f"{api()} is held by a Prefect server that was not started from this folder; {mine}")
    if not _opens(known=True):
        raise StartError(
            f"the Prefect server at {api()} refuses our auth string: somebody else started it, or another folder; "
            f"set {VARIABLE} to its auth string, or {mine}"
        )
    if not named and _opens(known=False):
        raise StartError(
            f"the Prefect server at {api()} answers without an auth string, as an earlier version started it; "
            "`python3 -m flows.start stop` ends it, then type the same again"
        )


def _opens(*, known: bool) -> bool:
    """Whether the server lets us in, by a path that needs the auth string, as /health does not."""
    try:
        ask("/admin/version", known=known)
    except urllib.error.HTTPError as fault:
        if fault.code in (401, 403):
            return False
        raise
    return True


def _is_online() -> bool:
    try:
        workers = ask(f"/work_pools/{POOL}/workers/filter", {})
    except urllib.error.HTTPError:
        return False
    return any(each["status"] == "ONLINE" for each in workers)


def _forget_worker() -> None:
    """Deregister a worker that has ended; Prefect lists it as online for 90 s."""
    with contextlib.suppress(OSError):  # no server, or no such worker
        ask_once(f"/work_pools/{POOL}/workers/{POOL}", method="DELETE")


def _start(name: str, arguments: list[str], own: Mapping[str, str] | None = None) -> _Started:
    """Start a part of Prefect in a session of its own, so that Ctrl-C here does not end it."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    (HOME / f"{name}.log").touch(mode=0o600)
    log_start = (HOME / f"{name}.log").stat().st_size
    with (HOME / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - ours alone
            [program("prefect"), *arguments],
            env={**os.environ, **QUIET, **environ(), **(own or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077 if name == "server" else -1,  # the database; runs/ stays as open as the user wants it
        )
    (HOME / f"{name}.pid").write_text(str(process.pid))
    print(f"{name}: starting ...", flush=True)
    return _Started(process, log_start)


def _wait(name: str, started: _Started, ready: Callable[[], bool], seconds: float = 180) -> None:
    start = time.monotonic()
    while not ready():
        if started.process.poll() is not None or time.monotonic() - start > seconds:
            raise _did_not_come_up(name, started.log_start)
        time.sleep(0.5)


def _did_not_come_up(name: str, log_start: int) -> Exception:
    """Why, in one line, by what it has written into its log."""
    log = (HOME / f"{name}.log").read_bytes()[log_start:].decode(errors="replace")
    if _OTHER_DATABASE in log:
        return StartError(
            "the server's database is of another version of Prefect; move it away: "
            "mv .prefect/prefect.db .prefect/prefect.db.old (runs and their results are not in it)"
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["nothing"]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b|ERROR", line)]
    return RuntimeError(f"the {name} did not come up ({(errors or lines)[-1][:300]}); .prefect/{name}.log says more")


def _ours(pid: int) -> bool:
    """Whether the process runs and is a Prefect one: process ids are used again."""
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
