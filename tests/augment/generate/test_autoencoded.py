"""Real images as the autoencoder gives them back: each once, under its own leakage group, with what was lost."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from augment.base.autoencoder import psnr
from augment.base.load import load_base
from augment.base.provenance import BaseRecord
from augment.device import default_device
from augment.generate import autoencoded as module
from augment.generate.autoencoded import autoencode, autoencoded_image_bytes, autoencoded_manifest, psnr_of, recoded
from augment.generate.config import GenerateConfig
from data import coding
from data.coding import reconstruct
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.splits.provenance import Provenance
from data.store import read_json

pytestmark = pytest.mark.numerical

PIXELS = PixelConfig(size=32)
PNG, JPEG = GenerateConfig(format="png"), GenerateConfig()  # only their format is used


@pytest.fixture
def part(shots):
    return shots["df"]


def run(base, part, out, progress=lambda *_: None, written=PNG):
    autoencode(base=base, part=part, pixels=PIXELS, written=written, out=out, progress=progress)


def rows(out):
    with (out / "metadata.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def images(out):
    return np.stack([np.asarray(Image.open(out / row["file_name"])) for row in rows(out)]).astype(int)


def many(part, n):
    """The part's images over and over, under other ids."""
    table = part.table.iloc[[i % len(part) for i in range(n)]].reset_index(drop=True)
    names = [f"i{i}" for i in range(n)]
    return Manifest(table.assign(image_id=names, group_id=names), part.roots)


def test_each_image_is_written_once_as_the_autoencoder_gives_it_back(base, part, tmp_path):
    run(base, part, tmp_path)
    originals = load_pixels(part, PIXELS)
    expected = reconstruct(load_base(base).vae.to(default_device()), originals).astype(int)
    assert np.abs(images(tmp_path) - expected).max() <= 1
    assert np.abs(images(tmp_path) - originals.astype(int)).mean() > 5  # this base is of random weights
    assert len(list((tmp_path / "images").iterdir())) == len(part)


def test_images_are_written_in_the_format_of_the_synthetic_ones(base, part, tmp_path):
    run(base, part, tmp_path / "png")
    sizes = {}
    for quality in (60, 95):
        out = tmp_path / str(quality)
        run(base, part, out, written=GenerateConfig(jpeg_quality=quality))
        files = sorted((out / "images").iterdir())
        assert [row["file_name"] for row in rows(out)] == [f"images/{file.name}" for file in files]
        assert {file.read_bytes()[:3] for file in files} == {b"\xff\xd8\xff"}  # JPEG
        sizes[quality] = sum(file.stat().st_size for file in files)
    assert sizes[60] < sizes[95]
    assert np.abs(images(tmp_path / "95") - images(tmp_path / "png")).mean() < 8


def test_a_classifier_s_coder_gives_the_pixels_of_the_coded_files(base, part, tmp_path):
    vae = load_base(base).vae.to(default_device())
    for written, quality in ((JPEG, JPEG.jpeg_quality), (PNG, None)):
        run(base, part, tmp_path / written.format, written=written)
        coded = coding.Coder(vae, quality)(load_pixels(part, PIXELS)).astype(int)
        assert np.abs(images(tmp_path / written.format) - coded).mean() < 0.05


def test_the_metadata_say_whose_coding_an_image_is(base, part, tmp_path):
    run(base, part, tmp_path)
    assert rows(tmp_path) == [
        {
            "file_name": f"images/{i:06d}-df-{i}.png.png",
            "label": "df",
            "source_id": f"df-{i}.png",
            "group_id": f"g-df-{i}.png",
        }
        for i in range(5)
    ]


def test_ids_that_are_paths_lead_out_of_no_folder_and_do_not_meet(base, part, tmp_path):
    table = part.table.assign(image_id=["df/a", "df/deep/a", "../../a", "/a", "a"])
    run(base, Manifest(table, part.roots), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == [f"{i:06d}-a.png" for i in range(5)]
    assert [row["source_id"] for row in rows(tmp_path / "out")] == table["image_id"].tolist()


def test_the_record_has_the_psnr_of_what_is_given_back(base, part, tmp_path):
    run(base, part, tmp_path)
    record = read_json(tmp_path / "autoencoded.json")
    assert record["images"] == 5
    expected = np.mean(psnr(load_base(base).vae.to(default_device()), load_pixels(part, PIXELS)))
    assert record["psnr_db"] == pytest.approx(expected, abs=0.02)


def test_each_image_counts_once_in_the_mean_psnr_also_in_a_smaller_last_batch(base, part, tmp_path, monkeypatch):
    of_each = iter([10.0, 20.0, 30.0, 40.0, 60.0])
    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "psnr_of", lambda batch, _coded: [next(of_each) for _ in batch])
    run(base, part, tmp_path)
    assert read_json(tmp_path / "autoencoded.json")["psnr_db"] == 32.0


def test_the_images_have_seen_what_the_base_has_and_themselves(base, part, shots, tmp_path, monkeypatch):
    run(base, part, tmp_path / "unknown")
    own = Provenance.of(part)
    record = read_json(tmp_path / "unknown" / "autoencoded.json")
    assert Provenance.from_record(record["provenance"]) == dataclasses.replace(own, is_complete=False)
    known = BaseRecord.of(shots["vasc"], None)
    monkeypatch.setattr("augment.base.provenance.base_record", lambda _base: known)
    run(base, part, tmp_path / "known")
    record = read_json(tmp_path / "known" / "autoencoded.json")
    assert Provenance.from_record(record["provenance"]) == own | Provenance.of(shots["vasc"])


def test_the_manifest_reads_back_as_synthetic_in_the_sources_groups(base, part, tmp_path):
    run(base, part, tmp_path / "autoencoded" / "df-1")
    read = autoencoded_manifest(tmp_path / "autoencoded" / "df-1", "coded", {"coded": tmp_path})
    assert all(path.is_file() for path in read.paths())
    assert read.counts() == {"df": 5}
    assert set(read.table["source"]) == {"synthetic"}
    assert read.table["group_id"].tolist() == part.table["group_id"].tolist()
    assert read.table["image_id"].tolist() == [f"autoencoded-{image}" for image in part.table["image_id"]]
    assert read.table["lineage"].tolist() == [f"autoencoded:{image}" for image in part.table["image_id"]]
    Manifest.concat(part, read)  # the ids of real images are not taken


def test_coded_images_take_the_place_of_the_files_of_a_part_in_its_order(base, part, tmp_path):
    run(base, part, tmp_path / "df", written=JPEG)
    coded = autoencoded_manifest(tmp_path / "df", "coded", {"coded": tmp_path})
    turned = Manifest(part.table.iloc[[3, 0]].reset_index(drop=True), part.roots)
    shown = recoded(turned, coded)
    kept = [column for column in part.table.columns if column not in ("root", "path")]
    assert shown.table[kept].equals(turned.table[kept])
    assert [path.name for path in shown.paths()] == ["000003-df-3.png.jpg", "000000-df-0.png.jpg"]
    assert all(path.is_file() for path in shown.paths())
    assert set(shown.table["source"]) == {"real"}


def test_a_part_of_which_an_image_is_not_coded_is_refused(base, part, tmp_path):
    run(base, part.where(part.table["image_id"] != "df-2.png"), tmp_path)
    coded = autoencoded_manifest(tmp_path, "coded", {"coded": tmp_path})
    with pytest.raises(DataError, match=r"'df-2\.png' was not passed through the autoencoder; delete that artefact"):
        recoded(part, coded)


def test_the_psnr_is_that_of_the_mean_squared_error(base, part):
    zeros = np.zeros((3, 4, 4, 3), np.uint8)
    changed = zeros.copy()
    changed[1], changed[2, 0] = 255, 51  # a fifth, in a quarter of the rows
    assert psnr_of(zeros, changed) == pytest.approx([100, 0, 10 * np.log10(4 * 25)])
    originals = load_pixels(part, PIXELS)
    vae = load_base(base).vae.to(default_device())
    assert psnr_of(originals, reconstruct(vae, originals)) == pytest.approx(psnr(vae, originals), abs=0.02)


def test_many_images_are_coded_in_batches_and_counted(base, part, tmp_path):
    reported = []
    run(base, many(part, 20), tmp_path, lambda *given: reported.append(given))
    assert reported == [(16, 20), (20, 20)]
    found = images(tmp_path)
    assert len(found) == 20
    assert np.abs(found - found[[i % 5 for i in range(20)]]).max() <= 1  # in the order of the table


def test_where_memory_is_short_fewer_images_are_coded_at_a_time(base, part, tmp_path, monkeypatch):
    run(base, part, tmp_path / "large")

    def small(work):
        def on_a_small_device(vae, batch):
            if len(batch) > 2:
                raise torch.OutOfMemoryError(f"{len(batch)}")
            return work(vae, batch)

        return on_a_small_device

    monkeypatch.setattr(coding, "_reconstructed", small(coding._reconstructed))
    run(base, part, tmp_path / "small")
    assert np.abs(images(tmp_path / "small") - images(tmp_path / "large")).max() <= 1
    records = [read_json(tmp_path / name / "autoencoded.json") for name in ("small", "large")]
    assert records[0]["psnr_db"] == pytest.approx(records[1]["psnr_db"], abs=0.02)


def test_decoded_images_are_kept_in_the_cache_that_is_named(base, part, tmp_path):
    autoencode(
        base=base,
        part=part,
        pixels=PIXELS,
        written=PNG,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        progress=lambda *_: None,
    )
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["pixels-32-crop"]


def test_no_image_takes_more_bytes_than_estimated_not_even_noise(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    size = (tmp_path / "noise.png").stat().st_size
    assert 256 * 256 * 3 < size <= autoencoded_image_bytes(PixelConfig(size=256))
