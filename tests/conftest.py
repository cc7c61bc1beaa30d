"""Property tests draw the same cases each time, so that a run says something about the code and not about its luck.

HYPOTHESIS_PROFILE=explore draws others every time, to look for more.

Where tests run side by side each process keeps to one thread: more would wait for each other.
"""

import os

from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; programs that tests start have it too

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
