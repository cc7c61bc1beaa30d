"""Property tests draw the same cases each time, so that a run says something about the code and not about its luck.

HYPOTHESIS_PROFILE=explore draws others every time, to look for more.

Where tests run side by side each process keeps to one thread: more would wait for each other.
"""

import os
import subprocess
from io import BytesIO

import pytest
from hypothesis import settings
from PIL import EpsImagePlugin, Image

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; programs that tests start have it too

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def eps(monkeypatch):
    """The bytes of an EPS picture, to be called .jpg. A test that has them fails where a program is started."""
    buffer = BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", _started)  # Pillow's, where Ghostscript is installed or not
    monkeypatch.setattr(subprocess, "Popen", _NoProgram)
    return buffer.getvalue()


def _started(*given, **more):
    raise AssertionError("a program was started")


class _NoProgram(subprocess.Popen):
    """Still a class, since libraries derive their own from it as they are imported."""

    __init__ = _started
