import json
import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:  # chromium.py is a file beside the tests, and tests are no package
    sys.path.insert(0, HERE)


@pytest.fixture
def open_one(tmp_path, make_split, prepare_study):
    """Gives an opened run whose rare class has four noise images; no step is planned unless it is named."""
    from data.pixels import PixelConfig
    from data.splits.split import SplitConfig
    from flows.page.opened import OpenedRun
    from flows.study import StudyConfig

    def opened(steps=None, **settings):
        study = StudyConfig(
            name="one",
            output_dir=str(tmp_path / "runs"),
            pixels=PixelConfig(size=64),
            split=SplitConfig(rare=("df",), shots=3),
            fill_to=6,
            **settings,
        )
        study.folder.mkdir(parents=True, exist_ok=True)
        (study.folder / "plan.json").write_text(json.dumps({"steps": steps or {}}))
        return OpenedRun(prepare_study(study, make_split(nv=6, mel=4, df=4)))

    return opened


@pytest.fixture
def asked():
    """Gives a request of two images in two steps from the base alone, with changes."""
    from flows.page.opened import BASE_ALONE
    from flows.page.settings import DrawSettings

    def settings(**changes):
        usual = {"label": "df", "generator": BASE_ALONE, "prompt": "dermoscopy of a dermatofibroma", "steps": 2}
        return DrawSettings(**{**usual, "count": 2, **changes})

    return settings


@pytest.fixture
def page_of():
    """Gives the session of an opened run; it is closed after the test."""
    from flows.page.session import PageSession

    sessions = []

    def session(opened):
        sessions.append(PageSession(opened))
        return sessions[-1]

    yield session
    for each in sessions:
        each.close()
