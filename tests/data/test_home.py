"""Records name no user: paths in the home folder begin with ~, and mean the same where they are read."""

import pytest

from data.home import with_home, without_home

CONFIG = {
    "data": {"folder": "/home/jane/set", "table": "t.csv", "test": None},
    "arms": ["real", {"folder": "/home/jane/made"}],
    "seeds": [0, 1],
    "output_dir": "/home/jane",
    "note": "/home/janet/set",
}


@pytest.fixture
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/jane")


def test_a_path_in_the_home_folder_is_written_without_it_and_read_back(home):
    written = without_home(CONFIG)
    assert written["data"] == {"folder": "~/set", "table": "t.csv", "test": None}
    assert written["arms"] == ["real", {"folder": "~/made"}]
    assert (written["output_dir"], written["note"], written["seeds"]) == ("~", "/home/janet/set", [0, 1])
    assert with_home(written) == CONFIG


def test_a_user_whose_home_is_the_root_keeps_paths_as_they_are(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert without_home(CONFIG) == CONFIG


def test_a_user_name_of_the_folder_is_not_taken_for_a_path_within_text(home):
    assert without_home("see /home/jane/set") == "see /home/jane/set"
    assert with_home("~5 percent") == "~5 percent"
