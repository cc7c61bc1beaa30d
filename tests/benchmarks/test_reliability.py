"""A study killed at some points, and cut from its power, ends as an undisturbed one: a short form of the benchmark."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "benchmarks" / "reliability.py"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="descriptors are looked up as Linux has them"
)


@pytest.mark.slow
def test_a_study_ends_as_an_undisturbed_one_after_kills_and_power_cuts(tmp_path):
    command = [sys.executable, str(PROGRAM), "kill", "power", "--points", "6"]
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "7 of 7 crashes, at 6 points, ended as an undisturbed run" in done.stdout
    assert "6 of 6 crashes, at 6 points, ended as an undisturbed run" in done.stdout


def test_the_cost_is_measured_with_the_defences_and_without(tmp_path, monkeypatch):
    import reliability_cost

    from data.store import file_sha256

    synced = []

    def study(*_):
        (tmp_path / "x").write_bytes(b"x")
        synced.append((file_sha256(tmp_path / "x"), reliability_cost.store.file_sha256(tmp_path / "x")))

    monkeypatch.setattr(reliability_cost, "run_study", study)
    lines = reliability_cost.costs(tmp_path / "runs", 2, [])
    whole = file_sha256(tmp_path / "x")
    assert [answer for _, answer in synced] == [whole, "", whole, whole, ""]  # to warm up, then in turn
    assert lines[0] == "2 pairs, median [smallest, largest]"
