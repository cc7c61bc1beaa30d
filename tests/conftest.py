"""Property tests draw the same cases each time, so that a run says something about the code and not about its luck.

HYPOTHESIS_PROFILE=explore draws others every time, to look for more.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
