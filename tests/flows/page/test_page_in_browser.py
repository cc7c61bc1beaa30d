"""The whole page in a real browser, at a phone's width and a laptop's. Skipped without gradio or Chromium."""

import importlib.util
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import filelock
import pytest
from chromium import Browser, program
from PIL import Image

from augment.finetune.stopping import Announcement
from flows.page.accepted import AcceptedSet, Counts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of gradio's own imports
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="gradio is not installed (docs/page.md)"),
    pytest.mark.skipif(program() is None, reason="no Chromium on this machine"),
]
OVER = "document.querySelector('.ll-status.finished, .ll-status.stopped, .ll-status.failed')"
LINE = "document.querySelector('#ll-line').innerText"


@pytest.fixture
def serving(page_of, monkeypatch, tmp_path):
    """Gives a context in which a session is served; yields the address to open, and the site."""
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))

    @contextmanager
    def served(opened):
        import uvicorn

        from flows.page.serve import Address, _bound, app_of, site_of

        session, listening = page_of(opened), _bound(Address(port=0))
        port = listening.getsockname()[1]
        site = site_of(Address(), port)
        options = {"log_level": "warning", "timeout_graceful_shutdown": 1}
        server = uvicorn.Server(uvicorn.Config(app_of(session, site), **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/?token={site.token}", site
        finally:
            server.should_exit = True
            thread.join(30)
            listening.close()

    return served


@pytest.fixture
def browser(tmp_path):
    found = Browser(tmp_path / "browser")
    yield found
    found.close()


@contextmanager
def in_training(opened):
    """A fine-tune that is at work as far as the run's folder tells, with one preview."""
    folder = opened.study.folder / "finetune" / "df-0123.partial"
    (folder / "previews").mkdir(parents=True)
    Image.new("RGB", (64, 16)).save(folder / "previews" / "step-000100.jpg")
    announced = Announcement(opened.study.folder, "df")
    with filelock.FileLock(folder.with_name(".df-0123.lock")):
        yield announced
    announced.withdraw()


def asks(url, site, **headers):
    """The status of a request with the cookie."""
    sent = {"Cookie": f"{site.cookie}={site.token}", **headers}
    request = urllib.request.Request(url, headers=sent)  # noqa: S310 - http alone
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return reply.status
    except urllib.error.HTTPError as fault:
        with fault:
            return fault.code


def draw(browser, images=2, steps=2):
    browser.run("document.querySelectorAll('.label-wrap:not(.open)').forEach(e => e.click())")
    for label, value in {"Images": images, "Steps": steps}.items():
        browser.wait(f"!!{_field(label)}")
        browser.run(
            f"(e => {{ e.value = {value}; for (const each of ['input', 'change', 'blur']) "
            f"e.dispatchEvent(new Event(each, {{bubbles: true}})); }})({_field(label)})"
        )
    browser.click("#ll-go")


def _field(label):
    return (
        f"[...document.querySelectorAll('label')].find(e => e.innerText.trim() === '{label}')"
        "?.querySelector('input[type=number]')"
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_images_are_drawn_stopped_accepted_and_rejected_and_nothing_leaves_the_machine(
    browser, serving, open_one, width, tmp_path
):
    opened = open_one({"fine-tune df": {"digest": "d", "folder": "finetune/df-0123"}})
    into = AcceptedSet.of(opened.study.folder, "by-hand")
    with serving(opened) as (url, site), in_training(opened) as training:
        browser.width(width)
        browser.open(url)
        browser.wait("!!document.querySelector('#ll-go')")
        browser.wait("document.querySelectorAll('.ll-photographs img').length === 4")
        draw(browser)
        browser.wait("document.querySelectorAll('.ll-pick').length === 2")
        assert "2 of 2 images drawn" in browser.run(LINE)
        assert browser.run("document.querySelectorAll('.ll-near img').length") == 6
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
        browser.click("#ll-accept")
        browser.wait(f"{LINE}.includes('no image is ticked')")
        browser.click(".ll-pick")
        browser.click("#ll-accept")
        browser.wait(f"{LINE}.includes('1 accepted into by-hand, 1 rejected')")
        assert "name: by-hand" in browser.wait("document.querySelector('#ll-setting textarea')?.value")
        draw(browser)
        browser.wait("document.querySelectorAll('.ll-pick').length === 2")
        browser.click("#ll-reject")
        browser.wait(f"{LINE}.includes('0 accepted into by-hand, 2 rejected')")
        draw(browser, images=64, steps=200)
        browser.click("#ll-stop")
        browser.wait(f"{LINE}.includes('Stopped')")
        browser.click_text("button[role=tab]", "Fine-tunes")
        browser.wait("!!document.querySelector('.ll-strip img')?.naturalWidth")
        browser.wait("document.querySelector('.ll-chip')?.innerText === 'running'")
        browser.click("#ll-end input[type=checkbox]")
        browser.click("#ll-ask")
        assert not training.stop_requested, "it asks once more"
        browser.click("#ll-sure")
        browser.wait("document.body.innerText.includes('Asked to stop after the present step: df')")
        assert training.stop_requested
        browser.click_text("button[role=tab]", "Sets")
        browser.wait("document.querySelector('.ll-sets')?.innerText.includes('by-hand')")
        assert into.counts() == {"df": Counts(accepted=1, rejected=3)}
        own = url.partition("?")[0]
        outside = [each for each in browser.requests if not each.startswith((own, "data:", "blob:"))]
        assert outside == []
        assert browser.complaints == []
        _refuses_what_is_not_its_own(own, site, opened)


def _refuses_what_is_not_its_own(own, site, opened):
    secret = opened.study.folder / "plan.json"
    assert asks(own, site) == 200
    for path in (f"gradio_api/file={secret}", "gradio_api/file=/etc/passwd", "gradio_api/upload", "docs"):
        assert asks(f"{own}{path}", site) == 404
    assert asks(f"{own}config", site, Cookie="") == 403
    assert asks(f"{own}gradio_api/queue/join", site, Origin="http://127.0.0.1:1") == 403
    assert asks(own, site, Host="evil.example") == 421


def test_hidden_photographs_are_in_nothing_that_the_browser_gets(browser, serving, open_one):
    with serving(open_one(embed_real_images=False)) as (url, _):
        browser.width(1280)
        browser.open(url)
        browser.wait("!!document.querySelector('#ll-go')")
        browser.wait("document.querySelector('.ll-notice')?.innerText.includes('hides photographs')")
        assert not browser.run("!!document.querySelector('#ll-edit')"), "nothing can be edited"
        draw(browser)
        browser.wait(f"!!{OVER}")
        browser.wait("document.querySelectorAll('.ll-card').length === 2")
        shown = browser.run("[...document.querySelectorAll('img')].map(e => e.alt)")
        assert [each for each in shown if each.startswith("photograph")] == []
        assert browser.run("document.querySelectorAll('.ll-near b').length") == 6, "distances are told"
        assert browser.complaints == []
