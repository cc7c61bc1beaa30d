"""A request reaches the fine-tune that is at work, and no other."""

import subprocess
import sys

import pytest

from augment.finetune.stopping import FOLDER, Announcement, in_training, request_stop
from data.errors import InputError


@pytest.fixture
def announced(tmp_path):
    """Announces a class; what is left is withdrawn at the end."""
    made = []

    def announce(label):
        made.append(Announcement(tmp_path, label))
        return made[-1]

    yield announce
    for each in made:
        each.withdraw()


def test_a_request_reaches_the_named_class_alone(tmp_path, announced):
    df, vasc = announced("df"), announced("vasc")
    assert in_training(tmp_path) == ("df", "vasc")
    assert request_stop(tmp_path, ["vasc"]) == ("vasc",)
    assert (df.stop_requested, vasc.stop_requested) == (False, True)


def test_without_names_all_that_are_in_training_stop(tmp_path, announced):
    each = [announced(label) for label in ("vasc", "df")]
    assert request_stop(tmp_path) == ("df", "vasc")
    assert all(one.stop_requested for one in each)


def test_what_has_ended_leaves_nothing_and_takes_no_request(tmp_path, announced):
    announced("df").withdraw()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no fine-tune is at work there; give the folder of a run while its fine-tune"):
        request_stop(tmp_path)


@pytest.mark.parametrize("run", ["", "nowhere"])
def test_a_run_without_a_fine_tune_refuses_in_one_line_and_is_left_as_it_is(tmp_path, run):
    with pytest.raises(InputError, match="no fine-tune is at work there"):
        request_stop(tmp_path / run, ["df"])
    assert list(tmp_path.iterdir()) == []


def test_one_class_that_is_not_in_training_stops_none(tmp_path, announced):
    df = announced("df")
    with pytest.raises(InputError, match=r"'mel' is not being fine-tuned now; name one of df$"):
        request_stop(tmp_path, ["df", "mel"])
    assert not df.stop_requested


def test_a_request_for_one_training_does_not_stop_the_next_of_its_class(tmp_path, announced):
    first = announced("df")
    request_stop(tmp_path)
    first.withdraw()
    assert not announced("df").stop_requested


KILLED = """
import os, signal, sys
from pathlib import Path
from augment.finetune.stopping import Announcement, request_stop
run = Path(sys.argv[1])
one = Announcement(run, "df")
request_stop(run)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_fine_tune_takes_no_request_and_its_own_stops_nobody(tmp_path, announced):
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -9
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".json", ".lock", ".stop"}
    assert in_training(tmp_path) == ()
    with pytest.raises(InputError, match="no fine-tune is at work there"):
        request_stop(tmp_path)
    again = announced("df")
    assert not again.stop_requested
    assert {path.suffix for path in (tmp_path / FOLDER).iterdir()} == {".json", ".lock"}


def test_another_process_may_ask(tmp_path, announced):
    df = announced("df")
    program = "import sys; from pathlib import Path; from augment.finetune.stopping import request_stop as ask; "
    asked = subprocess.run(
        [sys.executable, "-c", program + "print(ask(Path(sys.argv[1])))", str(tmp_path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert asked.stdout.strip() == "('df',)"
    assert df.stop_requested


def test_a_file_that_is_no_announcement_is_not_read_as_one(tmp_path, announced):
    announced("df")
    (tmp_path / FOLDER / "x.json").write_text("{")
    assert in_training(tmp_path) == ("df",)
