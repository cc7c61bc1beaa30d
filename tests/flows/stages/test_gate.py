"""The gate's step a class, what it writes, and the images that its two arms get."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from augment.base.config import BaseConfig
from augment.generate.select import COPY, LOOK_ALIKE
from classify.config import ClassifierConfig
from data.manifest import Manifest, read_table
from data.pixels import PixelConfig
from data.splits.split import Split, SplitConfig
from data.store import read_json, write_json, write_text
from flows.execute import run_group
from flows.stages import arm, gate
from flows.stages.table import make_plan
from flows.study import StudyConfig

ARMS = ("real", "synthetic", "gated", "random")
SMALL = ClassifierConfig(steps=2, batch_size=4, validate_every=1)


def quiet(*_):
    """Show no progress."""


@pytest.fixture
def plan_of(make_split, prepare_study, tmp_path):
    def plan(divided=None, **changes):
        divided = divided or make_split(drawn=False, nv=8, mel=6, df=3, vasc=2)
        chosen = {
            "split": SplitConfig(rare=("df", "vasc"), shots=2), "fill_to": 6, "arms": ARMS, "seeds": (0,),
            "output_dir": str(tmp_path), "coding": "none", **changes,
        }  # fmt: skip
        return make_plan(prepare_study(StudyConfig(**chosen), divided))

    return plan


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A split of phantoms of three classes, near-duplicates apart."""
    from data.phantoms.table import PhantomConfig
    from data.pixels import load_pixels
    from data.sources.load import DataConfig, load_manifest
    from data.splits.duplicates import leakage_groups
    from data.splits.split import make_split

    phantom = PhantomConfig(images=150, seed=600_002, codes=("df", "mel", "nv"), balanced=True)
    manifest = load_manifest(DataConfig(phantom=phantom), tmp_path_factory.mktemp("phantoms"))
    manifest, _ = leakage_groups(manifest, load_pixels(manifest, PixelConfig()))
    return make_split(manifest, SplitConfig(rare=("df",)), 0)


def write_images(plan, step, images):
    """In place of the generator: these images as those of a step."""
    folder = step.target
    (folder / "images").mkdir(parents=True)
    rows = [f"images/{step.what}-{n:06d}.png,{step.what},{'ab' * 32},{n}" for n in range(len(images))]
    for n, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{step.what}-{n:06d}.png")
    write_text(folder / "metadata.csv", "\n".join(["file_name,label,adapter,seed", *rows, ""]))


def write_gate(step, reasons):
    """In place of the gate: these reasons as what it found."""
    rows = [f"images/{n}.png,{'no' if reason else 'yes'},{reason}" for n, reason in enumerate(reasons)]
    write_text(step.target / "gate.csv", "\n".join(["file_name,kept,reasons", *rows, ""]))
    write_json(step.target / "gate.json", {"made": len(rows), "kept": 0, "wanted": 3, "refused": {}, "other": 1})


def test_only_an_arm_that_asks_for_the_gate_has_one_and_makes_half_as_many_images_more(plan_of):
    plan = plan_of()
    assert [step.id for step in plan.steps_of("gate")] == ["gate df", "gate vasc"]
    assert plan.step("gate", "df").needs == ("images df",)
    assert plan.prepared.synthetic_counts == {"df": 5, "vasc": 6}
    without = plan_of(arms=("real", "synthetic"))
    assert without.steps_of("gate") == ()
    assert without.prepared.synthetic_counts == {"df": 3, "vasc": 4}


def test_the_two_arms_wait_for_the_gate_and_the_others_do_not(plan_of):
    needs = {step.what: tuple(need for need in step.needs if need != "probe") for step in plan_of().steps_of("arm")}
    images, gates = ("images df", "images vasc"), ("gate df", "gate vasc")
    assert needs == {"real 0": (), "synthetic 0": images, "gated 0": images + gates, "random 0": images + gates}


def test_a_held_out_photograph_that_changed_makes_the_gate_anew_and_a_classifier_s_steps_do_not(plan_of, make_split):
    def digests(**changes):
        return [step.digest for step in plan_of(**changes).steps_of("gate")]

    before = digests()
    assert digests(classifier=dataclasses.replace(SMALL, steps=9)) == before
    split = make_split(drawn=False, nv=8, mel=6, df=3, vasc=2)
    test = split.test.table.assign(path="other.jpg")
    assert not set(digests(divided=Split(split.train, split.validation, Manifest(test, split.test.roots)))) & set(
        before
    )


def test_what_the_gate_keeps_and_as_many_at_random_carry_their_reasons(plan_of):
    plan = plan_of()
    for step in plan.steps_of("images"):
        write_images(plan, step, np.zeros((plan.prepared.synthetic_counts[step.what], 8, 8, 3), np.uint8))
    write_gate(plan.step("gate", "df"), [COPY, "", "", "", ""])
    write_gate(plan.step("gate", "vasc"), ["", COPY, COPY, "", LOOK_ALIKE, COPY])
    kept, random = (gate.read_images(plan, which) for which in ("kept", "random"))
    assert [path.name for path in kept.paths()] == [f"df-{n:06d}.png" for n in (1, 2, 3)] + [
        "vasc-000000.png",
        "vasc-000003.png",
    ]
    assert set(kept.table["gate"]) == {"kept"}
    assert kept.counts() == random.counts() == {"df": 3, "vasc": 2}
    reasons = dict(
        zip([f"vasc-{n:06d}.png" for n in range(6)], ["kept", COPY, COPY, "kept", LOOK_ALIKE, COPY], strict=True)
    )
    of_vasc = random.of("vasc")
    assert of_vasc.table["gate"].tolist() == [reasons[path.name] for path in of_vasc.paths()]
    assert random.table.equals(gate.read_images(plan, "random").table)
    assert (kept.table["lineage"].str.contains(f":gate {plan.step('gate', 'df').digest[:12]} kept")).sum() == 3
    assert gate.records(plan)["df"] == {"made": 5, "kept": 0, "wanted": 3, "refused": {}}


def test_an_arm_takes_what_there_is_and_leaves_a_class_of_which_nothing_is_kept(plan_of):
    plan = plan_of()
    for step in plan.steps_of("images"):
        write_images(plan, step, np.zeros((plan.prepared.synthetic_counts[step.what], 8, 8, 3), np.uint8))
    write_gate(plan.step("gate", "df"), ["", COPY, COPY, COPY, COPY])
    write_gate(plan.step("gate", "vasc"), [COPY] * 6)
    for name in ("gated", "random"):
        table = arm.task_of(plan, plan.prepared.study.arm_table[name], 0).train.table
        added = table[table["source"] == "synthetic"]
        assert added["label"].tolist() == ["df"]


@pytest.mark.numerical
def test_planted_images_are_refused_with_their_nearest_photograph_and_others_are_kept(plan_of, parts):
    plan = plan_of(
        divided=parts,
        split=SplitConfig(rare=("df",)),
        arms=("real", "gated"),
        base=BaseConfig(source="tiny"),
        fill_to=len(parts.train.of("df")) + 4,
        classifier=SMALL,
    )
    study, step = plan.prepared.study, plan.step("images", "df")
    train, test = parts.train.of("df"), parts.test.of("df")
    drawn = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    write_images(plan, step, np.concatenate([_squares(train, test), drawn, flat]))
    gate_step = plan.step("gate", "df")
    run_group(plan, (gate_step,), quiet)
    table, record = read_table(gate_step.target / "gate.csv"), read_json(gate_step.target / "gate.json")
    assert [COPY in reasons for reasons in table["reasons"]] == [True, True, False, False, False, False, False]
    assert [LOOK_ALIKE in reasons for reasons in table["reasons"]] == [False, False, True, True, False, False, False]
    assert "flat" in table["reasons"].iloc[-1]
    assert table["train_image"].tolist()[:2] == train.table["image_id"].tolist()[:2]
    assert table["held_out_image"].tolist()[2:4] == test.table["image_id"].tolist()[:2]
    assert table["held_out_part"].tolist()[2:4] == ["test", "test"]
    assert (record["made"], record["wanted"], record["refused"][COPY]) == (7, 4, 2)
    planted = {name: each for name, each in record["copies"]["controls"].items() if name.startswith("planted")}
    assert len(planted) == 7
    assert all(each["above"] >= 0.99 * each["n"] > 0 for each in planted.values())
    assert record["classifier"]["recalls"].keys() == {"df", "mel", "nv"}
    pairs = gate.nearest_pairs(plan, "df", 2)
    assert {pair.real for pair in pairs} == set(train.paths()[:2])
    assert study.folder in pairs[0].synthetic.parents


def _squares(*parts):
    """The first two photographs of each part at the study's size, lightly changed."""
    from data.pixels import read_image

    found = [read_image(path, PixelConfig()) for part in parts for path in part.paths()[:2]]
    return np.stack([image[:, ::-1] for image in found])
