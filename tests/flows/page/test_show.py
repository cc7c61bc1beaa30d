"""The page's HTML: what it says, that everything is escaped, and that a hidden photograph is in none of it."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from augment.generate.mark import SYNTHETIC, origin_of
from flows.page import show
from flows.page.drawing import DRAWING, DrawingState
from flows.page.neighbours import Neighbour
from flows.page.pictures import photograph_uri, synthetic_uri
from flows.page.session import Card

PLANNED = {"fine-tune df": {"digest": "d", "folder": "finetune/df-0123"}}


def card(distance=0.6, pixels=True, **changes):
    near = Neighbour(row=0, image_id="im1", label="nv", distance=distance)
    drawn = np.full((64, 64, 3), 90, np.uint8) if pixels else None
    return Card(**{"key": "0001:0", "seed": "7", "pixels": drawn, "neighbours": (near,), **changes})


def pictures(html):
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in data]


def test_a_card_shows_the_image_its_neighbours_and_their_distance(open_one, page_of):
    html = show.cards(page_of(open_one()), [card()])
    drawn, near = pictures(html)
    assert (drawn.size, near.size) == ((256, 256), (96, 96))
    assert origin_of(drawn) == SYNTHETIC
    assert "0.60" in html
    assert "Nearly a photograph" not in html
    assert "Nearly a photograph" in show.cards(page_of(open_one()), [card(distance=0.1)])


def test_a_synthetic_picture_has_the_word_in_its_pixels_and_a_photograph_has_not():
    grey = np.full((64, 64, 3), 90, np.uint8)
    drawn, real = (pictures(f'src="{uri}"')[0] for uri in (synthetic_uri(grey), photograph_uri(grey, 128)))
    assert np.asarray(drawn)[-4:, :8].min() < 40
    assert np.asarray(real).min() > 80


@pytest.mark.parametrize("pixels", [True, False])
def test_where_photographs_are_hidden_no_picture_is_one(open_one, page_of, pixels):
    session = page_of(open_one(PLANNED, embed_real_images=False))
    image = session.opened.prepared.shots["df"].table["image_id"].iloc[0]
    html = "".join(
        [
            show.header(session.opened), show.real(session, "df"), show.source(session, "df", image),
            show.cards(session, [card(distance=0.1, pixels=pixels)]), show.growing(session, []),
            show.sets(session.opened), show.training(session.opened),
        ]
    )  # fmt: skip
    assert len(pictures(html)) == int(pixels), "the synthetic image alone"
    assert ("Withheld" in html) is not pixels
    assert "hides" in html
    assert "0.10" in html


def test_while_photographs_are_hidden_nothing_is_shown_before_it_was_compared(open_one, page_of, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert pictures(show.growing(page_of(open_one(embed_real_images=False)), [tmp_path / "a.png"])) == []
    assert len(pictures(show.growing(page_of(open_one()), [tmp_path / "a.png"]))) == 1


def test_real_photographs_are_those_of_the_class_and_their_number_is_said(open_one, page_of):
    html = show.real(page_of(open_one()), "df")
    assert len(pictures(html)) == 4
    assert "4 of the 4 photographs" in html


def test_words_from_data_are_no_markup(open_one, page_of):
    near = (Neighbour(row=0, image_id='"><script>', label="<b>x", distance=0.5),)
    html = show.cards(page_of(open_one()), [card(neighbours=near, seed="<i>")])
    html += show.status(message="<script>alert(1)</script>")
    assert "<script" not in html
    assert "<b>x" not in html
    assert "<i>" not in html


def test_a_drawing_that_goes_on_has_a_progress_bar_and_one_that_is_over_has_none():
    state = DrawingState(phase=DRAWING, images=4, count=8, step=3)
    assert '<progress max="8" value="4">' in show.status(state)
    assert "4 of 8 images, step 3" in show.status(state)
    assert "<progress" not in show.status(message="over")


def test_the_report_is_a_click_away_once_it_is_there(open_one):
    opened = open_one()
    assert 'href="/report"' not in show.header(opened)
    opened.report.write_text("x")
    assert 'href="/report"' in show.header(opened)


def test_a_fine_tune_shows_its_previews_and_curves(open_one):
    opened = open_one(PLANNED)
    folder = opened.study.folder / "finetune" / "df-0123.partial"
    (folder / "previews").mkdir(parents=True)
    Image.new("RGB", (32, 8)).save(folder / "previews" / "step-000002.jpg")
    (folder / "loss.csv").write_text("step,loss,lr\n1,0.5,1\n2,0.25,1\n")
    (folder / "held_out.csv").write_text("step,loss\n1,0.75\n2,1\n")
    html = show.training(opened)
    assert len(pictures(html)) == 1
    assert html.count("<polyline") == 2
    assert "step 2 of" in html
