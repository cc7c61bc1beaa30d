"""The auth string of the server that this program starts: drawn once, in a file that its user alone can read.

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
    """Give what opens the server at this address: the environment's; on this machine else the file's, if it is there.

    Ours is never sent to another machine, where it would be in the way of that server's own.
    """
    if given := os.environ.get(VARIABLE):
        return given
    with contextlib.suppress(OSError):  # none was drawn, or it is another user's
        return (KEPT.read_text(encoding="ascii").strip() or None) if local(api) else None
    return None


def header(api: str) -> dict[str, str]:
    """Give the HTTP header that opens the server at this address; none where nothing is known to."""
    found = auth_string(api)
    return {"Authorization": f"Basic {base64.b64encode(found.encode()).decode()}"} if found else {}


def draw() -> None:
    """An auth string is kept, drawn unless it was before, and the folder is its user's alone."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    HOME.chmod(0o700)  # an earlier version left it open
    if KEPT.is_file() and KEPT.stat().st_size:
        KEPT.chmod(0o600)
        return
    descriptor, drawn = tempfile.mkstemp(dir=HOME, prefix="auth.")  # 0600 from its first moment
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"lesionloom:{secrets.token_urlsafe(32)}\n")
    Path(drawn).replace(KEPT)  # whole, or not there


def guard(api: str) -> dict[str, str]:
    """Variables of a server that answers this machine alone, its own pages alone, and nobody without the auth string.

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
    """Tell whether the address is this machine's own, which nobody else reaches."""
    return urllib.parse.urlsplit(api).hostname in ("127.0.0.1", "localhost")


def sign_in() -> str:
    """What the login of the UI asks for, once in each browser, in words."""
    return f"your {VARIABLE}" if os.environ.get(VARIABLE) else "what `cat .prefect/auth` shows"
