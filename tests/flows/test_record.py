"""run.json says what a finished run was and where its artefacts lie."""

import json
from datetime import UTC, datetime

import pytest

from augment.base.identity import base_identity
from data.config import to_dict
from data.splits.split import SplitConfig
from data.store import write_json
from flows import record as module
from flows.record import write_repeats, write_run
from flows.stages.table import make_plan
from flows.steps import StepResult
from flows.study import StudyConfig

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def plan_of(prepare_study, make_split, tmp_path):
    """The plan of a study whose first classifier says that it was trained on a CUDA device."""

    def plan(**changes):
        split = changes.pop("split", SplitConfig(rare=("df",)))
        study = StudyConfig(name="one", seeds=(0, 3), split=split, output_dir=str(tmp_path), **changes)
        made = make_plan(prepare_study(study, make_split(drawn=False)))
        write_json(made.target("arm", "real", "0") / "cost.json", {"seconds": 1.0, "device": "cuda"})
        return made

    return plan


def written(plan, *results):
    write_run(plan, results, STARTED)
    return json.loads((plan.prepared.study.folder / "run.json").read_text(encoding="utf-8"))


def test_every_artefact_is_found_under_its_steps_keys_within_the_run(plan_of):
    plan = plan_of()
    artefacts = written(plan)["artifacts"]
    assert artefacts["split"] == "split-0"
    assert artefacts["arm"]["oversampled"].keys() == {"0", "3"}
    folder = plan.prepared.study.folder
    for step in plan.steps:
        place = artefacts
        for key in step.record:
            place = place[key]
        assert folder / place == step.target


def test_a_run_is_recorded_with_its_config_seeds_classes_and_base(plan_of):
    plan = plan_of(study_seeds=(5,))
    record = written(plan)
    assert record["config"] == json.loads(json.dumps(to_dict(plan.prepared.study)))
    assert record["seeds"] == {"study_seed": 5, "generator_seed": 5, "seeds": [0, 3]}
    assert (record["name"], record["rare"], record["classes"]) == ("one", ["df"], ["df", "mel", "nv"])
    assert record["arms"] == ["real", "oversampled", "synthetic"]
    assert record["base"] == base_identity(plan.base)


@pytest.mark.parametrize(("limited", "regime"), [(False, "shots"), (True, "limited")])
def test_the_regime_says_whose_images_were_held_back(plan_of, limited, regime):
    split = SplitConfig(rare=("df",), shots=2, limit_real_to_shots=limited)
    assert written(plan_of(split=split))["regime"] == regime


def test_timings_are_those_of_each_step_kept_or_made(plan_of):
    plan = plan_of()
    folder = plan.prepared.study.folder
    results = [
        StepResult(stage="split", what="", seconds=1.5, reused=True, folder=folder / "split-0"),
        StepResult(stage="arm", what="real 0", seconds=2.0, reused=False, folder=folder / "arm/real-0"),
    ]
    assert written(plan, *results)["timings"] == [
        {"stage": "split", "what": "", "seconds": 1.5, "reused": True, "folder": "split-0"},
        {"stage": "arm", "what": "real 0", "seconds": 2.0, "reused": False, "folder": "arm/real-0"},
    ]


def test_a_run_s_time_ends_when_it_is_recorded(plan_of):
    before = datetime.now(UTC).replace(microsecond=0)
    record = written(plan_of())
    assert datetime.fromisoformat(record["started"]) == STARTED
    assert before <= datetime.fromisoformat(record["finished"]) <= datetime.now(UTC)


def test_versions_are_those_of_every_library_that_a_stage_depends_on(plan_of):
    assert {"python", "prefect", "torch", "peft", "timm", "scikit-learn"} <= written(plan_of())["versions"].keys()


def test_the_machine_is_named_with_the_device_that_trained_the_first_classifier(plan_of, monkeypatch):
    machine = written(plan_of())["machine"]
    assert machine["device"] == "cuda"
    assert machine["cores"] >= 1
    assert machine["processor"]
    monkeypatch.setattr(module.os, "sysconf", lambda name: {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 2**12}[name])
    assert written(plan_of())["machine"]["memory_gib"] == 4.0


def test_a_repeat_is_recorded_in_its_own_folder_with_artefacts_of_the_study_s(plan_of, tmp_path):
    plan = plan_of(study_seeds=(1,), is_repeat=True)
    write_run(plan, (), STARTED)
    record = json.loads((tmp_path / "one" / "repeats" / "seed-1" / "run.json").read_text(encoding="utf-8"))
    assert tmp_path / "one" / record["artifacts"]["arm"]["real"]["0"] == plan.target("arm", "real", "0")


def test_the_record_of_a_study_names_its_repeats(tmp_path):
    study = StudyConfig(name="one", study_seeds=(2, 3), output_dir=str(tmp_path))
    write_repeats(study, "run.json")
    record = json.loads((tmp_path / "one" / "run.json").read_text(encoding="utf-8"))
    assert record["repeats"] == ["repeats/seed-2", "repeats/seed-3"]
    assert record["config"]["study_seeds"] == [2, 3]
