import os
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.manifest import COLUMNS, Manifest
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.splits.duplicates import Links, leakage_groups, near_duplicates, perceptual_hashes

HAM10000 = Path(os.environ.get("HAM10000", "../shared/ham10000"))
CONFIG = PixelConfig(size=64)


def photograph(seed, size=96):
    """A dark blob on skin, its texture its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    blob = 1 / (1 + np.exp(30 * (np.hypot(rows * rng.uniform(0.9, 1.4), columns) - rng.uniform(0.2, 0.3))))
    texture = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 1.5) * 40
    gray = 190 - 90 * blob + texture * (0.4 + blob)
    return np.clip(gray[..., None] * [1.0, 0.8, 0.7], 0, 255).astype(np.uint8)


def at_64(image):
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


def coded_again(image, quality=60):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def manifest_of(lesions, patients=None, groups=None):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, ""), index=range(len(lesions)))
    table["image_id"] = [f"image-{row:03d}" for row in range(len(lesions))]
    table["path"], table["label"], table["root"], table["source"] = table["image_id"], "nv", "images", "real"
    table["lesion_id"], table["patient_id"] = lesions, patients or ""
    table["group_id"] = groups or table["image_id"]
    return Manifest(table, {"images": Path()})


@pytest.mark.parametrize(
    "again",
    [
        coded_again,
        lambda image: image[2:-1, 1:-2],
        lambda image: image[4:-4, 4:-4],
        lambda image: np.clip(image * 1.15, 0, 255).astype(np.uint8),
        lambda image: (image * 0.85).astype(np.uint8),
        lambda image: np.roll(image, (3, -3), axis=(0, 1)),
        lambda image: cv2.GaussianBlur(image, (0, 0), 0.7),
        lambda image: coded_again(np.rot90(image)[2:, 1:]),
    ],
    ids=["coded", "cut", "zoomed", "brighter", "darker", "shifted", "softer", "turned-cut-coded"],
)
def test_a_photograph_hardly_changed_is_found(again):
    images = [photograph(seed) for seed in range(12)]
    pixels = np.stack([at_64(image) for image in [*images, again(images[5])]])
    assert near_duplicates(pixels).tolist() == [[5, 12]]


@pytest.mark.parametrize("turn", range(8))
def test_turns_and_flips_are_found(turn):
    images = [at_64(photograph(seed)) for seed in range(6)]
    turned = np.rot90(images[2], turn % 4)
    pixels = np.stack([*images, turned if turn < 4 else turned[:, ::-1]])
    assert near_duplicates(pixels).tolist() == [[2, 6]]


def test_look_alikes_of_one_outline_and_colour_are_not_joined():
    rows, columns = np.mgrid[:96, :96] / 96 - 0.5
    outline = 90 / (1 + np.exp(30 * (np.hypot(rows, columns) - 0.25)))
    alike = [photograph(seed) * 0.3 + (190 - outline)[..., None] * [0.7, 0.55, 0.5] for seed in range(20)]
    pixels = np.stack([at_64(image.astype(np.uint8)) for image in alike])
    one, other = pixels[0].astype(float), pixels[1].astype(float)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95, "they must look alike for this to be a test"
    assert len(near_duplicates(pixels)) == 0


def test_plain_images_are_nobodys_duplicates():
    plain = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (0, 0, 80, 255)])
    assert len(near_duplicates(plain)) == 0
    assert near_duplicates(plain[:0]).shape == (0, 2)


def test_pixels_too_small_to_tell_are_refused():
    with pytest.raises(ValueError, match="pixels are 32 a side"):
        near_duplicates(np.zeros((2, 32, 32, 3), np.uint8))


def test_progress_is_counted_in_images_and_ends_with_all():
    calls = []
    near_duplicates(
        np.stack([at_64(photograph(seed)) for seed in range(5)]), None, lambda *so_far: calls.append(so_far)
    )
    assert calls == sorted(calls)
    assert calls[-1] == (5, 5)


def test_the_hash_has_the_bits_of_imagehash_in_every_turn():
    gray = np.stack([cv2.cvtColor(photograph(seed), cv2.COLOR_RGB2GRAY) for seed in range(5)])
    hashes = perceptual_hashes(gray)
    for image, ours in zip(gray, hashes.T, strict=True):
        small = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS))
        for turn in range(8):
            turned = np.rot90(small, turn % 4) if turn < 4 else np.rot90(small, turn % 4)[:, ::-1]
            theirs = imagehash.phash(Image.fromarray(np.ascontiguousarray(turned))).hash
            assert np.packbits(theirs).view(np.uint64)[0] == ours[turn]


def test_pairs_within_a_group_are_not_compared():
    image = at_64(photograph(0))
    pixels = np.stack([image, image, image])
    assert near_duplicates(pixels, np.array([7, 7, 8])).tolist() == [[0, 2], [1, 2]]


def test_lesion_patient_group_and_duplicate_join_and_are_counted_in_that_order():
    images = [at_64(photograph(seed)) for seed in range(9)]
    images[8] = images[0]
    lesions = ["a", "a", "b", "c", "", "", "", "", "h"]
    patients = ["", "p", "p", "", "q", "q", "", "", ""]
    groups = [*"01234", "5", "same", "same", "8"]
    grouped, links = leakage_groups(manifest_of(lesions, patients, groups), np.stack(images))
    assert links == Links(lesion=1, patient=2, group=1, duplicate=1)
    ids = grouped.table["group_id"].str[-1].astype(int).tolist()
    assert ids == [0, 0, 0, 3, 4, 4, 6, 6, 0]


def test_an_unknown_lesion_or_patient_joins_nothing():
    pixels = np.stack([at_64(photograph(seed)) for seed in range(4)])
    grouped, links = leakage_groups(manifest_of(["", "", "", ""]), pixels)
    assert links == Links(lesion=0, patient=0, group=0, duplicate=0)
    assert grouped.table["group_id"].is_unique


def test_a_duplicate_within_a_lesion_joins_nothing_more():
    image = at_64(photograph(0))
    _, links = leakage_groups(manifest_of(["a", "a"]), np.stack([image, image]))
    assert links == Links(lesion=1, patient=0, group=0, duplicate=0)


IDS = st.lists(st.tuples(*[st.sampled_from(["", "1", "2", "3", "4"])] * 2), min_size=1, max_size=25)


@given(ids=IDS)
@settings(deadline=None, max_examples=60)
def test_groups_are_the_connected_components_of_any_table(ids):
    lesions, patients = ([pair[side] for pair in ids] for side in (0, 1))
    grouped, links = leakage_groups(manifest_of(lesions, patients), np.zeros((len(ids), 64, 64, 3), np.uint8))
    groups = grouped.table["group_id"].tolist()
    reached = [{row} for row in range(len(ids))]
    for _ in ids:  # as many rounds as the longest chain
        reached = [{b for a in seen for b in range(len(ids)) if b == a or _share(ids[a], ids[b])} for seen in reached]
    assert [[groups[row] == other for other in groups] for row in range(len(ids))] == [
        [other in seen for other in range(len(ids))] for seen in reached
    ]
    assert len(ids) - links.lesion - links.patient - links.duplicate == len(set(groups))
    assert len(set(groups)) == len({min(seen) for seen in reached})


def _share(one, other):
    return any(a == b != "" for a, b in zip(one, other, strict=True))


def test_groups_have_the_same_names_in_any_order_of_rows():
    manifest = manifest_of(["a", "b", "a", "c", "b"])
    pixels = np.stack([at_64(photograph(seed)) for seed in range(5)])
    order = [3, 1, 4, 0, 2]
    shuffled = Manifest(manifest.table.iloc[order].reset_index(drop=True), manifest.roots)
    straight, turned = (
        leakage_groups(m, p)[0].table.set_index("image_id")["group_id"].sort_index()
        for m, p in ((manifest, pixels), (shuffled, pixels[order]))
    )
    assert straight.equals(turned)


def test_planted_near_duplicates_of_the_phantoms_are_all_found_and_nothing_else(tmp_path):
    from data.phantoms.table import _plan

    config = PhantomConfig(images=400, seed=3)
    manifest = load_manifest(DataConfig(phantom=config), tmp_path)
    pixels = load_pixels(manifest, CONFIG)
    plan = _plan(config).set_index("image_id").loc[manifest.table["image_id"]].reset_index()
    photographs = plan.groupby(["dx", "lesion", "photo"]).groups.values()
    planted = {tuple(rows) for rows in photographs if len(rows) == 2}
    assert len(planted) >= 4
    lesions = pd.factorize(plan["lesion_id"])[0]
    found = {tuple(pair) for pair in near_duplicates(pixels, lesions).tolist()}
    same_lesion = {pair for pair in found if plan["lesion"][pair[0]] == plan["lesion"][pair[1]]}
    assert planted <= found, "recall"
    assert found == same_lesion, "precision: no pair of truly different lesions"


@pytest.mark.slow
@pytest.mark.skipif(not HAM10000.is_dir(), reason="HAM10000 is not here; name its folder in $HAM10000")
def test_ham10000_groups(tmp_path):
    manifest = load_manifest(DataConfig(source="ham10000", folder=str(HAM10000)), tmp_path)
    some = manifest.where(manifest.table["label"].isin(["bkl", "vasc"]))
    _, links = leakage_groups(some, load_pixels(some, PixelConfig(size=96)))
    assert links.lesion == 1099 + 142 - 727 - 98
    assert links.patient == links.group == 0
    assert 1 <= links.duplicate <= 3, "ISIC_0027027 and ISIC_0029036 are one photograph under two lesions"


def test_where_only_the_first_rows_are_asked_about_their_pairs_are_those_of_all():
    pixels = np.stack([at_64(photograph(seed)) for seed in (0, 1, 2, 3, 1, 2, 3, 3)])
    whole = near_duplicates(pixels).tolist()
    assert whole == [[1, 4], [2, 5], [3, 6], [3, 7], [6, 7]]
    assert near_duplicates(pixels, first=3).tolist() == [[1, 4], [2, 5]]
    assert near_duplicates(pixels, first=99).tolist() == whole
