"""The doctor's look at images made elsewhere: by name, and only at those that a study would take."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.doctor.checks import Notes
from data.doctor.examination import examine
from data.doctor.external_checks import Photographs, check_arm
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.sources.external import FolderArm
from data.splits.split import Split

GEOMETRY = PixelConfig(size=32)
PARTS = ("train", "validation", "test", "left")


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(path)


def quiet(done, total, note=""):
    pass


@pytest.fixture
def ask(tmp_path):
    """Two photographs a part and one left out for the test part; gives the faults of the arm in `made`."""
    ids = [f"{part}-{i}" for part in PARTS for i in range(2)]
    for seed, name in enumerate(ids):
        picture(tmp_path / "real" / f"{name}.png", seed)
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": [f"{name}.png" for name in ids], "group_id": ids}
    table = pd.DataFrame({**columns, "label": ["df", "nv"] * 4}).assign(root="r", source="real")
    whole = Manifest(table, {"r": tmp_path / "real"})
    parts = [whole.where(table["image_id"].str.startswith(name)) for name in PARTS[:3]]
    split = Split(*parts, left_out=frozenset(ids[-2:]))
    _, _, pixels = examine(whole, GEOMETRY, quiet, pytest.fail)
    for seed in range(2):
        picture(tmp_path / "made" / "df" / f"{seed}.png", 100 + seed)
    arm = FolderArm(folder=str(tmp_path / "made"), name="theirs")

    def asked(n=2, seed=0):
        notes = Notes()
        photographs = Photographs(manifest=whole, pixels=pixels)
        check_arm(arm, photographs, split, {"df": n}, seed, GEOMETRY, quiet, notes)
        assert notes.remarks == []
        return [str(fault) for fault in notes.faults]

    return asked


def copied(tmp_path, name):
    with Image.open(tmp_path / "real" / name) as image:
        image.rotate(90).save(tmp_path / "made" / "df" / "1.png")


def test_images_of_a_generator_s_own_are_well(ask):
    assert ask() == []


@pytest.mark.parametrize(
    ("name", "part"), [("validation-0.png", "validation"), ("test-1.png", "test"), ("left-0.png", "left-out")]
)
def test_a_turned_copy_of_what_judges_is_a_fault_by_both_names(ask, tmp_path, name, part):
    copied(tmp_path, name)
    (fault,) = ask()
    assert fault.startswith(f"arm 'theirs': 1.png shows nearly the same as {name} of the {part} part; ")
    assert "make the images anew from the train part alone" in fault


def test_a_copy_of_a_training_image_is_none(ask, tmp_path):
    copied(tmp_path, "train-0.png")
    assert ask() == []


def test_an_image_of_a_format_that_starts_a_program_is_a_fault_and_starts_none(ask, tmp_path, eps):
    (tmp_path / "made" / "df" / "1.png").unlink()
    (tmp_path / "made" / "df" / "1.jpg").write_bytes(eps)
    refused, _ = ask()
    assert refused.startswith("1.jpg: not an image of a format that is read (JPEG, ")


def test_only_images_that_a_study_takes_are_compared(ask, tmp_path):
    copied(tmp_path, "test-0.png")
    assert len({tuple(ask(n=1, seed=seed)) for seed in range(8)}) == 2  # a fault where the copy is drawn, else none
    assert ask(n=0) == []


def test_too_few_and_broken_images_are_faults_with_their_mend(ask, tmp_path):
    (tmp_path / "made" / "df" / "1.png").write_bytes(b"no image")
    broken, few = ask()
    assert broken.startswith("1.png: ")
    assert "'df' needs 2 images, as many as the other arms add, but 1 are there; add some or lower fill_to" in few
