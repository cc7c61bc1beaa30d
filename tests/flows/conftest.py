import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SMALL = (
    "data.phantom.images=84",
    "data.phantom.balanced=true",
    "split.rare=[df]",
    "split.shots=4",
    "fill_to=12",
    "finetune.steps=2",
    "finetune.batch_size=2",
    "finetune.preview_every=2",
    "generate.steps=2",
    "classifier.steps=2",
    "classifier.batch_size=8",
    "classifier.validate_every=2",
    "seeds=[0]",
)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """The demo's config, and overrides that make it a study of seconds with a base of random weights."""
    from augment.base.config import random_tiny

    base = tmp_path_factory.mktemp("base")
    random_tiny(seed=0).save_pretrained(base)
    runs = tmp_path_factory.mktemp("runs")
    return [str(REPOSITORY / "configs" / "demo.yaml"), f"base.source={base}", f"runs={runs}", *SMALL]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prefect server of this session's own; gives the environment that leads to it."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1"}
    program = str(Path(sys.executable).with_name("prefect"))
    command = [program, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"{url}/health", process, home / "server.log")
        yield environment
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(url, process, log):
    for _ in range(360):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - http only
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
    raise AssertionError(log.read_text())
