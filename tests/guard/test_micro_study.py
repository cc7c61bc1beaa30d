"""No refactoring changes a result; micro_study.py says how that is seen, and how a new one is recorded."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import micro_study
import pytest

PROGRAM = Path(micro_study.__file__)


@pytest.fixture
def recorded():
    return json.loads(micro_study.REFERENCE.read_text(encoding="utf-8"))["content"]


@pytest.mark.slow
def test_micro_studies_come_out_as_they_were_recorded():
    ran = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr[-4000:]}"


@pytest.mark.parametrize("loosely", [False, True])
@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("lora: prompts of df", "exact", [["images/df-000000.jpg"]]),
        ("own-base: test part", "exact", []),
        ("lora: ledger", "exact", [[1]]),
    ],
)
def test_what_is_exact_by_nature_is_compared_everywhere(recorded, name, key, value, loosely):
    other = copy.deepcopy(recorded)
    other[name] |= {key: value, "digest": ""}
    (line,) = micro_study.differences(recorded, other, loosely=loosely)
    assert line.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "name",
    ["lora: adapter of df", "dreambooth: images of vasc", "lora: predictions of theirs-1", "own-base: losses of df"],
)
def test_figures_may_lie_within_tolerance_on_other_machines_and_nowhere_else(recorded, name):
    most = micro_study.TOLERANCES[recorded[name]["kind"]]
    for share, lines in ((0.5, 0), (2.0, 1)):
        other = copy.deepcopy(recorded)
        step = share * most if recorded[name]["kind"] == "images" else 0
        other[name]["figures"] = [each * (1 + (0 if step else share * most)) + step for each in other[name]["figures"]]
        other[name]["digest"] = ""
        assert len(micro_study.differences(recorded, other, loosely=True)) == lines
        assert len(micro_study.differences(recorded, other, loosely=False)) == 1


@pytest.mark.parametrize("loosely", [False, True])
def test_an_artefact_that_is_gone_or_new_is_told(recorded, loosely):
    fewer = {name: each for name, each in recorded.items() if name != "phantoms"}
    assert micro_study.differences(recorded, fewer, loosely=loosely) == ["phantoms: is not there any more"]
    assert micro_study.differences(fewer, recorded, loosely=loosely) == ["phantoms: is new; record it"]
