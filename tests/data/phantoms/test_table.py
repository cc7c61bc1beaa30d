"""The embedded data set: its table, its bytes, and what its pictures must show."""

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from data.phantoms.ham10000 import IMAGES, LESIONS
from data.phantoms.table import (
    CODES,
    PhantomConfig,
    draw,
    draw_table,
    write_phantoms,
)

HAM10000_COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
SMALL = PhantomConfig(images=60, width=64, height=48)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_table(PhantomConfig())


def photograph(dx: str, lesion: int, photo: int, *, width: int = 160, height: int = 120) -> NDArray[np.uint8]:
    return draw(dx, np.random.default_rng([1, lesion]), np.random.default_rng([2, photo]), width, height)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> NDArray[np.float32]:
    image = cv2.imread(str(path))
    assert image is not None
    return image.astype(np.float32)


# The table


def test_the_columns_are_those_of_ham10000_and_the_patient(table: pd.DataFrame) -> None:
    assert list(table.columns) == [*HAM10000_COLUMNS, "patient_id"]


def test_the_classes_stand_in_the_proportions_of_ham10000(table: pd.DataFrame) -> None:
    whole = sum(IMAGES.values())
    assert len(table) == 2500
    for dx, count in table.dx.value_counts().items():
        assert count == pytest.approx(2500 * IMAGES[str(dx)] / whole, abs=1)


def test_lesions_have_as_many_photographs_as_in_ham10000(table: pd.DataFrame) -> None:
    for dx, rows in table.groupby("dx"):
        expected = IMAGES[str(dx)] / LESIONS[str(dx)]
        assert len(rows) / rows.lesion_id.nunique() == pytest.approx(expected, rel=0.05)
    assert table.lesion_id.value_counts().max() > 2


def test_a_lesion_has_one_diagnosis_one_patient_and_one_site(table: pd.DataFrame) -> None:
    apiece = table.groupby("lesion_id")[["dx", "dx_type", "patient_id", "localization"]].nunique()
    assert (apiece == 1).all(axis=None)


def test_some_patients_have_several_lesions_and_each_one_age_and_sex(table: pd.DataFrame) -> None:
    lesions = table.groupby("patient_id").lesion_id.nunique()
    assert set(lesions) == {1, 2, 3, 4}
    assert table.groupby("patient_id")[["age", "sex"]].nunique(dropna=False).eq(1).all(axis=None)


def test_the_words_are_those_of_ham10000(table: pd.DataFrame) -> None:
    assert set(table.dx) == set(CODES)
    assert set(table.dx_type) <= {"histo", "follow_up", "consensus", "confocal"}
    assert set(table.sex) <= {"male", "female", "unknown"}
    assert {"back", "lower extremity", "face"} <= set(table.localization)
    assert set(table[table.dx.isin(["mel", "bcc", "akiec"])].dx_type) == {"histo"}


def test_a_few_ages_are_missing_and_keratoses_are_older_than_nevi(table: pd.DataFrame) -> None:
    assert 0 < table.age.isna().sum() < 50
    assert table.age.dropna().between(0, 85).all()
    means = table.groupby("dx").age.mean()
    assert means["akiec"] > means["nv"] + 10


def test_ids_are_unique_and_say_nothing_of_the_class(table: pd.DataFrame) -> None:
    assert table.image_id.is_unique
    assert table.image_id.is_monotonic_increasing
    first, last = table.dx[:1250] == "nv", table.dx[1250:] == "nv"
    assert abs(first.mean() - last.mean()) < 0.06


@pytest.mark.parametrize("images", [28, 29, 100, 333])
def test_every_class_is_there_and_the_counts_sum_up(images: int) -> None:
    drawn = draw_table(PhantomConfig(images=images)).dx.value_counts()
    assert drawn.sum() == images
    assert set(drawn.index) == set(CODES)
    assert drawn.min() >= 4


def test_a_balanced_table_has_the_same_number_of_each_code() -> None:
    drawn = draw_table(PhantomConfig(images=300, codes=("df", "nv", "vasc"), balanced=True)).dx.value_counts()
    assert drawn.to_dict() == {"df": 100, "nv": 100, "vasc": 100}


def test_another_seed_gives_another_table(table: pd.DataFrame) -> None:
    assert draw_table(PhantomConfig()).equals(table)
    assert not draw_table(PhantomConfig(seed=1)).equals(table)


TESTED = PhantomConfig(test_lesions=9)


@pytest.fixture(scope="module")
def tested() -> pd.DataFrame:
    return draw_table(TESTED)


def test_a_test_part_leaves_every_other_row_as_it_is(table: pd.DataFrame, tested: pd.DataFrame) -> None:
    others = tested[tested.part == ""]
    pd.testing.assert_frame_equal(others[table.columns], table)
    assert list(tested.columns) == [*table.columns, "part"]
    assert (tested.part.iloc[len(table) :] == "test").all()


def test_the_test_part_has_as_many_lesions_of_each_code_with_one_photograph_each(tested: pd.DataFrame) -> None:
    part = tested[tested.part == "test"]
    assert part.dx.value_counts().to_dict() == dict.fromkeys(CODES, 9)
    assert part.lesion_id.is_unique
    assert tested.image_id.is_unique
    assert len(part) == 9 * len(CODES)


def test_the_test_part_shares_no_lesion_and_no_patient_with_the_others(tested: pd.DataFrame) -> None:
    part, others = tested[tested.part == "test"], tested[tested.part == ""]
    for column in ("lesion_id", "patient_id"):
        assert not set(part[column]) & set(others[column])
    assert part.groupby("patient_id")[["age", "sex"]].nunique(dropna=False).eq(1).all(axis=None)
    assert part.lesion_id.str.fullmatch(r"PHL_\d{7}").all()


def test_the_test_part_follows_the_seed(tested: pd.DataFrame) -> None:
    assert draw_table(TESTED).equals(tested)
    columns = ["dx", "age", "sex", "localization"]
    other = draw_table(replace(TESTED, seed=1))
    assert not other[other.part == "test"][columns].equals(tested[tested.part == "test"][columns])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"test_lesions": -1}, "test_lesions is -1"),
        ({"codes": ("nv", "wart")}, "wart"),
        ({"codes": ("nv", "nv")}, "different"),
        ({"codes": ()}, "different"),
        ({"images": 10}, "10 images are too few"),
        ({"width": 8}, "8 x 120"),
    ],
)
def test_a_config_that_cannot_be_drawn_says_why(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PhantomConfig(), **config)  # type: ignore[arg-type]


# The pictures


def test_a_photograph_is_rgb_of_the_size_asked_for() -> None:
    for width, height in [(160, 120), (64, 48), (100, 100), (320, 240)]:
        image = photograph("mel", 0, 0, width=width, height=height)
        assert image.shape == (height, width, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous


def test_an_unknown_diagnosis_is_refused() -> None:
    with pytest.raises(ValueError, match="wart"):
        photograph("wart", 0, 0)


@pytest.mark.parametrize("dx", CODES)
def test_the_same_generators_draw_the_same_picture(dx: str) -> None:
    assert np.array_equal(photograph(dx, 3, 4), photograph(dx, 3, 4))
    assert not np.array_equal(photograph(dx, 3, 4), photograph(dx, 3, 5))
    assert not np.array_equal(photograph(dx, 3, 4), photograph(dx, 4, 4))


def test_skin_is_pinkish_and_the_lesion_stands_out_in_the_middle() -> None:
    corners, middles = [], []
    for dx in CODES:
        for number in range(8):
            image = photograph(dx, number, number).astype(float)
            bare = np.median(image[:, :20].reshape(-1, 3), axis=0)
            if bare.mean() > 60:  # no black rim
                corners.append(bare)
                middles.append(np.median(image[45:75, 65:95].reshape(-1, 3), axis=0))
    red, green, blue = np.mean(corners, axis=0)
    assert red > green > blue > 90
    assert np.abs(np.array(corners) - np.array(middles)).max(axis=1).mean() > 25


def test_classes_have_the_colours_of_their_names() -> None:
    def middle(dx: str) -> NDArray[np.float64]:
        drawn = [photograph(dx, number, number)[40:80, 60:100].reshape(-1, 3).mean(axis=0) for number in range(24)]
        return np.mean(drawn, axis=0)  # type: ignore[no-any-return]

    colour = {dx: middle(dx) for dx in CODES}
    redness = {dx: rgb[0] / rgb[1] for dx, rgb in colour.items()}
    yellowness = {dx: rgb[1] / rgb[2] for dx, rgb in colour.items()}
    assert max(redness, key=redness.__getitem__) == "vasc"
    assert yellowness["vasc"] == min(yellowness.values())
    assert min(yellowness["bkl"], yellowness["nv"]) > max(yellowness["bcc"], yellowness["akiec"])
    assert colour["mel"].mean() < colour["df"].mean()


def test_photographs_of_one_lesion_are_closer_than_those_of_others() -> None:
    def colours(lesion: int, photo: int) -> NDArray[np.float32]:
        lab = cv2.cvtColor(photograph("nv", lesion, photo), cv2.COLOR_RGB2LAB)[20:100, 40:120]
        counts = [np.histogram(lab[..., channel], bins=24, range=(0, 256))[0] for channel in range(3)]
        return np.concatenate(counts).astype(np.float32)

    first = [colours(lesion, lesion) for lesion in range(12)]
    second = [colours(lesion, 100 + lesion) for lesion in range(12)]
    distances = np.abs(np.array(first)[:, None] - np.array(second)).sum(axis=-1)
    own, others = np.diag(distances), distances[~np.eye(12, dtype=bool)]
    assert np.median(own) < 0.8 * np.median(others)


# The folder


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_phantoms(tmp_path / name, SMALL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_writes_other_bytes(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "one", SMALL)
    write_phantoms(tmp_path / "two", replace(SMALL, seed=1))
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())


def test_a_lesion_is_the_same_in_a_table_of_other_codes(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "all", SMALL)
    write_phantoms(tmp_path / "some", replace(SMALL, images=12, codes=("df", "vasc"), balanced=True))
    everything = set(digests(tmp_path / "all").values())
    assert len(everything & set(digests(tmp_path / "some").values())) >= 3


def test_the_folder_holds_every_image_and_the_table_of_draw_table(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = write_phantoms(tmp_path, SMALL, progress=lambda done, total, note="": calls.append((done, total)))
    assert path == tmp_path / "metadata.csv"
    read = pd.read_csv(path)
    pd.testing.assert_frame_equal(read, draw_table(SMALL), check_dtype=False)
    assert {file.stem for file in (tmp_path / "images").iterdir()} == set(read.image_id)
    assert all(file.suffix == ".jpg" for file in (tmp_path / "images").iterdir())
    assert calls == [(done, 60) for done in range(1, 61)]


def test_a_crash_leaves_no_table(tmp_path: Path) -> None:
    write_phantoms(tmp_path, SMALL)

    def crash(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path, SMALL, progress=crash)
    assert not (tmp_path / "metadata.csv").exists()


def test_near_duplicates_stand_under_other_lesions_and_patients(tmp_path: Path) -> None:
    config = PhantomConfig(images=200, width=80, height=60, seed=5)
    rows = pd.read_csv(write_phantoms(tmp_path, config))
    small = np.array(
        [cv2.resize(pixels(tmp_path / "images" / f"{name}.jpg"), (20, 15), interpolation=cv2.INTER_AREA).ravel()
         for name in rows.image_id]
    )  # fmt: skip
    pairs = np.argwhere(np.triu(np.corrcoef(small) > 0.985, 1))
    across = [(a, b) for a, b in pairs if rows.lesion_id[a] != rows.lesion_id[b]]
    assert len(across) >= 4
    assert all(rows.dx[a] == rows.dx[b] for a, b in across)
    assert all(rows.patient_id[a] != rows.patient_id[b] for a, b in across)


def test_the_photographs_of_the_test_part_are_others_and_the_rest_keep_their_bytes(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "without", SMALL)
    with_part = replace(SMALL, test_lesions=2)
    table = pd.read_csv(write_phantoms(tmp_path / "with", with_part), keep_default_na=False)
    without, drawn = digests(tmp_path / "without/images"), digests(tmp_path / "with/images")
    assert {name: drawn[name] for name in without} == without
    held = {f"{image}.jpg" for image in table.image_id[table.part == "test"]}
    assert drawn.keys() - without.keys() == held
    assert len({drawn[name] for name in held} - set(without.values())) == len(held) == 2 * len(CODES)
