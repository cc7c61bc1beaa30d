"""The script that paints a mask over a photograph, in a real browser. Skipped without Chromium."""

from pathlib import Path

import pytest
from chromium import Browser, program

from flows.page import show
from flows.page.masks import painted

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium on this machine")
PAINT = (
    "(c => { const b = c.getBoundingClientRect(); const at = (kind, x) => c.dispatchEvent(new PointerEvent(kind, "
    "{bubbles: true, clientX: b.left + x * b.width, clientY: b.top + b.height / 2})); "
    "at('pointerdown', 0.3); at('pointermove', 0.6); at('pointerup', 0.6); at('pointermove', 0.95); })"
    "(document.querySelector('#ll-mask'))"
)
SENT = "document.getElementById('ll-mask').toDataURL('image/png')"


def test_a_mask_is_where_the_pointer_went_while_it_was_down_and_can_be_cleared(open_one, page_of, tmp_path):
    opened = open_one()
    image = opened.prepared.shots["df"].table["image_id"].iloc[0]
    script = Path(show.__file__).with_name("page.js").read_text()
    html = f"<script>{script}</script>{show.source(page_of(opened), 'df', image)}"
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{html}")
    browser = Browser(tmp_path / "browser")
    try:
        browser.open((tmp_path / "page.html").as_uri())
        browser.run(PAINT)
        mask = painted(browser.run(SENT))
        height, width = mask.shape
        assert mask[height // 2, int(0.45 * width)] == 255
        assert mask[height // 2, int(0.9 * width)] == 0, "the pointer was up"
        assert mask[0].max() == 0
        browser.click("#ll-clear")
        assert painted(browser.run(SENT)).max() == 0
        assert browser.complaints == []
    finally:
        browser.close()
