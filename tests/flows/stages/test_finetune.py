"""Classes are fine-tuned in one piece of work, and an interrupted run continues with those that are missing."""

import pytest

from data.splits.split import SplitConfig
from flows.execute import run_group
from flows.stages.table import make_plan
from flows.study import StudyConfig

CLASSES = ("df", "mel", "vasc")


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(split=SplitConfig(rare=CLASSES, shots=2), output_dir=str(tmp_path / "runs"), fill_to=9)
    return make_plan(prepare_study(study, make_split(drawn=False, nv=9, df=2, mel=2, vasc=2)))


def test_an_interrupted_run_goes_on_with_the_classes_that_are_missing(plan, monkeypatch):
    asked, shown = [], []

    def finetune(*, base, shots, config, out, context, progress):
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
