import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flows.launch.prefect_plugin import completed

REPOSITORY = Path(__file__).parents[3]


def test_a_bare_flow_name_becomes_the_default_deployment():
    assert completed(["deployment", "run", "augment-and-evaluate"]) == [
        "deployment",
        "run",
        "augment-and-evaluate/demo",
    ]
    assert completed(["deployment", "run", "--watch", "augment-and-evaluate"])[-1] == "augment-and-evaluate/demo"


@pytest.mark.parametrize(
    "arguments",
    [
        ["deployment", "run", "augment-and-evaluate/ham10000"],
        ["deployment", "run", "another-flow"],
        ["deployment", "run", "another-flow/x", "--tag", "augment-and-evaluate"],
        ["flow", "inspect", "augment-and-evaluate"],
        [],
    ],
)
def test_everything_else_stays_as_typed(arguments):
    assert completed(arguments) == arguments


@pytest.mark.slow
def test_the_command_as_the_user_types_it_schedules_the_demo(server):
    pool = urllib.request.Request(  # noqa: S310 - http only
        server["PREFECT_API_URL"] + "/work_pools/",
        b'{"name": "lesionloom", "type": "process"}',
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(pool, timeout=30).close()  # noqa: S310
    deployed = _type("--no-prompt", "deploy", "--all", environment=server)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    ran = _type("deployment", "run", "augment-and-evaluate", environment=server)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Creating flow run for deployment 'augment-and-evaluate/demo'" in ran.stdout
    assert "configs/demo.yaml" in ran.stdout


def _type(*words, environment):
    command = [str(Path(sys.executable).with_name("prefect")), *words]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
