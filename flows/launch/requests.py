"""Prefect's server over HTTP, with its auth string. Standard library only: importing Prefect takes seconds."""

import json
import os
import re
import time
import urllib.error
import urllib.request
from typing import Any

from flows.launch.auth import header
from flows.launch.environment import ROOT, StartError


def api() -> str:
    """The server's address: the environment's, else prefect.toml's."""
    if given := os.environ.get("PREFECT_API_URL"):
        return given.rstrip("/")
    found = re.search(r'^url = "(.+)"', (ROOT / "prefect.toml").read_text(), re.MULTILINE)
    if not found:
        raise StartError("prefect.toml names no api.url; put it back, or set PREFECT_API_URL")
    return found[1]


def ask(path: str, body: object = None, *, known: bool = True) -> Any:  # noqa: ANN401 - whatever the server answers
    """The server's answer, from JSON; a body makes it a POST. A busy server (SQLite is locked) is asked again."""
    for pause in (1, 2, 4, 8, 15, 30):
        try:
            return ask_once(path, body, known=known)
        except urllib.error.HTTPError as fault:
            if fault.code < 500:  # noqa: PLR2004 - the server's own trouble begins there
                raise
        except TimeoutError:
            pass
        time.sleep(pause)
    return ask_once(path, body, known=known)


def ask_once(path: str, body: object = None, *, method: str | None = None, known: bool = True) -> Any:  # noqa: ANN401
    """The server's answer to one request; not `known` leaves the auth string out."""
    headers = {"Content-Type": "application/json", **(header(api()) if known else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api() + path, data, headers, method=method)  # noqa: S310 - http only
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read() or "null")
