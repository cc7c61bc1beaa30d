"""Who may ask the page for what."""

import asyncio

import pytest

from flows.page.guard import Guard, Site, answer

ORIGINS = frozenset({"http://127.0.0.1:7860", "http://localhost:7860"})
SITE = Site(origins=ORIGINS, token="secret", cookie="lesionloom-7860")  # noqa: S106 - of the test
OWN = {"host": "127.0.0.1:7860", "cookie": "lesionloom-7860=secret"}


def status(path="/", method="GET", query="", **headers):
    found = answer(SITE, method, path, query, {**OWN, **headers})
    return None if found is None else found.status


def test_the_pages_own_requests_pass():
    assert status() is None
    assert status("/gradio_api/queue/join", "POST", origin="http://127.0.0.1:7860") is None
    assert status("/report", **{"sec-fetch-site": "same-origin"}) is None
    assert status(host="localhost:7860") is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8000", "http://localhost", "https://127.0.0.1:7860"]
)
def test_a_page_of_another_origin_can_neither_draw_nor_accept_nor_stop(origin):
    assert status("/gradio_api/queue/join", "POST", origin=origin) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_a_browser_marks_as_another_pages_is_refused(site):
    assert status(**{"sec-fetch-site": site}) == 403


@pytest.mark.parametrize("host", ["evil.example:7860", "evil.example", "127.0.0.1", "127.0.0.1:80", ""])
def test_a_foreign_name_that_leads_here_is_refused(host):
    assert status(host=host) == 421


@pytest.mark.parametrize("cookie", ["", "lesionloom-7860=other", "lesionloom-7861=secret", "a=;;b"])
def test_without_the_cookie_nothing_is_answered(cookie):
    assert status("/config", cookie=cookie) == 403
    assert status("/report", cookie=cookie) == 403


def test_the_printed_address_gives_a_cookie_that_no_script_and_no_other_page_sends():
    found = answer(SITE, "GET", "/", "token=secret", {"host": "127.0.0.1:7860"})
    headers = dict(found.headers)
    assert (found.status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]


@pytest.mark.parametrize("query", ["token=", "token=wrong", "token=secre", ""])
def test_a_wrong_token_gives_none(query):
    assert answer(SITE, "GET", "/", query, {"host": "127.0.0.1:7860"}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd", "/gradio_api/file=runs/one/plan.json", "/file=/etc/passwd", "/file/etc/passwd",
        "/gradio_api/upload", "/gradio_api/proxy=http://example.org", "/gradio_api/stream/x", "/runs/one/plan.json",
        "/docs", "/openapi.json", "/gradio_api/deep_link", "/monitoring/summary", "/gradio_api/mcp/",
    ],
)  # fmt: skip
def test_no_file_and_no_upload_is_there_even_with_the_cookie(path):
    assert status(path) == 404


def test_other_methods_are_refused():
    assert status(method="DELETE") == 405
    assert status(method="OPTIONS") == 405


def test_answers_bear_the_policy_and_pictures_are_not_kept_by_the_browser():
    sent = asyncio.run(_asked(Guard(_says_yes, SITE), "/"))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert sent[0]["status"] == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_a_websocket_is_closed():
    sent = asyncio.run(_asked(Guard(_says_yes, SITE), "/", kind="websocket"))
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def _says_yes(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
    await send({"type": "http.response.body", "body": b"yes"})


async def _asked(app, path, kind="http"):
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in OWN.items()]
    scope = {"type": kind, "method": "GET", "path": path, "query_string": b"", "headers": headers}
    await app(scope, None, send)
    return sent
