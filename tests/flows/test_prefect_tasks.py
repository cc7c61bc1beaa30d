"""What the steps show in the UI, as far as it needs no server; the rest stands in test_augment_and_evaluate.py."""

import base64
import dataclasses
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from data.errors import BaseError, TrainingError
from flows import prefect_tasks as tasks
from flows.steps import GroupResult, StepResult

COLOURS = [(20 * i, 255 - 20 * i, 100) for i in range(9)]


@pytest.fixture
def images(tmp_path):
    """Nine images of one colour each, of a size that is not the sheet's."""
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{i}.png" for i in range(len(COLOURS))]
    for path, colour in zip(paths, COLOURS, strict=True):
        Image.new("RGB", (40, 30), colour).save(path)
    return paths


def made(stage, folder):
    done = {"stage": stage, "what": "Naevus (common)", "seconds": 1.0, "reused": False, "folder": folder}
    return GroupResult(**done, parts=(StepResult(**done),))


def test_a_fine_tune_that_was_stopped_ends_in_a_state_that_says_so(tmp_path):
    note = "stopped by request at step 3 of 6; delete runs/a to have it trained to its end"
    stopped = dataclasses.replace(made("fine-tune", tmp_path), note=note)
    assert tasks._state_name(stopped) == "Stopped early"
    assert tasks._state_name(dataclasses.replace(stopped, reused=True)) == "Reused"
    assert tasks._state_name(made("fine-tune", tmp_path)) == "Completed"


def opened(sheet):
    assert sheet.startswith("data:image/jpeg;base64,")
    return Image.open(BytesIO(base64.b64decode(sheet.partition(",")[2])))


def test_a_sheet_is_one_jpeg_with_the_images_in_rows_and_white_where_there_is_none(images):
    sheet = opened(tasks._sheet(images))
    assert (sheet.format, sheet.size) == ("JPEG", (8 * 96, 2 * 96))
    pixels = np.asarray(sheet.convert("RGB"))
    middles = [(48 + 96 * (i // 8), 48 + 96 * (i % 8)) for i in range(10)]
    np.testing.assert_allclose([pixels[at] for at in middles], [*COLOURS, (255, 255, 255)], atol=6)
    for row, column in middles[:9]:
        corner = pixels[row + 38 : row + 48, column - 48 : column]
        assert (corner.max(axis=2) < 60).any(), "each bears the mark of a synthetic image: white on black"
        assert (corner.min(axis=2) > 200).any()
    assert pixels[112:, 112:].min() > 240


@pytest.mark.parametrize(
    "words", [("samples", "Naevus (common)"), ("progress", "finetune df, vasc"), ("samples", "ü_1")]
)
def test_a_key_is_one_that_prefect_takes(words):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tasks._key(*words))
    assert tasks._key("samples", "Naevus (common)") == "samples-naevus-common"


def test_samples_are_shown_of_the_step_that_makes_images_and_of_no_other(images, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(tasks, "create_image_artifact", lambda **artifact: shown.append(artifact))
    tasks.show_samples(made("arm", tmp_path))
    tasks.show_samples(made("images", tmp_path / "nothing"))
    assert shown == []
    tasks.show_samples(made("images", tmp_path))
    (artifact,) = shown
    assert artifact["key"] == "samples-naevus-common"
    assert artifact["image_url"] == tasks._sheet(images)
    assert artifact["description"] == "Synthetic images of Naevus (common)"


@pytest.mark.parametrize(
    ("fault", "name"),
    [(BaseError("x: no such base"), "Refused"), (TrainingError("the loss is nan"), "Failed training")],
)
def test_bad_input_is_refused_and_training_that_failed_has_failed_with_its_own_line(fault, name):
    state = tasks.unfinished(fault)
    assert (state.name, state.message, state.is_failed()) == (name, str(fault), True)


def test_long_work_gets_one_progress_artifact_that_ends_at_the_whole_and_short_work_none(monkeypatch):
    now, created, updated, logged = [0.0], [], [], []
    monkeypatch.setattr(tasks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        tasks, "create_progress_artifact", lambda share, **more: created.append((share, more["key"])) or "id"
    )
    monkeypatch.setattr(tasks, "update_progress_artifact", lambda artifact, share: updated.append((artifact, share)))
    progress = tasks._Shown("arm real 0", lambda *shown: logged.append(shown))
    for now[0], done in ((1, 1), (4, 2), (5, 3), (8, 6), (8.5, 8)):  # seconds, steps of eight
        progress(done, 8, "loss 1")
    assert created == [(25.0, "progress-arm-real-0")]
    assert updated == [("id", 75.0), ("id", 100.0)]
    assert logged == [(done, 8, "loss 1") for done in (1, 2, 3, 6, 8)]

    short = tasks._Shown("split", lambda *_: None)
    now[0] = 9.0
    short(1, 1)
    assert len(created) == 1
