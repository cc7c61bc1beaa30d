"""A run of the default deployment, followed over HTTP until it ends. Standard library only."""

import sys
import time
import uuid

from flows.launch.engines import crash, is_dead
from flows.launch.requests import api, ask
from flows.launch.serving import worker_is_gone

OF_PREFECT = (  # beginnings of log lines that say nothing about this run
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
GRACE = 20.0  # seconds in which a worker reports by itself that a run has ended
STUCK = (
    "its process, or the worker that was to start it, has ended; type the same again: it goes on from what is finished"
)
FLOW, DEPLOYMENT = "augment-and-evaluate", "demo"


def follow(overrides: list[str]) -> int:
    """Run the default deployment and print its log until it ends."""
    deployment = ask(f"/deployments/name/{FLOW}/{DEPLOYMENT}")
    parameters = {**deployment["parameters"], "overrides": overrides}
    wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": uuid.uuid4().hex}
    run = ask(f"/deployments/{deployment['id']}/create_flow_run", wanted)
    print(f"run: {run['name']}, {api().removesuffix('/api')}/runs/flow-run/{run['id']}", flush=True)
    seen, alive = 0, time.monotonic()
    while True:
        state = ask(f"/flow_runs/{run['id']}")["state"]
        seen += _print_log(run["id"], seen)
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            break
        alive = alive if _is_stuck(run["id"], state["type"]) else time.monotonic()
        if time.monotonic() - alive > GRACE:
            state = {"type": "CRASHED", "name": "Crashed", "message": STUCK}
            crash(run["id"], STUCK)
            break
        time.sleep(1)
    if state["type"] == "COMPLETED":
        print(f"\n{state['message']}\n\nServer and worker stay up; `python3 -m flows.start stop` ends them.")
        return 0
    print(f"error: {state['message'] or state['name']}", file=sys.stderr)
    return 2 if state["name"] == "Refused" else 1


def _is_stuck(run: str, state: str) -> bool:
    """Whether nobody is there to end a run in this state."""
    return is_dead(run, state) if state == "RUNNING" else worker_is_gone()


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
