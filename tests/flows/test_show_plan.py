"""A plan is shown, and nothing is made for that."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flows.augment_and_evaluate import main as run
from flows.show_plan import plans_without_writing, show_plans
from flows.study import load_study

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


def shown(study):
    out = io.StringIO()
    show_plans(plans_without_writing(study), Console(file=out, width=120, highlight=False))
    return out.getvalue()


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_plan_lists_steps_needs_counts_and_disk_and_makes_nothing(small_study, tmp_path):
    study = load_study(small_study[0], [*small_study[1:], f"output_dir={tmp_path}"])
    page = shown(study)
    assert not list(tmp_path.iterdir())
    assert re.search(r"^84 images of 7 classes: train \d+, validation \d+, test \d+$", page, re.MULTILINE)
    assert re.search(r"^images df +fine-tune df +to be made", page, re.MULTILINE)
    assert re.search(r"^arm synthetic 0 +images df, probe +to be made", page, re.MULTILINE)
    assert "8 steps, 8 to be made; disk: at most" in page


def test_after_a_run_the_plan_says_what_is_there_and_changes_nothing(small_study, tmp_path):
    overrides = [*small_study[1:], f"output_dir={tmp_path}", "arms=[real]"]
    assert run([small_study[0], *overrides]) == 0
    before = files(tmp_path)
    assert "1 steps, 0 to be made" in shown(load_study(small_study[0], overrides))
    more = shown(load_study(small_study[0], [*overrides, "seeds=[0, 1]"]))
    assert re.search(r"^arm real 0 +- +finished", more, re.MULTILINE)
    assert re.search(r"^arm real 1 +- +to be made", more, re.MULTILINE)
    other = shown(load_study(small_study[0], [*overrides, "study_seeds=[1]"]))
    assert "1 steps, 1 to be made" in other
    assert files(tmp_path) == before


def test_a_plan_of_images_that_have_changed_since_the_run_changes_nothing(small_study, tmp_path):
    images = tmp_path / "images"
    for label, shade in (("a", 1), ("b", 2), ("df", 3)):
        (images / label).mkdir(parents=True)
        for i in range(8):
            noise = np.random.default_rng([shade, i]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(images / label / f"{label}{i}.png")
    data = ["data={source: folders}", f"data.folder={images}"]
    overrides = [*small_study[1:3], *small_study[5:], *data, f"output_dir={tmp_path / 'runs'}", "arms=[real]"]
    assert run([small_study[0], *overrides]) == 0
    shutil.copy(images / "a" / "a0.png", images / "a" / "again.png")
    before = files(tmp_path)
    assert "25 images of 3 classes" in shown(load_study(small_study[0], overrides))
    assert files(tmp_path) == before


def test_what_repeats_share_is_listed_once(small_study, tmp_path):
    own = [f"output_dir={tmp_path}", "study_seeds=[0]", "generator_seeds=[1, 2]"]
    page = shown(load_study(small_study[0], [*small_study[1:], *own]))
    assert re.search(r"^seed 0, generator 1: train \d+", page, re.MULTILINE)
    assert page.count("arm real 0") == page.count("arm oversampled 0") == 1
    assert len(re.findall("^(?:arm synthetic 0|fine-tune df) ", page, re.MULTILINE)) == 4
    assert "4 more as above: the same artefacts" in page
    assert "12 steps of 2 repeats, 12 to be made; disk: at most" in page
