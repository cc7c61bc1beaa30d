"""A run of the default deployment, followed over HTTP until it ends. Standard library only."""

import sys
import time
import uuid

from flows.launch.requests import api, ask

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
FLOW, DEPLOYMENT = "augment-and-evaluate", "demo"


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
