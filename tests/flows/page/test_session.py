"""Drawings of the page: drawn, stopped, compared and decided on; and what is never shown."""

import dataclasses
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment.generate.mark import EDITED, SYNTHETIC, origin_of
from data.errors import InputError
from flows.page import drawing as drawings
from flows.page.accepted import AcceptedSet, Counts
from flows.page.drawing import FAILED, FINISHED, STOPPED, WAITING, StoppablePipeline
from flows.page.neighbours import Neighbour


def over(page, asked, **more):
    drawing = page.begin(asked, **more)
    *_, last = page.follow(drawing)
    assert last is drawing
    return drawing


@pytest.fixture
def into(tmp_path):
    return AcceptedSet.of(tmp_path / "runs" / "one", "by-hand")


def test_images_are_drawn_compared_and_accepted_into_a_set(page_of, open_one, asked, into):
    page = page_of(open_one())
    drawing = over(page, asked(count=3))
    assert (drawing.state.phase, drawing.state.images) == (FINISHED, 3)
    cards = page.cards(drawing)
    assert [card.key for card in cards] == ["0001:0", "0001:1", "0001:2"]
    assert all(len(card.neighbours) == 3 and card.pixels.shape == (64, 64, 3) for card in cards)
    with Image.open(drawing.paths[0]) as image:
        assert origin_of(image) == SYNTHETIC
    assert page.decide(drawing.key, [cards[1].key], into) == (1, 2)
    assert into.counts() == {"df": Counts(accepted=1, rejected=2)}
    table = pd.read_csv(into.folder / "metadata.csv", dtype=str)
    assert list(table["seed"]) == [cards[1].seed]
    with pytest.raises(InputError, match="decided on already"):
        page.decide(drawing.key, [], into)


def test_a_seed_means_the_same_images_as_in_a_study(page_of, open_one, asked):
    page = page_of(open_one())
    one, again, other = (over(page, asked(seed=seed)) for seed in (5, 5, 6))
    assert [path.read_bytes() for path in one.paths] == [path.read_bytes() for path in again.paths]
    assert list(one.rows["seed"]) != list(other.rows["seed"])


def test_a_stopped_drawing_keeps_the_images_that_are_whole(page_of, open_one, asked, monkeypatch):
    page, real = page_of(open_one()), StoppablePipeline._before

    def stopping(self, module, arguments):
        if page._drawings["0001"].state.images == 8:  # two batches are written, and the third begins
            page.stop()
        real(self, module, arguments)

    monkeypatch.setattr(StoppablePipeline, "_before", stopping)
    drawing = over(page, asked(count=16))
    assert (drawing.state.phase, drawing.state.images) == (STOPPED, 8)
    assert len(page.cards(drawing)) == 8


def test_one_drawing_is_made_at_a_time(page_of, open_one, asked, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def waiting(self, module, arguments):
        begun.set()
        go_on.wait(30)

    monkeypatch.setattr(StoppablePipeline, "_before", waiting)
    page = page_of(open_one())
    drawing = page.begin(asked())
    assert begun.wait(60)
    with pytest.raises(InputError, match="another drawing is going on"):
        page.begin(asked())
    with pytest.raises(InputError, match="no finished drawing"):
        page.decide(drawing.key, [], None)
    go_on.set()
    drawing.wait(60)
    assert drawing.state.is_over


def test_a_drawing_waits_for_an_accelerator_that_a_study_holds_and_can_be_stopped_meanwhile(
    page_of, open_one, asked, monkeypatch, tmp_path
):
    import torch

    from flows import device_lock

    monkeypatch.setattr(drawings.devices, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(device_lock, "lock_file", lambda device: tmp_path / device.type)
    monkeypatch.setattr(StoppablePipeline, "unload", lambda self: None)
    page = page_of(open_one())
    with device_lock.holding(torch.device("cuda")):
        drawing = page.begin(asked())
        time.sleep(0.6)
        assert drawing.state.phase == WAITING
        page.stop()
        drawing.wait(10)
    assert (drawing.state.phase, drawing.state.images) == (STOPPED, 0)


def test_a_mistake_is_said_before_anything_is_drawn_and_a_later_one_on_the_page(page_of, open_one, asked, monkeypatch):
    page = page_of(open_one())
    with pytest.raises(InputError, match="none of the study's rare ones"):
        page.begin(asked(label="nv"))
    drawing = over(page, asked(prompt="word " * 300))
    assert drawing.state.phase in {FINISHED, FAILED}

    def broken(**_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(drawings, "generate", broken)
    failed = over(page, asked())
    assert failed.state.phase == FAILED
    assert "RuntimeError: a fault" in failed.state.in_words
    assert page.cards(failed) == []


def test_an_image_of_another_drawing_cannot_be_accepted(page_of, open_one, asked, into):
    page = page_of(open_one())
    one, other = over(page, asked()), over(page, asked(seed=1))
    with pytest.raises(InputError, match="are of another drawing"):
        page.decide(one.key, [f"{other.key}:0"], into)
    assert not into.folder.exists()


def test_a_photograph_is_edited_and_the_image_says_so(page_of, open_one, asked):
    opened = open_one()
    image = opened.prepared.shots["df"].table["image_id"].iloc[0]
    drawing = over(page_of(opened), asked(source_image=image, strength=0.5, steps=4))
    assert drawing.state.phase == FINISHED
    assert set(drawing.rows["source_image"]) == {image}
    with Image.open(drawing.paths[0]) as made:
        assert origin_of(made) == EDITED


def test_what_is_not_painted_stays_as_it_is(page_of, open_one, asked):
    opened = open_one()
    page, shots = page_of(opened), opened.prepared.shots["df"]
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    request = asked(source_image=shots.table["image_id"].iloc[0], strength=1.0, steps=3, redraw="painted")
    drawing = over(page, request, mask=mask)
    assert drawing.state.phase == FINISHED
    photograph = page.read_shown(shots, 0).astype(int)
    drawn = np.asarray(Image.open(drawing.paths[0])).astype(int)
    kept, redrawn = (np.abs(drawn - photograph)[:, half].mean() for half in (slice(44, 64), slice(0, 24)))
    assert kept < 12 < redrawn, "a JPEG of noise is not exact"


def test_a_photograph_outside_the_shots_cannot_be_edited(page_of, open_one, asked):
    opened = open_one()
    for part in ("validation", "test"):
        image = opened.prepared.split.parts()[part].of("df").table["image_id"].iloc[0]
        with pytest.raises(InputError, match="is none of the shots"):
            page_of(opened).begin(asked(source_image=image))


def test_where_photographs_are_hidden_none_is_read_or_edited(page_of, open_one, asked):
    opened = open_one(embed_real_images=False)
    page = page_of(opened)
    with pytest.raises(InputError, match="hides photographs"):
        page.photograph(0)
    with pytest.raises(InputError, match="hides photographs"):
        page.begin(asked(source_image=opened.prepared.shots["df"].table["image_id"].iloc[0]))


def test_where_photographs_are_hidden_a_near_copy_is_withheld_and_cannot_be_accepted(
    page_of, open_one, asked, into, monkeypatch
):
    def one_is_a_copy(images, photographs, pixels):
        near = Neighbour(row=0, image_id="i", label="df", distance=0.1)
        return [(near if number == 0 else dataclasses.replace(near, distance=0.7),) for number in range(len(images))]

    monkeypatch.setattr("flows.page.session.neighbours", one_is_a_copy)
    page = page_of(open_one(embed_real_images=False))
    drawing = over(page, asked())
    copy, other = page.cards(drawing)
    assert copy.pixels is None
    assert other.pixels is not None
    with pytest.raises(InputError, match="nobody can look at"):
        page.decide(drawing.key, [copy.key], into)
    assert page.decide(drawing.key, [other.key], into) == (1, 1)


def test_what_was_not_accepted_is_gone_with_the_page(page_of, open_one, asked):
    page = page_of(open_one())
    drawing = over(page, asked())
    assert all(path.is_file() for path in drawing.paths)
    folder = drawing.folder
    assert folder.parent.stat().st_mode & 0o077 == 0
    page.close()
    assert not folder.exists()
