"""The auth string of the server that this program starts: random, created once, in a file that its user alone can read.

Without one every web page and every other user of the machine could have the worker run a command. Standard
library only, since set-up runs before anything is installed.
"""

import base64
import contextlib
import os
import secrets
import tempfile
import urllib.parse
from pathlib import Path

from flows.launch.environment import ROOT

HOME = ROOT / ".prefect"  # the server's database and logs; your own Prefect profile is left alone
KEPT = HOME / "auth"
VARIABLE = "PREFECT_API_AUTH_STRING"


def auth_string(api: str) -> str | None:
    """The auth string of the server at this address: the environment's, else for a local one the file's; None: unknown.

    Ours is never sent to another machine, whose server has its own.
    """
    if given := os.environ.get(VARIABLE):
        return given
    with contextlib.suppress(OSError):  # there is none, or it is another user's
        return (KEPT.read_text(encoding="ascii").strip() or None) if local(api) else None
    return None


def header(api: str) -> dict[str, str]:
    """The HTTP header with the auth string of the server at this address; empty if that is unknown."""
    found = auth_string(api)
    return {"Authorization": f"Basic {base64.b64encode(found.encode()).decode()}"} if found else {}


def create_auth_string() -> None:
    """Write a random auth string into its file unless there is one; only its user can read file and folder."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    HOME.chmod(0o700)  # an earlier version left it open
    if KEPT.is_file() and KEPT.stat().st_size:
        KEPT.chmod(0o600)
        return
    descriptor, drawn = tempfile.mkstemp(dir=HOME, prefix="auth.")  # 0600 from its first moment
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"lesionloom:{secrets.token_urlsafe(32)}\n")
    Path(drawn).replace(KEPT)  # whole, or not there


def server_variables(api: str) -> dict[str, str]:
    """Environment variables of a server that answers only this machine, only its own pages, only with the auth string.

    The UI asks http://127.0.0.1 also where it was opened as http://localhost, so both are its own pages.
    """
    port = urllib.parse.urlsplit(api).port
    names = [f"http://{name}" + (f":{port}" if port else "") for name in ("127.0.0.1", "localhost")]
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_AUTH_STRING": auth_string(api) or "",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(names),
    }


def local(api: str) -> bool:
    """Whether the address is this machine's own, which nobody else reaches."""
    return urllib.parse.urlsplit(api).hostname in ("127.0.0.1", "localhost")


def sign_in() -> str:
    """What to enter at the UI's login, once in each browser, in words."""
    return f"your {VARIABLE}" if os.environ.get(VARIABLE) else "what `cat .prefect/auth` shows"
