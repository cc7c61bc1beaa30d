"""The challenge's own program scores what we write as we score it.

`isic_challenge/` holds 80 made-up images of seven classes, three of them `df`; their probabilities are the softmax of
normal scores, the true class's 1.4 higher. `decided.csv` puts 0.94 on the likeliest class of `predictions.csv`: the
program judges a class by itself at 0.5, and so by what we name the image. The JSON files are what
isic-challenge-scoring 5.6.0 printed (pandas 2.3.3: it does not run with pandas 3):

    isic-challenge-scoring -o json classification truth.csv predictions.csv > predictions.json
    isic-challenge-scoring -o json classification truth.csv decided.csv > decided.json
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from classify.metrics import balanced_accuracy, score
from classify.predict import ISIC_COLUMNS, Predictions
from data.phantoms.table import CODES
from data.sources.tables import Columns, read_rows

FOLDER = Path(__file__).parent / "isic_challenge"
SUBMISSIONS = ("predictions", "decided")
PROGRAM = "isic-challenge-scoring"


def scored_by_the_challenge(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def truth_and_named(name):
    """Class numbers of each image: its own by the challenge's ground truth, and the one that our reader names."""
    rows = read_rows(FOLDER / "truth.csv", [], Columns(image="image", one_hot=ISIC_COLUMNS))
    labels = dict(zip(rows["image_id"], rows["label"].str.lower(), strict=True))
    given = Predictions.read(FOLDER / f"{name}.csv")
    return np.array([given.classes.index(labels[image]) for image in given.image_ids]), given.predicted


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_balanced_accuracy_is_the_challenge_s(name):
    theirs = scored_by_the_challenge(name)
    assert balanced_accuracy(*truth_and_named(name), 7) == pytest.approx(theirs["overall"], abs=1e-12)
    assert theirs["aggregate"]["balanced_accuracy"] == theirs["overall"]


def test_every_class_is_scored_as_by_the_challenge():
    theirs = scored_by_the_challenge("decided")["per_category"]
    scores = score(*truth_and_named("decided"), 7)
    hits, all_named = scores.confusion.diagonal(), scores.confusion.sum(axis=0)
    n = np.array([recall.n for recall in scores.recalls])
    ours = {
        "sensitivity": [recall.value for recall in scores.recalls],
        "specificity": 1 - (all_named - hits) / (scores.n - n),
        "ppv": hits / all_named,
        "accuracy": 1 - (all_named + n - 2 * hits) / scores.n,
    }
    for what, values in ours.items():
        assert values == pytest.approx([theirs[what][code.upper()] for code in CODES], abs=1e-12), what
    assert len(set(ours["sensitivity"])) == 7  # or classes that were taken for one another could go unnoticed


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_the_challenge_s_file_is_read_and_written_as_the_same_bytes(name, tmp_path):
    given = Predictions.read(FOLDER / f"{name}.csv")
    given.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (FOLDER / f"{name}.csv").read_bytes()
    assert given.classes == CODES


def test_what_is_decided_is_what_we_name():
    given = Predictions.read(FOLDER / "predictions.csv")
    decided = Predictions.read(FOLDER / "decided.csv")
    assert decided.image_ids == given.image_ids
    np.testing.assert_allclose(decided.probabilities, 0.01 + 0.93 * np.eye(7)[given.predicted], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBMISSIONS)
def test_the_challenge_s_program_still_says_so(name, tmp_path):
    if not (program := shutil.which(PROGRAM)):
        pytest.skip(f"{PROGRAM} is not on the path; it needs an environment of its own, with pandas below 3")
    Predictions.read(FOLDER / f"{name}.csv").write(tmp_path / "ours.csv")
    command = [program, "-o", "json", "classification", str(FOLDER / "truth.csv"), str(tmp_path / "ours.csv")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said, kept = json.loads(ran.stdout), scored_by_the_challenge(name)
    assert said["overall"] == pytest.approx(kept["overall"], abs=1e-12)
    for what in ("sensitivity", "specificity", "ppv", "accuracy"):
        assert said["per_category"][what] == pytest.approx(kept["per_category"][what], abs=1e-12)
