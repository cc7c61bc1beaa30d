"""What a study's steps are planned from: the images, who may see which of them, and how many are to be added."""

import dataclasses

import pytest

from data.manifest import Manifest
from data.pixels import PixelConfig
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
