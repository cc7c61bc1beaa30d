"""What the page knows of a run: its steps, its photographs, and which generators of a class may draw."""

import json

import pytest

from augment.base.identity import base_identity
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from data.config import to_dict
from data.errors import ConfigError, InputError
from data.splits.provenance import Provenance
from flows.page.opened import BASE_ALONE, open_run

DIGEST = "0123456789abcdef"
PLANNED = {"fine-tune df": {"digest": DIGEST, "folder": "finetune/df-0123"}}


def adapter(opened, name, label="df", seen=None, base=None):
    parts = opened.prepared.split
    folder = opened.study.folder / "finetune" / name
    folder.mkdir(parents=True)
    AdapterRecord(
        method="lora", display_name="LoRA", label=label, prompt="a skin lesion", negative_prompt="", token=None,
        steps=1500, final_loss=0.1, config=to_dict(LoraConfig()), key="k", weights="w.safetensors", sha256="0" * 64,
        base=base or base_identity(opened.base), provenance=Provenance.of(seen or parts.train), pixels={}, seed=0,
        trained_with=[label], seconds=2.0,
    ).write(folder)  # fmt: skip
    return folder


def test_before_an_adapter_is_finished_the_base_alone_draws(open_one):
    (alone,) = open_one().generators("df")
    assert (alone.name, alone.folder) == (BASE_ALONE, None)
    assert "dermatofibroma" in alone.prompt


def test_the_runs_own_adapter_comes_first_then_those_of_other_settings(open_one):
    opened = open_one(PLANNED)
    other, own = adapter(opened, "df-0000"), adapter(opened, "df-0123")
    found = opened.generators("df")
    assert [each.folder for each in found] == [own, other, None]
    assert found[0].name == "LoRA, 1,500 steps"
    assert found[1].name == "LoRA, 1,500 steps, of other settings (0000)"
    assert found[0].prompt == "a skin lesion"


@pytest.mark.parametrize("part", ["validation", "test"])
def test_an_adapter_that_has_seen_a_part_that_evaluates_is_not_offered(open_one, part):
    opened = open_one()
    adapter(opened, "df-0000", seen=opened.prepared.split.parts()[part])
    assert [each.folder for each in opened.generators("df")] == [None]


def test_adapters_of_another_base_or_class_and_broken_ones_are_not_offered(open_one):
    opened = open_one()
    adapter(opened, "df-0000", base={"source": "other"})
    adapter(opened, "df-1111", label="mel")
    (opened.study.folder / "finetune" / "df-2222").mkdir()
    assert [each.folder for each in opened.generators("df")] == [None]


def test_an_unknown_generator_is_an_error_that_names_the_known(open_one):
    with pytest.raises(InputError, match=BASE_ALONE):
        open_one().generator("df", "other")


def test_photographs_are_those_that_classifiers_train_on_alone(open_one):
    opened = open_one()
    shown, parts = set(opened.photographs.table["image_id"]), opened.prepared.split.parts()
    assert shown == set(parts["train"].table["image_id"])
    assert not shown & {*parts["validation"].table["image_id"], *parts["test"].table["image_id"]}


def test_a_step_is_finished_by_the_digest_that_the_run_planned(open_one):
    opened = open_one({**PLANNED, "random split 0": {"digest": "d", "folder": "random/0"}})
    folder = opened.study.folder / "finetune" / "df-0123"
    folder.mkdir(parents=True)
    assert [(each.stage, each.what) for each in opened.steps()] == [("fine-tune", "df"), ("random split", "0")]
    (folder / "artifact.json").write_text(json.dumps({"digest": "other"}))
    assert not opened.steps("fine-tune")[0].is_finished
    (folder / "artifact.json").write_text(json.dumps({"digest": DIGEST}))
    assert opened.steps("fine-tune")[0].is_finished


def test_a_broken_plan_is_an_error_that_names_it(open_one):
    opened = open_one()
    (opened.study.folder / "plan.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"plan\.json: is not the plan of a run"):
        opened.steps()


def test_a_folder_that_is_no_run_is_refused(tmp_path, plain_runner):
    with pytest.raises(ConfigError, match=r"holds no plan\.json of a run"):
        open_run(tmp_path, plain_runner)
