import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from augment.base.config import BaseConfig
from augment.diffusion.edit import encode
from augment.generate.config import GenerateConfig
from augment.generate.edit_config import EditConfig
from augment.generate.edit_sources import EditSources, canvases_of, plan_edit
from augment.generate.mark import EDITED, origin_of
from augment.generate.pipeline import AdapterPipeline
from augment.generate.planned_images import PlannedImage
from augment.generate.record import GeneratedImages
from augment.generate.run import ImageRequest, generate, synthetic_manifest
from data.errors import DataError
from data.manifest import Manifest, read_table
from data.pixels import PixelConfig, load_pixels

SIZE = 32
STRENGTHS = (0.25, 1.0)


@pytest.fixture
def sources(shots):
    """The five photographs of each of two classes."""
    both = Manifest.concat(shots["df"], shots["vasc"])

    def of(*labels):
        part = both.where(both.table["label"].isin(labels))
        return EditSources(photographs=part, identity="/".join(labels), pixels=PixelConfig(size=SIZE))

    return of


@pytest.fixture
def masks(shots, tmp_path):
    """A folder of masks, with the left half as the lesion."""
    half = np.zeros((SIZE, SIZE), np.uint8)
    half[:, :16] = 255
    for image in [*shots["df"].table["image_id"], *shots["vasc"].table["image_id"]]:
        Image.fromarray(half).save(tmp_path / f"{image}_segmentation.png")
    return tmp_path


def edited(base, out, edit, sources, progress=None, **changes):
    config = GenerateConfig(steps=4, batch_size=2, format="png", edit=edit, guidance_scale=1)
    request = ImageRequest(label="df", prompt="dermoscopy", count=6, seed=0, size=SIZE, sources=sources, **changes)
    pipeline = base if isinstance(base, AdapterPipeline) else AdapterPipeline(base)
    return generate(pipeline=pipeline, request=request, config=config, out=out, progress=progress)


def planned(edit, photographs, n):
    edits = [plan_edit(edit, photographs, seed) for seed in range(n)]
    return [PlannedImage(name="", seed=0, prompt="", attributes=None, edit=each) for each in edits]


def test_a_seed_chooses_photograph_and_strength_and_classes_are_as_likely(sources):
    of = sources("df", "vasc").photographs
    few = of.where(~of.table["image_id"].isin(of.of("vasc").table["image_id"][1:]))
    chosen = [plan_edit(EditConfig(strengths=STRENGTHS), few, seed) for seed in range(200)]
    assert chosen == [plan_edit(EditConfig(strengths=STRENGTHS), few, seed) for seed in range(200)]
    assert {edit.strength for edit in chosen} == set(STRENGTHS)
    assert {edit.image for edit in chosen} == set(few.table["image_id"])
    assert 70 < sum(edit.label == "vasc" for edit in chosen) < 130
    for edit in chosen:
        row = few.table.iloc[edit.row]
        assert (edit.image, edit.group, edit.label) == (row["image_id"], row["group_id"], row["label"])


def test_an_edited_image_carries_its_source_and_is_in_its_leakage_group(base, sources, tmp_path):
    given = sources("df")
    made = edited(base, tmp_path / "run" / "df", EditConfig(strengths=STRENGTHS), given)
    rows = read_table(tmp_path / "run" / "df" / "metadata.csv")
    assert set(rows["source_image"]) <= set(given.photographs.table["image_id"])
    assert set(rows["strength"]) == {"0.25", "1.0"}
    assert set(rows["source_label"]) == {"df"}
    assert "source_weight" not in rows
    read = synthetic_manifest(tmp_path / "run" / "df", "run", {"run": tmp_path / "run"}).table
    groups = dict(zip(given.photographs.table["image_id"], given.photographs.table["group_id"], strict=True))
    assert read["group_id"].tolist() == [groups[image] for image in rows["source_image"]]
    assert read["image_id"].is_unique
    assert read["lineage"][0] == f"none:{rows['seed'][0]}:{rows['source_image'][0]}@{rows['strength'][0]}"
    record = GeneratedImages.read(tmp_path / "run" / "df")
    assert record.provenance.group_ids == set(groups.values())
    assert record.sources == {"images": 5, "sha256": "df"}
    with Image.open(made.paths()[0]) as image:
        assert origin_of(image) == EDITED


def test_an_image_of_another_class_has_the_target_s_label_and_the_source_s_weight(base, sources, tmp_path):
    made = edited(base, tmp_path, EditConfig(source="other", strengths=(0.25,)), sources("vasc"))
    assert set(made.table["label"]) == {"df"}
    assert set(made.table["source_label"]) == {"vasc"}
    assert set(made.table["source_weight"]) == {"0.5"}


def test_an_interrupted_call_goes_on_to_the_same_bytes(base, sources, tmp_path):
    edit = EditConfig(mode="inpaint", strengths=(0.5, 0.75, 1.0))
    edited(base, tmp_path / "whole", edit, sources("df"))

    def stop(done, _count):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edited(base, tmp_path / "parts", edit, sources("df"), progress=stop)
    kept = len(list((tmp_path / "parts" / "images").iterdir()))
    assert 0 < kept < 6
    edited(base, tmp_path / "parts", edit, sources("df"))
    for path in (path for path in (tmp_path / "whole").rglob("*") if path.is_file()):
        assert (tmp_path / "parts" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_photographs_with_other_bytes_or_other_masks_are_other_images(base, sources, masks, tmp_path):
    given, edit = sources("df"), EditConfig(mode="inpaint", masks=str(masks))
    before = given.record(edit)
    assert dataclasses.replace(given, identity="other").record(edit) != before
    Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).save(masks / "df-0.png_segmentation.png")
    assert given.record(edit) != before


@pytest.mark.parametrize("region", ["lesion", "skin"])
def test_inpainting_leaves_the_bytes_outside_the_feathered_mask(base, sources, masks, tmp_path, region):
    given = sources("df")
    made = edited(
        base, tmp_path / "out", EditConfig(mode="inpaint", masks=str(masks), region=region, mask_blur=1), given
    )
    own = dict(zip(given.photographs.table["image_id"], load_pixels(given.photographs, given.pixels), strict=True))
    kept, drawn = (slice(23, None), slice(0, 17)) if region == "lesion" else (slice(0, 17), slice(23, None))
    for source, image in zip(made.table["source_image"], load_pixels(made, given.pixels), strict=True):
        assert (image[:, kept] == own[source][:, kept]).all()
        assert (image[:, drawn] != own[source][:, drawn]).any()


def test_outpainting_keeps_the_smaller_photograph_in_the_middle(sources):
    edit = EditConfig(mode="outpaint", padding=0.25)
    given = sources("df")
    found = canvases_of(edit, given, planned(edit, given.photographs, 3))
    assert found.redraw.sum(axis=(1, 2)).tolist() == [32 * 32 - 16 * 16] * len(found.photographs)
    assert found.strengths == [1.0] * 3


def test_a_full_mask_is_refused_with_its_photograph_before_a_model_is_loaded(sources, masks, tmp_path, monkeypatch):
    for path in masks.iterdir():
        Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).save(path)
    monkeypatch.setattr("augment.generate.pipeline.load_base", None)
    with pytest.raises(DataError, match=r"df-\d.png: its mask is full; correct it, leave the image out"):
        edited(BaseConfig(source="tiny"), tmp_path / "out", EditConfig(mode="inpaint", masks=str(masks)), sources("df"))


def test_edits_without_sources_are_a_mistake_of_the_caller(base, tmp_path):
    with pytest.raises(ValueError, match="edited from sources"):
        edited(base, tmp_path, EditConfig(), None)


def test_a_distilled_autoencoder_has_latents_without_a_posterior():
    tiny = AutoencoderTiny(encoder_block_out_channels=(4,) * 4, decoder_block_out_channels=(4,) * 4, scaling_factor=2.0)
    pixels = np.full((1, 16, 16, 3), 255, np.uint8)
    found = encode(SimpleNamespace(vae=tiny), pixels)
    assert torch.allclose(found, 2 * tiny.encode(torch.ones(1, 3, 16, 16)).latents)
