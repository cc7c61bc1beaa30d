"""The simulation plants what it says, and intervals hold it."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def program():
    """The program, loaded by its path: a package may have its name."""
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_planted_recalls_are_those_of_many_images(program):
    design = program.Design(lesions="many", seeds=5, spread=(0.03, 0.03), draw=0.03)
    true = program.recalls_of(0.08)
    assert np.mean(true[1] - true[0]) == pytest.approx(0.08)
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        (tested,) = program.simulated(design, true, rng)
        hits = {arm: tested.predicted(arm) == tested.truth for arm in ("real", "synthetic")}
        found.append([[hits[arm][:, tested.truth == k].mean() for k in range(7)] for arm in ("real", "synthetic")])
    assert np.mean(found, axis=0) == pytest.approx(true, abs=0.03)


def test_seeds_lie_as_far_apart_as_planted(program):
    design, rng = program.Design(lesions="many", seeds=30, spread=(0.01, 0.04)), np.random.default_rng(1)
    (tested,) = program.simulated(design, program.recalls_of(0.0), rng)
    spread = [program.Comparison((tested,), 7).figures(arm).values[0, :, 0].std() for arm in ("real", "synthetic")]
    assert spread[1] == pytest.approx(0.04, rel=0.35)
    assert spread[1] > 2 * spread[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 2, "spread": (0.01, 0.04), "lesions": "few"},
        {"seeds": 2, "spread": (0.01, 0.03), "draw": 0.04, "repeats": 3},
        {"seeds": 2, "gains": (0.0,), "lesions": "few", "permuted": True},
    ],
    ids=["seeds that differ by arm", "a generator that is drawn", "permuted labels"],
)
def test_intervals_hold_the_gain_as_often_as_they_say(program, changes):
    """Of 75 trials, each in it with 95 %, more than 4 fall outside by chance in one of six; 9 in one of 200."""
    cell = program.measure(program.Design(**changes), 75, seed=3)
    assert cell.covered >= 66 / 75
    assert cell.changes >= 0.9


def test_a_generator_that_varies_and_is_not_drawn_is_not_in_the_interval(program):
    drawn = program.Design(seeds=3, spread=(0.01, 0.01), draw=0.06)
    assert program.measure(drawn, 40, seed=0).covered < 0.8


def test_the_command_prints_a_row_for_each_design(program, monkeypatch, capsys):
    monkeypatch.setattr(program, "designs", lambda: [program.Design(lesions="few", seeds=2)])
    assert program.main(["--trials", "3"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert rows[2].startswith("| few, 2 seeds, spread 2/2, draw 0 | ")
