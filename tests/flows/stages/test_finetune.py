"""Classes are fine-tuned in one piece of work, and an interrupted run continues with those that are missing."""

import dataclasses

import pytest

from augment.methods.lora import LoraConfig
from classify.features import KnownFeatures
from data.errors import DataError
from data.splits.split import SplitConfig
from flows.execute import run_group
from flows.stages import finetune as stage
from flows.stages.table import make_plan
from flows.study import StudyConfig

CLASSES = ("df", "mel", "vasc")


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(split=SplitConfig(rare=CLASSES, shots=2), output_dir=str(tmp_path / "runs"), fill_to=9)
    return make_plan(prepare_study(study, make_split(drawn=False, nv=9, df=2, mel=2, vasc=2)))


def test_an_interrupted_run_goes_on_with_the_classes_that_are_missing(plan, monkeypatch):
    asked, shown = [], []

    def finetune(*, base, shots, config, out, context, selection, held_out, run, progress):
        asked.append(list(shots))
        for n, label in enumerate(shots, 1):
            progress(n, 2 * len(shots), f"loss {label} 0.500")
            if label == "mel" and len(asked) == 1:
                raise KeyboardInterrupt
            (out[label] / "adapter.json").write_text("{}", encoding="utf-8")
            yield label, 2.0

    monkeypatch.setattr("flows.stages.finetune.finetune", finetune)
    steps = plan.steps_of("fine-tune")
    assert [step.what for step in steps] == list(CLASSES)
    with pytest.raises(KeyboardInterrupt):
        run_group(plan, steps, lambda *_: None)
    done = run_group(plan, steps, lambda *shown_now: shown.append(shown_now))
    assert asked == [["df", "mel", "vasc"], ["mel", "vasc"]]
    assert [(part.what, part.reused, part.seconds) for part in done.parts] == [
        ("df", True, 2.0),
        ("mel", False, 2.0),
        ("vasc", False, 2.0),
    ]
    assert shown == [(1, 4, "loss mel 0.500"), (2, 4, "loss vasc 0.500")]


def test_one_class_alone_can_be_made(plan, monkeypatch):
    def finetune(*, shots, out, **_):
        for label in shots:
            (out[label] / "adapter.json").write_text("{}", encoding="utf-8")
            yield label, 1.0

    monkeypatch.setattr("flows.stages.finetune.finetune", finetune)
    done = run_group(plan, (plan.step("finetune", "mel"),), lambda *_: None)
    assert (done.what, done.reused) == ("mel", False)


CHOOSING = LoraConfig(select_every=10)
KNOWN = KnownFeatures(name="known", weights="none", architecture="test_efficientnet", identity="1")


@pytest.fixture
def selection_of(make_split, prepare_study, tmp_path, monkeypatch):
    """The shots and the selection that a fine-tune of `df` is called with; df has 24 other lesions, mel none."""
    split = make_split(drawn=False, nv=30, df=28, mel=4)

    def called(known=KNOWN, **changes):
        monkeypatch.setattr("flows.held_back.features_of", lambda _prepared: known)
        asked = []
        monkeypatch.setattr("flows.stages.finetune.finetune", lambda **given: asked.append(given) or iter(()))
        rare = SplitConfig(rare=("df", "mel"), shots=4)
        given = {"split": rare, "output_dir": str(tmp_path), "fill_to": 40, "finetune": CHOOSING, **changes}
        plan = make_plan(prepare_study(StudyConfig(**given), split))
        steps = plan.steps_of("fine-tune")
        list(stage.make_group(plan, steps, {step.id: tmp_path for step in steps}, None))
        return asked[0]["shots"], asked[0]["selection"], steps

    return called


def test_half_of_the_other_lesions_choose_a_step_and_a_class_without_them_says_why(selection_of):
    shots, selection, _ = selection_of()
    assert {label: len(found) for label, found in selection.held_out.items()} == {"df": 12}
    assert selection.reasons["mel"].startswith("0 other lesions of its train part are too few")
    assert (selection.features_name, selection.origin) == ("known", "other lesions of the train part")
    assert len(shots["df"]) == 4


def test_without_a_choice_or_a_network_the_last_step_is_kept(selection_of):
    assert selection_of(finetune=LoraConfig())[1] is None
    _, selection, _ = selection_of(known=None)
    assert selection.held_out == {}
    assert set(selection.reasons.values()) == {"no network is at hand whose features would compare its images"}


def test_what_chooses_is_part_of_what_an_adapter_depends_on(selection_of):
    plain, chosen = selection_of(finetune=LoraConfig())[2][0].inputs, selection_of()[2][0].inputs
    assert chosen.keys() - plain.keys() == {"chosen_by", "features"}
    other = selection_of(known=dataclasses.replace(KNOWN, identity="2"))[2][0].inputs
    assert other != chosen


def test_photographs_of_the_test_part_choose_nothing(selection_of, monkeypatch):
    monkeypatch.setattr(stage.held_back, "choosing", lambda prepared, label: prepared.split.test.of(label))
    with pytest.raises(DataError, match="the choice of the fine-tune of df has seen 28 leakage groups of the test"):
        selection_of()


def test_the_held_out_loss_is_of_other_lesions_and_a_class_without_them_says_why(selection_of, monkeypatch):
    asked = []
    monkeypatch.setattr(stage, "HeldOut", lambda **given: asked.append(given))
    selection_of(finetune=LoraConfig())
    assert asked == []
    selection_of(finetune=LoraConfig(held_out_every=5))
    (given,) = asked
    assert {label: len(found) for label, found in given["photographs"].items()} == {"df": 12}
    assert given["reasons"].keys() == {"mel"}
    assert given["origin"] == "other lesions of the train part"


def test_photographs_of_the_test_part_have_no_held_out_loss(selection_of, monkeypatch):
    monkeypatch.setattr(stage.held_back, "held_out", lambda prepared, label: prepared.split.test.of(label))
    with pytest.raises(
        DataError, match="the held-out loss of the fine-tune of df has seen 28 leakage groups of the te"
    ):
        selection_of(finetune=LoraConfig(held_out_every=5))


def test_a_held_out_loss_makes_no_adapter_another_one(selection_of):
    plain, watched = (selection_of(finetune=LoraConfig(held_out_every=every))[2][0].inputs for every in (0, 5))
    assert plain == watched
