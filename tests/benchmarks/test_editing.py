"""The benchmark of edits measures and judges rightly; what it found, it says by itself."""

import dataclasses
import json

import numpy as np
import pytest
from editing import Figures, changed_bytes, main, phantoms, rms, seam, whole
from PIL import Image

from augment.base.tiny_model import TinyModelConfig, build_tiny_model

GOOD = Figures(
    autoencoder=3, distances=(5, 7, 9, 12, 30), inside=30, outside=3, changed=0, seams=(0.8, 1, 3, 1.2),
    outpaint_changed=0,
)  # fmt: skip


def test_a_step_at_the_border_of_a_mask_is_its_seam():
    masks = np.zeros((1, 8, 8), bool)
    masks[:, :, 4:] = True
    image = np.tile((10 * np.arange(8)).astype(np.uint8)[None, None, :, None], (1, 8, 1, 3))
    along, across = 8 * 7, 8 * 6  # neighbours without a difference, and with one of 10
    assert seam(image, masks) == pytest.approx(10 / (10 * across / (along + across)))
    image[:, :, 4:] += 20
    assert seam(image, masks) == pytest.approx(30 / (10 * across / (along + across)))
    assert rms(image, image + np.uint8(3)) == 3
    assert rms(image, image + np.uint8(3) * masks[..., None], masks) == 3


def test_only_bytes_beyond_the_feather_count_as_changed():
    photographs, _ = phantoms(1)
    masks = np.zeros((1, 64, 64), bool)
    masks[:, 30:34, 30:34] = True
    canvases = whole(photographs, 1.0, masks, 1)
    image = photographs.copy()
    image[:, 27:37, 27:37] += 1
    assert changed_bytes(image, canvases) == 0
    image[0, 0, 0] += 1
    assert changed_bytes(image, canvases) == 3


def test_each_demand_is_judged():
    assert GOOD.failures() == []
    wrong = {"distances": (5, 7, 6, 12, 30), "changed": 4, "seams": (0.8, 1, 3, 1.31), "outpaint_changed": 1}
    for name, value in wrong.items():
        assert len(dataclasses.replace(GOOD, **{name: value}).failures()) == 1


def test_a_run_writes_its_figures_and_a_sheet(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("editing.load_base", lambda _: build_tiny_model(TinyModelConfig()))
    monkeypatch.setattr("editing.STRENGTHS", (0.1, 1.0))
    main(["--images", "2", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "editing.json").read_text(encoding="utf-8"))
    assert (found["changed"], found["outpaint_changed"], len(found["distances"])) == (0, 0, 2)
    with Image.open(tmp_path / "editing.png") as sheet:
        assert sheet.size == (2 * 128, 8 * 128)
    assert "| grey levels to the photograph |" in capsys.readouterr().out
