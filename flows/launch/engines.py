"""The processes that run flows on this machine, found by their environment, and the runs whose process has ended.

A worker that is killed leaves its run's process behind, and one that is killed with it leaves a run that is Running for
ever. Standard library only. Where the system has no /proc, nothing is found and nothing is taken for dead.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from flows.launch.auth import HOME, local
from flows.launch.requests import api, ask

POOL = "lesionloom"
_PROCESSES = Path("/proc")
_RUN, _OF = b"PREFECT__FLOW_RUN_ID=", b"PREFECT_HOME="
_UNFINISHED = ("RUNNING", "PENDING", "CANCELLING")


def can_look() -> bool:
    """Whether processes can be found here."""
    return (_PROCESSES / "self" / "environ").is_file()


def engines(home: Path | None = None) -> dict[int, str]:
    """Flow run ids by process id; with `home`, of this folder's worker alone."""
    found = {}
    for place in _PROCESSES.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            variables = (place / "environ").read_bytes().split(b"\0")
            run = next((each.removeprefix(_RUN) for each in variables if each.startswith(_RUN)), b"")
            if run and (home is None or _OF + os.fsencode(home) in variables):
                found[int(place.name)] = run.decode("ascii", "replace")
    return found


def end_engines(seconds: float = 20) -> int:
    """End the flows that this folder's worker has started; gives how many runs they were."""
    runs = set(engines(HOME).values())
    for wanted, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        for process in engines(HOME):
            with contextlib.suppress(OSError):
                os.kill(process, wanted)
        _wait_until(lambda: not engines(HOME), patience)
    return len(runs)


def is_dead(run: str, state: str) -> bool:
    """Whether a run in this state has no process that could end it; known of this machine's own server alone."""
    return state in _UNFINISHED and local(api()) and can_look() and run not in engines().values()


def crash(run: str, reason: str) -> None:
    """Record that a run has ended, since nobody else will."""
    state = {"type": "CRASHED", "name": "Crashed", "message": reason}
    ask(f"/flow_runs/{run}/set_state", {"state": state, "force": True})


def crash_dead_runs() -> int:
    """Record the end of all runs of the pool whose process has ended; gives how many. For when no worker is up."""
    wanted = {
        "flow_runs": {"state": {"type": {"any_": list(_UNFINISHED)}}},
        "work_pools": {"name": {"any_": [POOL]}},
    }
    found = [run["id"] for run in ask("/flow_runs/filter", wanted) if is_dead(run["id"], run["state"]["type"])]
    for run in found:
        crash(run, "its process has ended, and so has the worker; run it again: it goes on from what is finished")
    return len(found)


def _wait_until(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.25)
