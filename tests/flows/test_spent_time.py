"""An artefact's time has the share of a run that was killed on the way; what it cannot read counts as none."""

import json
from types import SimpleNamespace

import pytest

from flows import spent_time
from flows.execute import run_group
from flows.spent_time import COST, SpentTime
from flows.stages.table import STAGES, Stage
from flows.steps import Step


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass as the test says."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(spent_time.time, "perf_counter", lambda: now.seconds)
    return now


def quiet(done, total, note=""):
    """Show no progress."""


class KilledError(BaseException):
    """Stands for a kill: nothing below catches it."""


def test_a_step_that_is_resumed_costs_what_the_killed_run_spent_too(tmp_path, monkeypatch, clock):
    killed = [True]

    def make(plan, step, folder, progress):
        for done in range(4):
            clock.seconds += 10
            progress(done, 4)
            if killed.pop() if killed else False:
                raise KilledError

    monkeypatch.setitem(STAGES, "sum", Stage(make=make))
    step = Step(stage="sum", what="", record=("sum",), folder=tmp_path / "sum", inputs={"a": 1}, on_device=False)
    plan = SimpleNamespace(prepared=SimpleNamespace(study=SimpleNamespace(output_dir=str(tmp_path))))
    with pytest.raises(KilledError):
        run_group(plan, (step,), quiet)
    assert run_group(plan, (step,), quiet).seconds == 50.0
    assert json.loads((step.target / COST).read_text(encoding="utf-8")) == {"seconds": 50.0, "device": "cpu"}


def test_it_is_recorded_at_once_and_then_every_few_seconds(tmp_path, clock):
    spent = SpentTime(tmp_path, "cpu")
    progress = spent.recorded(quiet)
    for passed, recorded in ((1, 1.0), (1, 1.0), (3, 1.0), (1, 6.0)):
        clock.seconds += passed
        progress(1, 9)
        assert json.loads((tmp_path / COST).read_text(encoding="utf-8"))["seconds"] == recorded


@pytest.mark.parametrize("content", ["", "[1]", '{"seconds": "x"}', '{"seconds": null}', "{}"])
def test_a_damaged_record_counts_as_nothing(tmp_path, content):
    (tmp_path / COST).write_text(content, encoding="utf-8")
    assert SpentTime(tmp_path, "cpu").seconds < 1
