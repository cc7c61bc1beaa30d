"""The environment in `.venv`: exactly the locked packages, by uv where it is or can be had, else by pip.

Standard library only, since it runs before anything is installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


class StartError(Exception):
    """What a user can fix, in one line."""


def environment() -> None:
    """Install exactly the locked packages into `.venv`, unless its stamp is of this lock file."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is run by whatever Python there is
        raise StartError(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}; try python3.11")
    lock = ROOT / "requirements.lock"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()
    stamp = VENV / "lesionloom.lock.sha256"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    start = time.monotonic()
    print("environment: installing the locked packages into .venv (3 GB; minutes, once)", flush=True)
    uv = _uv()
    if not (VENV / "bin" / "python").exists():
        _run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(VENV)]
            if uv
            else [sys.executable, "-m", "venv", str(VENV)]
        )
    if not uv:
        _run([program("python"), "-m", "ensurepip", "--default-pip"], quiet=True)
        uv = _uv_from_pip()
    python = ["--python", program("python")]
    install = (  # with bytecode, as pip does it: each start takes half as long where Python may not write it later
        [uv, "pip", "install", *python, "--quiet", "--compile-bytecode"]
        if uv
        else [program("python"), "-m", "pip", "install", "--quiet"]
    )
    # The list is complete; pip would resolve again, and fail on extras, which it lists packages without.
    _run([*install, "--no-deps", "--require-hashes", "-r", str(lock)])
    _run([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    stamp.write_text(wanted)
    print(f"environment: ready after {time.monotonic() - start:.0f} s", flush=True)


def program(name: str) -> str:
    """Path of a program of the environment."""
    return str(VENV / "bin" / name)


def call(
    command: list[str], *, quiet: bool = False, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; quiet keeps what it prints instead of showing it."""
    environ = {**os.environ, **QUIET, **(env or {})}
    return subprocess.run(command, env=environ, capture_output=quiet, text=True, check=False)  # noqa: S603 - ours alone


def _uv() -> str | None:
    """A uv that works: the one on the path, or the one that pip installed into .venv; None: there is none."""
    for found in (shutil.which("uv"), shutil.which(program("uv"))):
        if found and call([found, "--version"], quiet=True).returncode == 0:
            return found
    return None


def _uv_from_pip() -> str | None:
    """Install uv, which is ten times faster than pip; None: it cannot be had, and pip is used."""
    call([program("python"), "-m", "pip", "install", "--quiet", "uv"], quiet=True)
    return _uv()


def _run(command: list[str], *, quiet: bool = False) -> None:
    if code := call(command, quiet=quiet).returncode:
        raise StartError(f"`{' '.join(command)}` failed with exit code {code}; fix that and type the same again")
