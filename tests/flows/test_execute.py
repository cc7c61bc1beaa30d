"""What is missing is made, once; what is written stays finished, whatever becomes of the rest."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from data.errors import DataError
from flows.execute import make_artefact, run_group
from flows.stages.table import STAGES, Stage
from flows.steps import Step


def quiet(done, total, note=""):
    """Show no progress."""


@pytest.fixture
def plan(tmp_path):
    return SimpleNamespace(prepared=SimpleNamespace(study=SimpleNamespace(output_dir=str(tmp_path))))


@pytest.fixture
def step(tmp_path):
    return Step(
        stage="sum", what="one", record=("sum", "one"), folder=tmp_path / "sum", inputs={"a": 1}, on_device=False
    )


@pytest.fixture
def made(monkeypatch):
    """The folders in which the stage `sum` was made."""
    folders = []

    def make(plan, step, folder, progress):
        progress(1, 1)
        folders.append(folder)
        (folder / "result.txt").write_text("42", encoding="utf-8")

    monkeypatch.setitem(STAGES, "sum", Stage(make=make))
    return folders


def test_a_step_is_made_once(plan, step, made):
    first, second = (run_group(plan, (step,), quiet) for _ in range(2))
    assert (first.reused, second.reused) == (False, True)
    assert len(made) == 1
    assert second.seconds == first.seconds
    assert (second.folder / "result.txt").read_text(encoding="utf-8") == "42"


def test_an_artefact_with_a_damaged_file_is_made_anew(plan, step, made):
    (run_group(plan, (step,), quiet).folder / "result.txt").write_text("41", encoding="utf-8")
    assert not run_group(plan, (step,), quiet).reused
    assert len(made) == 2


@pytest.mark.parametrize("damaged", [b"", b"[1]", b"{}", b"\xff\xfe", b"3"])
def test_a_damaged_record_of_its_time_is_named_with_the_fix(plan, step, made, damaged):
    cost = run_group(plan, (step,), quiet).folder / "cost.json"
    size = cost.stat().st_size
    record = json.loads((cost.parent / "artifact.json").read_text(encoding="utf-8"))
    cost.write_bytes(damaged.ljust(size))
    record["files"]["cost.json"]["mtime_ns"] = cost.stat().st_mtime_ns  # as a disk changes bytes, not times
    (cost.parent / "artifact.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=r"cost\.json: is damaged.*; delete .*sum-\w{12} and run again"):
        run_group(plan, (step,), quiet)


def test_a_step_that_fails_leaves_no_finished_artefact(step):
    def fails(folder):
        (folder / "half.txt").write_text("4", encoding="utf-8")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        make_artefact(step, fails)
    assert not step.target.exists()
    assert not make_artefact(step, lambda folder: (folder / "whole.txt").write_text("42")).reused


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Two steps that are made in one piece of work, and what was asked for."""
    asked = []

    def make_group(plan, steps, folders, progress):
        asked.append([step.what for step in steps])
        for step in steps:
            (folders[step.id] / "result.txt").write_text(step.what, encoding="utf-8")
            yield step, 1.5

    def make(plan, step, folder, progress):
        for _ in make_group(plan, (step,), {step.id: folder}, progress):
            pass

    monkeypatch.setitem(STAGES, "pair", Stage(make=make, make_group=make_group))
    steps = tuple(
        Step(
            stage="pair", what=what, record=("pair", what), folder=tmp_path / what, inputs={"what": what}, group="pair",
            on_device=False,
        )
        for what in "ab"
    )  # fmt: skip
    return steps, asked


def test_artefacts_made_together_are_kept_and_timed_each_by_itself(plan, group):
    steps, asked = group
    first, second = (run_group(plan, steps, quiet) for _ in range(2))
    assert asked == [["a", "b"]]
    assert [(part.what, part.seconds, part.reused) for part in first.parts] == [("a", 1.5, False), ("b", 1.5, False)]
    assert (first.seconds, first.reused, second.reused) == (3.0, False, True)
    assert (first.what, first.folder) == ("a, b", steps[0].folder.parent)


def test_only_what_is_missing_is_made(plan, group):
    steps, asked = group
    parts = run_group(plan, steps, quiet).parts
    (parts[1].folder / "result.txt").write_text("c", encoding="utf-8")
    again = run_group(plan, steps, quiet)
    assert asked == [["a", "b"], ["b"]]
    assert [part.reused for part in again.parts] == [True, False]
    assert not again.reused


def make_group_that(monkeypatch, fails):
    monkeypatch.setitem(STAGES, "pair", dataclasses.replace(STAGES["pair"], make_group=fails))


def test_what_is_written_stays_when_the_others_fail(plan, group, monkeypatch):
    (a, b), _ = group

    def fails(plan, steps, folders, progress):
        (folders[b.id] / "result.txt").write_text("b", encoding="utf-8")
        yield b, 1.0
        (folders[a.id] / "half.txt").write_text("a", encoding="utf-8")
        raise RuntimeError("no")

    make_group_that(monkeypatch, fails)
    with pytest.raises(RuntimeError, match="no"):
        run_group(plan, (a, b), quiet)
    assert not a.target.exists()
    assert (b.target / "result.txt").read_text(encoding="utf-8") == "b"
    assert a.target.with_name(a.target.name + ".partial").joinpath("half.txt").exists()
    assert b.is_finished


def test_an_artefact_that_is_not_given_back_is_not_finished(plan, group, monkeypatch):
    (a, b), _ = group
    make_group_that(monkeypatch, lambda plan, steps, folders, progress: iter([(a, 1.0)]))
    with pytest.raises(RuntimeError, match="left incomplete: pair b"):
        run_group(plan, (a, b), quiet)
    assert a.target.exists()
    assert not b.target.exists()
