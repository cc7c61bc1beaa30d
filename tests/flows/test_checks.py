"""A base that has seen validation or test images is refused before anything is made."""

import dataclasses

import pytest

from augment.base.config import BaseConfig
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from data.errors import DataError
from data.splits.provenance import Provenance
from data.splits.split import SplitConfig
from data.store import file_sha256, write_json
from flows.checks import check, refuse_base
from flows.stages.table import make_plan
from flows.step import make_step
from flows.study import StudyConfig


def kept(folder, **seen):
    """A base whose record names these ids."""
    provenance = Provenance(**{name: frozenset(ids) for name, ids in seen.items()}).to_record()
    record = {"images": 4, "by_class": {"nv": 4}, "groups": 2, "provenance": provenance}
    write_json(folder / "training.json", record)
    return BaseConfig(source=str(folder))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_base_that_has_seen_validation_or_test_images_is_refused(make_split, tmp_path, name):
    split = make_split(drawn=False)
    refuse_base(kept(tmp_path / "good", group_ids=["train-nv-1"], image_ids=["train-nv-1"]), split)
    words = rf"the base .*bad has seen 1 leakage groups of the {name} part, first \['{name}-nv-2'\]"
    with pytest.raises(DataError, match=words):
        refuse_base(kept(tmp_path / "bad", group_ids=["train-nv-1", f"{name}-nv-2"]), split)
    other_groups = kept(tmp_path / "other-bad", group_ids=["lesion 7"], image_ids=["train-nv-1", f"{name}-nv-2"])
    with pytest.raises(DataError, match=words):
        refuse_base(other_groups, split)


def test_the_embedded_base_and_one_from_a_hub_are_let_through(make_split):
    refuse_base(BaseConfig(), make_split(drawn=False))
    refuse_base(BaseConfig(source="owner/name"), make_split(drawn=False))


@pytest.mark.parametrize(("seen", "is_refused"), [("train-df-0", False), ("test-df-0", True)])
def test_a_lora_to_start_from_that_has_seen_test_images_is_refused(
    make_split, prepare_study, plain_runner, tmp_path, seen, is_refused
):
    file = tmp_path / "pytorch_lora_weights.safetensors"
    file.write_bytes(b"weights")
    AdapterRecord(
        method="lora", display_name="LoRA", label="df", prompt="a", negative_prompt="", token=None, steps=1,
        final_loss=0.1, config={}, key="k", weights=file.name, sha256=file_sha256(file), base={}, pixels={}, seed=0,
        provenance=Provenance(image_ids=frozenset({seen})), trained_with=["df"], seconds=1.0,
    ).write(tmp_path)  # fmt: skip
    study = StudyConfig(
        split=SplitConfig(rare=("df",), shots=2),
        finetune=LoraConfig(init_lora=str(file)),
        arms=("real", "synthetic"),
        fidelity=False,
        output_dir=str(tmp_path),
    )
    plan = make_plan(prepare_study(study, make_split(drawn=False)))
    if is_refused:
        with pytest.raises(DataError, match=r"finetune\.init_lora .* has seen 1 leakage groups of the test part"):
            check([plan], plain_runner)
    else:
        check([plan], plain_runner)


@pytest.mark.parametrize("own", [False, True])
def test_a_plan_is_checked_for_its_base_or_what_that_is_continued_from(
    make_split, prepare_study, plain_runner, tmp_path, own, monkeypatch
):
    base = kept(tmp_path / "seen", group_ids=["test-df-0"])
    monkeypatch.setattr("flows.stages.base.base_identity", lambda base: {"init_from": "x"})
    monkeypatch.setattr("flows.stages.base.base_parts", lambda base, size: None)
    monkeypatch.setattr("flows.stages.base.own_base_bytes", lambda *_: 1)
    monkeypatch.setattr("flows.stages.base.own_base_checkpoint_bytes", lambda *_: 1)
    if own:
        base = BaseConfig(source="pretrain", pretrain={"init_from": base.source})
    study = StudyConfig(
        base=base, split=SplitConfig(rare=("df",)), arms=("real", "autoencoded"), output_dir=str(tmp_path)
    )
    plan = make_plan(prepare_study(study, make_split(drawn=False)))
    words = r"the base .*seen has seen 1 leakage groups of the test part"
    with pytest.raises(DataError, match=words):
        check([plan], plain_runner)
    with pytest.raises(DataError, match=words):  # nor is a step of it made alone
        make_step(plan, plan.steps[0].id, plain_runner)
    unused = make_plan(dataclasses.replace(plan.prepared, study=dataclasses.replace(study, arms=("real",))))
    check([unused], plain_runner)
    assert plain_runner.stages == ["power", "disk"]
