"""What an artefact depends on: its stage's number and libraries, and the settings that its result depends on."""

from importlib.metadata import version

import pytest

from data.store import digest
from flows import inputs as module
from flows.inputs import LIBRARIES, STAGE_VERSIONS, inputs, settings
from flows.stages.table import STAGES
from flows.study import StudyConfig


def test_every_stage_has_a_number_and_libraries():
    assert STAGE_VERSIONS.keys() == LIBRARIES.keys() == {*STAGES, "split"}


def test_inputs_name_stage_number_libraries_and_what_the_stage_depends_on():
    assert inputs("split", seed=3) == {
        "stage": "split",
        "version": STAGE_VERSIONS["split"],
        "libraries": {name: version(name) for name in ("numpy", "pandas", "scikit-learn")},
        "seed": 3,
    }


@pytest.mark.parametrize("stage", LIBRARIES)
def test_a_raised_number_or_another_library_makes_a_stage_s_artefacts_others(stage, monkeypatch):
    before = digest(inputs(stage, seed=3))
    monkeypatch.setitem(STAGE_VERSIONS, stage, STAGE_VERSIONS[stage] + 1)
    raised = digest(inputs(stage, seed=3))
    monkeypatch.undo()
    monkeypatch.setattr(module, "version", lambda name: version(name) + ".1")
    updated = digest(inputs(stage, seed=3))
    assert len({before, raised, updated}) == 3


def test_settings_are_those_of_the_config_less_what_is_left_out():
    config = StudyConfig().split
    assert settings(config) == {
        name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()
    }
    assert settings(config).keys() - settings(config, "shots", "rare").keys() == {"shots", "rare"}


def test_settings_leave_out_only_fields_that_there_are():
    with pytest.raises(KeyError, match="bach_size"):
        settings(StudyConfig().generate, "bach_size")
