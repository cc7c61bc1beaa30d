"""Accepted images: a folder that an arm takes, with what their generators have seen and what a person decided."""

import json

import pandas as pd
import pytest
import yaml
from PIL import Image

from augment.generate.mark import SYNTHETIC, metadata, origin_of
from augment.generate.record import GeneratedImages
from data.errors import DataError, InputError
from data.sources.external import ExternalArm, external_provenance, read_external
from data.splits.provenance import Provenance
from flows.page.accepted import AcceptedSet, Batch, Counts, arms_setting, sets_of
from flows.study import StudyConfig


def batch_of(folder, colours, label="df", seen=("g1",), **columns):
    folder.mkdir(parents=True)
    paths = []
    for number, colour in enumerate(colours):
        paths.append(folder / f"{label}-{number}.jpg")
        Image.new("RGB", (16, 16), colour).save(paths[-1], "JPEG", **metadata("JPEG"))
    GeneratedImages(
        label=label, prompt="p", adapter="a", base={}, seed=0, size=16, batch_size=1, sampler="s", settings={},
        attributes=None, provenance=Provenance(group_ids=frozenset(seen)),
    ).write(folder)  # fmt: skip
    rows = pd.DataFrame({"file_name": [path.name for path in paths], "label": label, "seed": "7", **columns}, dtype=str)
    return Batch(images=paths, rows=rows, record_folder=folder)


@pytest.fixture
def by_hand(tmp_path):
    return AcceptedSet.of(tmp_path / "run", "by-hand")


def test_an_arm_takes_the_accepted_images_and_no_others(by_hand, tmp_path):
    assert by_hand.decide(batch_of(tmp_path / "a", ["red", "green", "blue"]), [0, 2]) == 2
    images = read_external(ExternalArm(folder=str(by_hand.folder), name="by-hand"), ["df", "nv"])
    assert len(images) == 2
    assert images.labels == ("df",)
    assert all(path.is_file() for path in images.paths())


def test_what_their_generators_have_seen_is_known_to_the_study(by_hand, tmp_path):
    by_hand.decide(batch_of(tmp_path / "a", ["red"]), [0])
    by_hand.decide(batch_of(tmp_path / "b", ["blue"], seen=("g2",)), [0])
    seen = external_provenance(by_hand.folder)
    assert seen == Provenance(group_ids=frozenset({"g1", "g2"}))


def test_a_generator_of_unknown_training_makes_the_whole_set_unknown(by_hand, tmp_path):
    by_hand.decide(batch_of(tmp_path / "a", ["red"]), [0])
    unknown = batch_of(tmp_path / "b", ["blue"])
    record = json.loads((tmp_path / "b" / "generation.json").read_text())
    record["provenance"]["is_complete"] = False
    (tmp_path / "b" / "generation.json").write_text(json.dumps(record))
    by_hand.decide(unknown, [0])
    assert not external_provenance(by_hand.folder).is_complete


def test_files_keep_the_mark_and_rows_their_settings(by_hand, tmp_path):
    by_hand.decide(batch_of(tmp_path / "a", ["red"], prompt="p (x:1.2)"), [0])
    by_hand.decide(batch_of(tmp_path / "b", ["blue"], strength="0.5", source_image="i"), [0])
    table = pd.read_csv(by_hand.folder / "metadata.csv", dtype=str, keep_default_na=False)
    assert list(table["prompt"]) == ["p (x:1.2)", ""]
    assert list(table["strength"]) == ["", "0.5"]
    assert set(table["chosen"]) == {"by hand"}
    for name in table["file_name"]:
        with Image.open(by_hand.folder / name) as image:
            assert origin_of(image) == SYNTHETIC


def test_decisions_are_counted_by_class(by_hand, tmp_path):
    by_hand.decide(batch_of(tmp_path / "a", ["red", "green", "blue"]), [1])
    by_hand.decide(batch_of(tmp_path / "b", ["white", "black"]), [])
    by_hand.decide(batch_of(tmp_path / "c", ["pink"], label="vasc"), [0])
    assert by_hand.counts() == {"df": Counts(accepted=1, rejected=4), "vasc": Counts(accepted=1, rejected=0)}


def test_the_same_image_is_accepted_once(by_hand, tmp_path):
    assert by_hand.decide(batch_of(tmp_path / "a", ["red", "blue"]), [0]) == 1
    assert by_hand.decide(batch_of(tmp_path / "b", ["red", "blue"]), [0, 1]) == 1
    assert by_hand.counts()["df"].accepted == 2
    assert len(pd.read_csv(by_hand.folder / "metadata.csv")) == 2


def test_a_set_with_nothing_accepted_is_no_arm_yet_but_is_counted(by_hand, tmp_path):
    by_hand.decide(batch_of(tmp_path / "a", ["red"]), [])
    assert [each.name for each in sets_of(tmp_path / "run")] == ["by-hand"]
    assert not (by_hand.folder / "metadata.csv").exists()


@pytest.mark.parametrize("name", ["", "By Hand", "../out", "a/b", "-a", "x" * 51])
def test_a_name_that_no_arm_can_have_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="a-z, 0-9 and dashes"):
        AcceptedSet.of(tmp_path, name)


@pytest.mark.parametrize("name", ["synthetic", "real", "random-split"])
def test_the_name_of_another_arm_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="is the name of another arm"):
        AcceptedSet.of(tmp_path, name)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_record_is_not_written_over(by_hand, tmp_path, text):
    by_hand.folder.mkdir(parents=True)
    (by_hand.folder / "choices.json").write_text(text)
    with pytest.raises(DataError, match=r"choices\.json: .*restore it, or move the set away"):
        by_hand.decide(batch_of(tmp_path / "a", ["red"]), [0])


def test_the_printed_setting_is_one_that_a_study_takes(tmp_path):
    chosen = AcceptedSet.of(tmp_path / 'a "b" c', "by-hand")
    arms = ("real", ExternalArm(folder="/data/x", name="mine"), ExternalArm(folder="/old", name="by-hand"))
    setting = arms_setting(arms, chosen)
    study = StudyConfig(arms=yaml.safe_load(setting.removeprefix("arms=")))
    assert study.arm_names == ("real", "mine", "by-hand")
    assert study.external_arms[1].folder == str(chosen.folder)
