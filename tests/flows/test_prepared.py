"""What a study's steps are planned from: the images, who may see which of them, and how many are to be added."""

import dataclasses
from pathlib import Path

import pytest

from classify.arms import arm_of
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.sources.external import ExternalArm
from data.splits.split import SplitConfig
from flows.prepared import Images
from flows.study import StudyConfig

RARE = SplitConfig(rare=("df", "vasc"), shots=2)


@pytest.fixture
def prepared(prepare_study, make_split, tmp_path):
    """A prepared study of eight nevi, six melanomas, three df and two vasc a part."""
    split = make_split(drawn=False, nv=8, mel=6, df=3, vasc=2)

    def of(**changes):
        return prepare_study(StudyConfig(**{"split": RARE, "output_dir": str(tmp_path), **changes}), split)

    return of


def test_the_generator_sees_a_few_train_images_of_each_rare_class(prepared):
    made = prepared()
    assert {label: few.counts() for label, few in made.shots.items()} == {"df": {"df": 2}, "vasc": {"vasc": 2}}
    assert all(set(few.table["image_id"]) <= set(made.split.train.table["image_id"]) for few in made.shots.values())


def test_the_study_s_seed_draws_the_few_images_and_not_the_classifiers_seeds(prepared):
    drawn = {tuple(prepared(study_seeds=(seed,)).shots["df"].table["image_id"]) for seed in range(8)}
    assert 1 < len(drawn) <= 3  # there are three pairs
    assert len({tuple(prepared(seeds=(seed,)).shots["df"].table["image_id"]) for seed in range(8)}) == 1


def test_classifiers_see_only_the_few_images_where_the_study_asks_so(prepared):
    assert prepared().train.counts() == {"df": 3, "mel": 6, "nv": 8, "vasc": 2}
    limited = prepared(split=dataclasses.replace(RARE, limit_real_to_shots=True))
    assert limited.train.counts() == {"df": 2, "mel": 6, "nv": 8, "vasc": 2}
    kept = limited.train.of("df").table["image_id"]
    assert set(kept) == set(limited.shots["df"].table["image_id"])


def test_rare_classes_are_filled_from_what_the_classifiers_see(prepared):
    assert prepared(fill_to=5).fill_counts == {"df": 2, "vasc": 3}
    limited = dataclasses.replace(RARE, limit_real_to_shots=True)
    assert prepared(fill_to=5, split=limited).fill_counts == {"df": 3, "vasc": 3}


def test_images_are_drawn_only_of_classes_that_lack_some_and_only_for_an_arm_that_uses_them(prepared):
    assert prepared(fill_to=3).synthetic_counts == {"vasc": 1}
    assert prepared(fill_to=3, arms=("real", "oversampled", "autoencoded")).synthetic_counts == {}


def test_an_arm_of_few_photographs_has_those_of_a_smaller_one_and_all_of_common_classes(prepared):
    few = {n: prepared().train_of(arm_of(f"real@{n}")) for n in (1, 2, 3, 9)}
    assert {n: part.counts() for n, part in few.items()} == {
        1: {"df": 1, "mel": 6, "nv": 8, "vasc": 1},
        2: {"df": 2, "mel": 6, "nv": 8, "vasc": 2},
        3: {"df": 3, "mel": 6, "nv": 8, "vasc": 2},
        9: {"df": 3, "mel": 6, "nv": 8, "vasc": 2},
    }
    images = {n: set(part.table["image_id"]) for n, part in few.items()}
    assert images[1] < images[2] < images[3] == images[9]
    assert prepared().train_of(arm_of("real")).digest() == prepared().train.digest()


def test_as_many_photographs_as_shots_are_the_shots_and_more_are_there_where_the_study_is_limited_to_them(prepared):
    for limited in (False, True):
        made = prepared(split=dataclasses.replace(RARE, limit_real_to_shots=limited), study_seeds=(5,))
        assert set(made.train_of(arm_of("real@2")).of("df").table["image_id"]) == set(
            made.shots["df"].table["image_id"]
        )
        assert made.train_of(arm_of("real@3")).counts()["df"] == 3
        assert made.train_of(arm_of("synthetic")).counts()["df"] == (2 if limited else 3)


def test_real_at_16_is_contained_in_real_at_32(prepare_study, make_split, tmp_path):
    study = StudyConfig(split=SplitConfig(rare=("df",)), output_dir=str(tmp_path))
    made = prepare_study(study, make_split(drawn=False, nv=60, df=40))
    few, more = (set(made.train_of(arm_of(f"real@{n}")).of("df").table["image_id"]) for n in (16, 32))
    assert (len(few), len(more)) == (16, 32)
    assert few < more


def test_an_arm_adds_images_up_to_the_fill_or_by_its_dose_to_the_classes_that_lack_some(prepared):
    made = prepared(fill_to=5)
    assert made.counts_of(arm_of("synthetic")) == made.counts_of(arm_of("oversampled")) == {"df": 2, "vasc": 3}
    assert (
        made.counts_of(arm_of("real")) == made.counts_of(arm_of("real@2")) == made.counts_of(arm_of("balanced")) == {}
    )
    assert made.counts_of(arm_of("synthetic@2x")) == {"df": 6, "vasc": 4}
    assert made.counts_of(arm_of("synthetic@0.5x")) == {"df": 2, "vasc": 1}  # of 3 and 2 photographs
    assert prepared(fill_to=3).counts_of(arm_of("synthetic@2x")) == {"df": 0, "vasc": 4}


def test_a_dose_is_of_the_photographs_that_the_study_lets_classifiers_see(prepared):
    made = prepared(fill_to=5, split=dataclasses.replace(RARE, limit_real_to_shots=True))
    assert made.counts_of(arm_of("synthetic@10x")) == {"df": 20, "vasc": 20}


@pytest.mark.parametrize(
    ("arms", "counts"),
    [
        (("real", "synthetic"), {"df": 2, "vasc": 3}),
        (("real", "synthetic", "synthetic@2x"), {"df": 6, "vasc": 4}),
        (("real", "synthetic@0.5x"), {"df": 2, "vasc": 1}),
        (("real", "synthetic-only", "synthetic-first"), {"df": 2, "vasc": 3}),
        (("real", "gated"), {"df": 3, "vasc": 5}),  # half as many more, from which the gate chooses
        (("real", "random", "synthetic"), {"df": 3, "vasc": 5}),
        (("real", "gated", "synthetic@2x"), {"df": 6, "vasc": 5}),
        (("real", "real@2", "mixup", "classical", "balanced"), {}),
    ],
)
def test_as_many_images_are_generated_as_the_arm_that_needs_most_of_a_class(prepared, arms, counts):
    assert prepared(fill_to=5, arms=arms).synthetic_counts == counts


@pytest.mark.parametrize("arms", [("real", "synthetic"), ("real", "autoencoded"), ("real", "synthetic@0.5x")])
def test_photographs_are_coded_as_the_study_says_where_some_arm_uses_the_base(prepared, arms):
    for coding in ("mixed", "all", "none"):
        assert prepared(fill_to=5, arms=arms, coding=coding).coding == coding
        assert prepared(fill_to=5, arms=arms, coding=coding).needs_base


def test_photographs_are_not_coded_where_no_arm_uses_the_base(prepared):
    theirs = ExternalArm(folder="theirs", name="theirs")
    for changes in (
        {"arms": ("real", "oversampled", "mixup", "real@2", theirs)}, {"arms": ("real", "synthetic"), "fill_to": 1},
        {"arms": ("real", "autoencoded"), "fill_to": 1}, {"arms": ("real", "synthetic@2x"), "fill_to": 1},
    ):  # fmt: skip
        made = prepared(coding="mixed", **changes)
        assert made.coding == "none"
        assert not made.needs_base


def test_what_is_made_beside_the_data_set_is_counted_at_most(prepared):
    theirs = ExternalArm(folder="theirs", name="theirs")
    assert prepared(fill_to=5, arms=("real", "oversampled")).most_made == 0
    assert prepared(fill_to=5, arms=("real", theirs)).most_made == 5
    assert (
        prepared(fill_to=5, arms=("real", "synthetic", "synthetic@2x", theirs)).most_made == 10 + 5 + 57
    )  # all, coded


def test_the_stages_of_the_generator_share_the_study_s_settings(prepared, tmp_path):
    context = prepared(study_seeds=(3,), pixels=PixelConfig(size=32)).context
    assert (context.seed, context.pixels.size, context.cache) == (3, 32, tmp_path / "cache")
    assert context.prompts == StudyConfig().prompts


def images_of(manifest, contents=None, **changes):
    contents = contents or dict.fromkeys(manifest.table["image_id"], "bytes")
    done = {"stage": "read images", "what": "folders", "seconds": 2.4, "reused": False, "folder": None}
    return Images(**{**done, **changes}, manifest=manifest, contents=contents)


def test_what_was_read_is_said_in_words(prepared):
    images = prepared().images
    assert dataclasses.replace(images, reused=False, seconds=2.4).outcome == "57 images of 4 classes, 2 s"
    people = dataclasses.replace(images, reused=False, seconds=2.4, cache=Path("runs/cache"))
    kept = "decoded ones are kept in runs/cache, and `lesionloom clean` removes them"
    assert people.outcome == f"57 images of 4 classes, 2 s; {kept}"
    assert dataclasses.replace(images, reused=True).outcome == "57 images of 4 classes, kept from before"


def test_a_part_is_known_by_its_rows_and_bytes_wherever_they_lie(prepared, tmp_path):
    train = prepared().split.train
    images, df = images_of(train), train.of("df")
    known = images.identity_of(df)
    assert images_of(Manifest(train.table, {"r": tmp_path / "moved"})).identity_of(df) == known
    assert images.identity_of(train.of("vasc")) != known
    contents = dict(images.contents)
    assert images_of(train, {**contents, "train-nv-0": "other"}).identity_of(df) == known  # of another class
    assert images_of(train, {**contents, "train-df-0": "other"}).identity_of(df) != known
    relabelled = Manifest(df.table.assign(group_id="one"), df.roots)
    assert images.identity_of(relabelled) != known
