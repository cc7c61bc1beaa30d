"""One process at a time holds an accelerator, whichever user made its lock."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from data.errors import MachineError
from flows import device_lock, execute

REPOSITORY = Path(__file__).parents[2]
HOLD = """
import os, sys
os.umask(0o077)
import torch
from pathlib import Path
from flows import device_lock
device_lock._SHARED = Path(sys.argv[1])
torch.device("mps")
if len(sys.argv) > 2:  # imported as root, whose Python others may not run
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
with device_lock.holding(torch.device("mps")):
    print("held", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows locks by another way")


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setattr(device_lock, "_SHARED", tmp_path)
    return tmp_path


@pytest.fixture
def everyones():
    """A folder as /tmp is, which a folder of pytest's is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def started(folder, *user):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *map(str, user)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, cwd=REPOSITORY,
    )  # fmt: skip


def test_a_second_process_waits_until_the_first_ends(shared):
    first, second = started(shared), None
    try:
        assert first.stdout.readline() == "held\n"
        second = started(shared)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=8)
        first.kill()  # the system lifts its lock
        assert second.stdout.readline() == "held\n"
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root starts processes of other users")
def test_another_user_takes_the_lock_that_the_first_has_made(everyones):
    for user in (65533, 65534):
        process = started(everyones, user)
        said, _ = process.communicate("")
        assert (said, process.returncode) == ("held\n", 0)
    (lock,) = everyones.iterdir()
    assert lock.stat().st_uid == 65533


def test_each_card_has_a_lock_of_its_own_by_its_own_name(shared, monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"card-{index + 7}"))
    found = [device_lock.lock_file(torch.device(name)).name for name in ("cuda", "cuda:0", "cuda:1", "mps")]
    names = ["cuda-card-7", "cuda-card-7", "cuda-card-8", "mps"]
    assert found == [f"lesionloom-{name}.lock" for name in names]


def test_a_link_or_a_pipe_in_its_place_is_refused_in_one_line(shared):
    lock = device_lock.lock_file(torch.device("mps"))
    lock.symlink_to(shared / "secret")
    with pytest.raises(MachineError, match=r"lesionloom-mps\.lock: .*; have its owner remove it: it locks"):
        device_lock.holding(torch.device("mps")).__enter__()
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(MachineError, match=r"lesionloom-mps\.lock: is no file"):
        device_lock.holding(torch.device("mps")).__enter__()


def test_a_step_on_the_processor_takes_no_lock(shared, monkeypatch):
    monkeypatch.setattr(execute.devices, "default_device", lambda: torch.device("mps"))
    with execute._device(on_device=False) as name:
        assert (name, list(shared.iterdir())) == ("cpu", [])
    with execute._device(on_device=True) as name:
        assert (name, len(list(shared.iterdir()))) == ("mps", 1)
