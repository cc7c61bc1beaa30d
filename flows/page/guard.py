"""Who may ask the page for what: an ASGI layer around all of Gradio.

A request must name the page's own host (else a foreign name that leads to 127.0.0.1 would do), come from the page
itself (Origin, Sec-Fetch-Site), hold the cookie that the printed address gives, and ask for one of a few paths. Gradio
alone answers pages of any other port of this machine, and any host name that leads here.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "token"  # noqa: S105 - the name of a query's field
REPORT = "/report"
_EXACT = frozenset({"/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json", REPORT})
_OPEN = frozenset({"/manifest.json"})  # says the page's title alone; browsers ask for it without a cookie
_BELOW = (
    "/assets/", "/static/", "/svelte/", "/gradio_api/queue/", "/gradio_api/heartbeat/", "/gradio_api/startup-events",
    "/gradio_api/info", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/run/", "/gradio_api/call/",
)  # fmt: skip
_METHODS = frozenset({"GET", "HEAD", "POST"})
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
_NO_COOKIE = "This page opens with the address that `lesionloom page` printed in its terminal. Open that one.\n"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The page's own address and secret."""

    origins: frozenset[str]  # such as http://127.0.0.1:7860
    token: str
    cookie: str  # its name

    @property
    def hosts(self) -> frozenset[str]:
        """What a Host header may be."""
        return frozenset(origin.partition("://")[2] for origin in self.origins)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the guard itself answers."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def answer(site: Site, method: str, path: str, query: str, headers: Mapping[str, str]) -> Answer | None:
    """The guard's answer to a request, whose headers' names are in small letters; None: the page answers it."""
    refused = _refused(site, method, headers)
    if refused is not None:
        return refused
    given = parse_qs(query).get(TOKEN, [""])[0]
    if method == "GET" and path == "/" and _is_same(given, site.token):
        secure = "; Secure" if all(each.startswith("https:") for each in site.origins) else ""
        cookie = f"{site.cookie}={site.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
        return Answer(status=303, text="", headers=(("location", "/"), ("set-cookie", cookie)))
    if path not in _OPEN and not _is_same(_cookie(headers.get("cookie", ""), site.cookie), site.token):
        return Answer(status=403, text=_NO_COOKIE)
    if path not in _EXACT and not path.startswith(_BELOW):
        return Answer(status=404, text="There is nothing here.\n")
    return None


def _refused(site: Site, method: str, headers: Mapping[str, str]) -> Answer | None:
    """The answer to a request by another name, from another page, or by a method that nothing here has."""
    if headers.get("host", "").lower() not in site.hosts:
        return Answer(status=421, text="This address is not the page's own.\n")
    origin, fetched_from = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if (origin is not None and origin.lower() not in site.origins) or fetched_from not in {"none", "same-origin"}:
        return Answer(status=403, text="Another page may not use this one.\n")
    return Answer(status=405, text="No such method.\n") if method not in _METHODS else None


class Guard:
    """The layer itself."""

    def __init__(self, app: App, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no use for a websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        own = answer(self._site, scope["method"], scope["path"], query, headers)
        if own is not None:
            await _send(own, send)
            return
        await self._app(scope, receive, _with_headers(send, scope["path"]))


def _with_headers(send: Send, path: str) -> Send:
    """Add the policy to an answer; only the program's own files may stay in the browser's cache."""
    added = HEADERS | ({} if path.startswith(("/assets/", "/static/", "/svelte/")) else {"cache-control": "no-store"})

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", []) if name.lower().decode() not in added]
            message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in added.items())]
        await send(message)

    return sending


async def _send(own: Answer, send: Send) -> None:
    headers = {**HEADERS, "cache-control": "no-store", "content-type": "text/plain; charset=utf-8"}
    listed = [(name.encode(), value.encode()) for name, value in (*headers.items(), *own.headers)]
    await send({"type": "http.response.start", "status": own.status, "headers": listed})
    await send({"type": "http.response.body", "body": own.text.encode()})


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _is_same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())
