"""Images are read and divided once, and what a study cannot begin with is said before any image is read."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from augment.base.config import BaseConfig
from data.errors import ConfigError, DataError, InputError
from data.store import file_sha256
from flows import prepare as module
from flows.prepare import prepare, prepare_repeats, read_images
from flows.study import StudyConfig


def quiet(done, total, note=""):
    """Show no progress."""


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of noise of each of three classes, in a folder a class."""
    rng = np.random.default_rng(0)
    for label in ("df", "mel", "nv"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(12):
            noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def study(folder, tmp_path):
    classifier = dataclasses.replace(StudyConfig().classifier, model="test_efficientnet")
    data = {"source": "folders", "folder": str(folder)}
    return StudyConfig(data=data, split={"rare": ("df",)}, classifier=classifier, output_dir=str(tmp_path / "runs"))


def test_images_are_read_and_divided_and_another_run_finds_them_divided(study, plain_runner):
    first, again = (prepare(study, plain_runner) for _ in range(2))
    assert plain_runner.stages == ["read images", "split"] * 2
    assert (first.split_result.reused, again.split_result.reused) == (False, True)
    parts = first.split.parts()
    assert sum(map(len, parts.values())) == len(first.images.manifest) == 36
    for name, part in again.split.parts().items():
        assert part.digest() == parts[name].digest()
    other = prepare(dataclasses.replace(study, study_seeds=(1,)), plain_runner)
    assert not other.split_result.reused
    assert other.split.test.digest() != first.split.test.digest()


def test_the_images_are_read_once_and_divided_for_each_study_seed(study, plain_runner):
    first, second = prepare_repeats(dataclasses.replace(study, study_seeds=(0, 1)), plain_runner)
    assert plain_runner.stages == ["read images", "split", "split"]
    assert first.images is second.images
    assert first.split.test.digest() != second.split.test.digest()
    assert [each.study.title for each in (first, second)] == ["seed 0", "seed 1"]
    alone = prepare(dataclasses.replace(study, study_seeds=(1,)), plain_runner)
    assert alone.split_result.reused
    assert alone.split.test.digest() == second.split.test.digest()


def test_the_bytes_of_a_classifier_are_those_of_its_weights_in_32_bits(study, plain_runner):
    from timm import create_model

    network = create_model("test_efficientnet", num_classes=2)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert prepare(study, plain_runner).classifier_bytes == weights


def test_a_base_that_lies_nowhere_is_refused_before_images_are_read_unless_no_arm_uses_it(study, plain_runner):
    study = dataclasses.replace(study, base=BaseConfig(source="/nowhere"))
    for arms in (("real", "synthetic"), ("real", "autoencoded")):
        with pytest.raises(InputError, match="/nowhere: no such file or folder"):
            prepare(dataclasses.replace(study, arms=arms), plain_runner)
    assert plain_runner.stages == []
    prepare(dataclasses.replace(study, arms=("real", "oversampled")), plain_runner)


def test_a_class_that_is_named_and_not_there_is_refused_before_images_are_divided(study, plain_runner):
    prompts = dataclasses.replace(study.prompts, class_names={"vasc": "angioma"})
    with pytest.raises(ConfigError, match=r"the data set has no class 'vasc'; it has df, mel, nv"):
        prepare(dataclasses.replace(study, prompts=prompts), plain_runner)
    assert plain_runner.stages == ["read images"]
    generate = dataclasses.replace(study.generate, negative_prompts={"vasc": "hair"})
    with pytest.raises(ConfigError, match=r"generate\.negative_prompts: the data set has no class 'vasc'; it has df"):
        prepare(dataclasses.replace(study, generate=generate), plain_runner)


@pytest.mark.parametrize(("named", "hint"), [("mell", "did you mean 'mel'"), ("vasc", "the images have df, mel, nv")])
def test_a_malignant_class_that_no_image_has_is_refused_before_images_are_divided(study, plain_runner, named, hint):
    with pytest.raises(ConfigError, match=rf"malignant names the class '{named}', which no image has; {hint}"):
        prepare(dataclasses.replace(study, malignant=("mel", named)), plain_runner)
    assert plain_runner.stages == ["read images"]
    prepare(dataclasses.replace(study, malignant=("mel",)), plain_runner)


def test_the_first_weights_are_held_against_the_split_once_images_are_divided(study, plain_runner, monkeypatch):
    split = prepare(study, plain_runner).split
    asked = []
    monkeypatch.setattr(module, "refuse_weights", lambda *given: asked.append(given))
    prepare(study, plain_runner)
    ((source, parts),) = asked
    assert source == study.classifier.weights
    assert parts.test.digest() == split.test.digest()


def test_the_images_of_a_folder_have_the_digests_of_their_files(study, folder):
    images = read_images(study, quiet)
    assert images.contents == {f"{path.parent.name}/{path.stem}": file_sha256(path) for path in folder.glob("*/*.png")}
    assert (study.cache / "contents.json").is_file()


def test_images_in_a_folder_are_not_said_to_be_kept_and_phantoms_are_once_they_are_drawn(study, tmp_path):
    there = [read_images(study, quiet) for _ in range(2)]
    words = f"36 images of 3 classes, 0 s; decoded ones are kept in {study.cache}, and `lesionloom clean` removes them"
    assert [re.sub(r"\d+ s", "0 s", images.outcome, count=1) for images in there] == [words] * 2
    phantoms = StudyConfig(output_dir=str(tmp_path), data={"phantom": {"images": 28, "balanced": True, "width": 64}})
    first, again = (read_images(phantoms, quiet).outcome for _ in range(2))
    assert "28 images of 7 classes, " in first
    assert "kept" not in first
    assert again == "28 images of 7 classes, kept from before"


def test_an_image_that_cannot_be_read_is_named(study, monkeypatch):
    def locked(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("data.manifest.sha256_of", locked)
    with pytest.raises(DataError, match=r"\.png: cannot be read \(Permission denied\); restore it, or its rights"):
        read_images(study, quiet)
