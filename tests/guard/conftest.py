import sys
from pathlib import Path

GUARD = str(Path(__file__).parent)
if GUARD not in sys.path:  # the program is a file beside the test, and tests are no package
    sys.path.insert(0, GUARD)
