"""The embedded data set: drawn dermoscopy-like images in HAM10000's layout, with patients added.

Every image has its own seeds (class, number of the lesion in its class, number of the image), so it does not depend
on what else is drawn. A patient has lesions and a lesion has images. A few images are repeated, slightly changed,
under another lesion and patient: leaks that a split must find. A test part of other patients, with as many lesions of
each class, can be drawn beside them.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.config import Seed
from data.durable import make_folder, remove_unfinished, replacing, sync_all
from data.phantoms import ham10000
from data.phantoms.draw import draw
from data.phantoms.ham10000 import AGES, DX_TYPES, FEMALE, NO_AGE, SITE_WEIGHTS, SITES
from data.progress import Progress
from data.store import write_text

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "patient_id"]
PART = "part"  # a further column where a test part is drawn: "test" for its images, else empty

_FEWEST = 4  # images of a class
_SMALLEST = 16  # side of a photograph, pixels
_MOST_PHOTOS = 6  # of a lesion
_COPIES = 0.005  # near-duplicates, of all images
_FEWEST_COPIES = 4
_QUALITY = 92  # JPEG
_PLAN, _LESION, _PHOTO, _COPY, _TEST = range(5)  # what a seed is for
_TEST_LESIONS = 1_000_000  # lesions of the test part are numbered from here, so that none is drawn twice


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """The embedded data set."""

    images: int = 2500  # in all; classes in HAM10000's proportions, at least 4 each
    width: int = 160  # pixels
    height: int = 120
    seed: Seed = 0
    codes: tuple[str, ...] = CODES
    balanced: bool = False  # the same number of each code, for oracles and for pretraining
    test_lesions: int = 0  # of each code, drawn as the test part: other patients, one photograph each; 0: none

    def __post_init__(self) -> None:
        """Raises ValueError for unknown or repeated codes and for too few images or pixels."""
        unknown = [code for code in self.codes if code not in CODES]
        if unknown or not self.codes or len(set(self.codes)) < len(self.codes):
            raise ValueError(f"codes {self.codes} must be different ones of {', '.join(CODES)}")
        if self.images < _FEWEST * len(self.codes):
            raise ValueError(f"{self.images} images are too few; {len(self.codes)} codes need {_FEWEST} each")
        if min(self.width, self.height) < _SMALLEST:
            raise ValueError(f"{self.width} x {self.height} pixels are too few; use {_SMALLEST} or more a side")
        if self.test_lesions < 0:
            raise ValueError(f"test_lesions is {self.test_lesions}; a test part has 0 (none) or more of each code")


def draw_table(config: PhantomConfig) -> pd.DataFrame:
    """HAM10000's columns and patient_id, one row per image, in the order of image_id; draws nothing."""
    return _plan(config)[_columns(config)]


def write_phantoms(folder: Path, config: PhantomConfig, *, progress: Progress | None = None) -> Path:
    """Draw images/<image_id>.jpg and, when all are there, metadata.csv, whose path comes back."""
    table = folder / "metadata.csv"
    table.unlink(missing_ok=True)
    make_folder(folder / "images")
    remove_unfinished(folder)
    plan = _plan(config)
    rows = zip(plan.image_id, plan.dx, plan.lesion, plan.photo, plan.copy_of_another, strict=True)
    for done, (image_id, dx, lesion, photo, copy) in enumerate(rows, start=1):
        image = _photograph(config, dx, lesion, photo, copy=copy)
        _write(folder / "images" / f"{image_id}.jpg", _jpeg(image))
        if progress is not None:
            progress(done, len(plan))
    sync_all(folder)
    write_text(table, plan[_columns(config)].to_csv(index=False, lineterminator="\n"))
    return table


def _plan(config: PhantomConfig) -> pd.DataFrame:
    """The table with the columns that images are drawn from: lesion and photo number, and whether it is a copy."""
    rng = _rng(config.seed, _PLAN)
    counts = _counts(config)
    photos = [_photos(dx, counts[dx], rng) for dx in config.codes]
    plan = _with_copies(pd.concat(photos, ignore_index=True), rng)
    plan = _with_patients(plan, rng)
    plan = plan.iloc[rng.permutation(len(plan))].reset_index(drop=True)
    if config.test_lesions:
        plan = pd.concat([plan.assign(part=""), _test_part(config, plan)], ignore_index=True)
    plan["image_id"] = [f"PHM_{number:07d}" for number in range(len(plan))]
    return plan


def _columns(config: PhantomConfig) -> list[str]:
    return [*COLUMNS, PART] if config.test_lesions else COLUMNS


def _test_part(config: PhantomConfig, others: pd.DataFrame) -> pd.DataFrame:
    """Rows of the test part: lesions and patients that are numbered after those of the other rows."""
    rng, n = _rng(config.seed, _TEST), config.test_lesions
    numbers = np.arange(_TEST_LESIONS, _TEST_LESIONS + n)
    rows = pd.concat([pd.DataFrame({"dx": dx, "lesion": numbers, "photo": 0}) for dx in config.codes])
    rows = rows.assign(copy_of_another=False, part="test")
    rows["key"] = rows.dx + "/" + rows.lesion.astype(str)
    after = {name: 1 + int(others[name].str[4:].astype(int).max()) for name in ("lesion_id", "patient_id")}
    return _with_patients(rows.reset_index(drop=True), rng, after["lesion_id"], after["patient_id"])


def _counts(config: PhantomConfig) -> dict[str, int]:
    """Images of each class, with config.images in sum; the rarest are raised to the minimum first."""
    weights = {dx: 1 if config.balanced else ham10000.IMAGES[dx] for dx in config.codes}
    left, counts = config.images, dict.fromkeys(config.codes, 0)
    open_codes = sorted(config.codes, key=lambda dx: weights[dx])
    for place, dx in enumerate(open_codes):
        share = left * weights[dx] / sum(weights[other] for other in open_codes[place:])
        counts[dx] = max(_FEWEST, round(share))
        left -= counts[dx]
    return counts


def _photos(dx: str, images: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row per image: as many images per lesion as in HAM10000, most lesions with one."""
    lesions = max(2, round(images * ham10000.LESIONS[dx] / ham10000.IMAGES[dx]))
    taken = np.ones(lesions, int)
    for _ in range(images - lesions):
        taken[rng.choice(np.flatnonzero(taken < _MOST_PHOTOS))] += 1
    lesion = np.repeat(np.arange(lesions), taken)
    photo = np.concatenate([np.arange(count) for count in taken])
    return pd.DataFrame({"dx": dx, "lesion": lesion, "photo": photo, "copy_of_another": False})


def _with_copies(plan: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Turn a few lesions with one image into near-duplicates of another lesion's image."""
    wanted = max(_FEWEST_COPIES, round(_COPIES * len(plan)))
    plan["key"] = plan.dx + "/" + plan.lesion.astype(str)
    single = plan.index[~plan.key.duplicated(keep=False)].to_numpy()
    copies = rng.permutation(single)[: min(wanted, len(single) // 4)]
    for row in copies:
        others = plan.index[(plan.dx == plan.dx[row]) & ~plan.index.isin(copies)].to_numpy()
        plan.loc[row, ["lesion", "photo", "copy_of_another"]] = [
            *plan.loc[rng.choice(others), ["lesion", "photo"]],
            True,
        ]
    return plan.astype({"lesion": int, "photo": int, "copy_of_another": bool})


def _with_patients(plan: pd.DataFrame, rng: np.random.Generator, lesion: int = 0, patient: int = 0) -> pd.DataFrame:
    """Assign lesions to patients, mostly one each, and draw the columns of both; ids are numbered from these."""
    lesions = plan.drop_duplicates("key")[["key", "dx"]].reset_index(drop=True)
    lesions = lesions.iloc[rng.permutation(len(lesions))].reset_index(drop=True)
    sizes = rng.choice([1, 2, 3, 4], len(lesions), p=[0.78, 0.15, 0.05, 0.02])
    lesions["patient"] = np.repeat(np.arange(len(lesions)), sizes)[: len(lesions)]
    lesions["lesion_id"] = [f"PHL_{number:07d}" for number in range(lesion, lesion + len(lesions))]
    lesions["patient_id"] = [f"PHP_{patient + number:07d}" for number in lesions.patient]
    lesions["dx_type"] = [rng.choice(list(DX_TYPES[dx]), p=list(DX_TYPES[dx].values())) for dx in lesions.dx]
    lesions["localization"] = [_site(dx, rng) for dx in lesions.dx]
    people = lesions.drop_duplicates("patient")[["patient", "dx"]]
    people = people.assign(
        age=[_age(dx, rng) for dx in people.dx],
        sex=["female" if rng.random() < FEMALE[dx] else "male" for dx in people.dx],
    )
    lesions = lesions.merge(people.drop(columns="dx"), on="patient")
    return plan.merge(lesions.drop(columns="dx"), on="key")


def _site(dx: str, rng: np.random.Generator) -> str:
    weights = np.array(SITE_WEIGHTS[dx], float)
    return str(rng.choice(SITES, p=weights / weights.sum()))


def _age(dx: str, rng: np.random.Generator) -> float:
    """Years in steps of five, as in HAM10000; NaN if unknown."""
    age = float(np.clip(5 * round(rng.normal(*AGES[dx]) / 5), 5, 85))
    return float("nan") if rng.random() < NO_AGE else age


def _photograph(config: PhantomConfig, dx: str, lesion: int, photo: int, *, copy: bool) -> NDArray[np.uint8]:
    code = CODES.index(dx)
    image = draw(
        dx,
        _rng(config.seed, _LESION, code, lesion),
        _rng(config.seed, _PHOTO, code, lesion, photo),
        config.width,
        config.height,
    )
    return _almost(image, _rng(config.seed, _COPY, code, lesion, photo)) if copy else image


def _almost(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image encoded once more, a pixel or two cut off its edges, slightly brighter or darker."""
    height, width = image.shape[:2]
    top, bottom, left, right = rng.integers(0, max(1, round(height / 80)) + 1, 4)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    again = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    cut = cv2.resize(again[top : height - bottom, left : width - right], (width, height))
    bright = cut.astype(np.float32) * np.float32(1 + rng.choice([-1, 1]) * rng.uniform(0.01, 0.04))
    rounded: NDArray[np.uint8] = np.round(np.clip(bright, 0, 255)).astype(np.uint8)
    return rounded


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    full_colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *full_colour])
    return coded.tobytes()


def _write(path: Path, content: bytes) -> None:
    with replacing(path, on_disk=False) as temporary:
        temporary.write_bytes(content)
