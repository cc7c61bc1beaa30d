"""The figures of fidelity and of the choice of a step, from a run's records to the page."""

import dataclasses
import json

import pytest

from augment.methods.record import AdapterRecord, ChosenStep
from data.errors import InputError
from data.splits.provenance import Provenance
from reports import fidelity as module
from reports.render import render
from reports.schema import Interval, Summary
from reports.summary import summarise

FEATURES = "EfficientNet-Lite0, trained on ImageNet"


def figures(distance, shares=(0.8, 0.4, 1.1, 0.7)):
    found = {"kernel_distance": {"value": distance, "low": distance - 0.2, "high": distance + 0.2}}
    for name, value in zip(module.SHARES, shares, strict=True):
        found[name] = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return found


def rows(synthetic):
    sets = {"synthetic": (60, synthetic), "shots": (16, 0.1), "real": (33, 0.0)}
    return {name: {"images": n, "figures": figures(distance)} for name, (n, distance) in sets.items()}


@pytest.fixture
def run(make_run):
    """A run with fidelity records of two classes, the second with too few photographs."""
    folder = make_run()
    write(folder, "akiec", {"photographs": 33, "features": FEATURES, "drawn": [16, 8], "rows": rows(1.2)})
    few = {"synthetic": {"images": 60, "figures": {}}, "shots": {"images": 16, "figures": {}}}
    few["real"] = {"images": 3, "figures": {}}
    write(folder, "df", {"photographs": 3, "features": FEATURES, "drawn": [0, 0], "rows": few})
    coded = {"images": 32, "value": 38.1, "low": 33.0, "high": 41.5}
    keep(folder, "reconstruction", "fidelity/reconstruction-1", {"size": 64, "classes": {"akiec": coded, "nv": coded}})
    return folder


def write(folder, label, record):
    """A class's record, and its place in run.json."""
    keep(folder, ("fidelity", label), f"fidelity/{label}-1", {"label": label, **record})


def keep(folder, keys, place, record):
    path = folder / place / ("reconstruction.json" if keys == "reconstruction" else "fidelity.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    whole = json.loads((folder / "run.json").read_text())
    if keys == "reconstruction":
        whole["artifacts"]["reconstruction"] = place
    else:
        whole["artifacts"].setdefault("fidelity", {})[keys[1]] = place
    (folder / "run.json").write_text(json.dumps(whole))


def section(folder, name="fidelity"):
    page = render(summarise(folder), folder)
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_a_run_without_such_steps_has_no_section(make_run):
    folder = make_run()
    assert summarise(folder).fidelity is None
    assert 'id="fidelity"' not in render(summarise(folder), folder)


def test_the_summary_has_every_figure_and_reads_back(run, tmp_path):
    summary = summarise(run)
    found = summary.fidelity
    assert found.features == FEATURES
    assert found.classes["akiec"].rows["synthetic"].figures["kernel_distance"] == Interval(mean=1.2, low=1.0, high=1.4)
    assert (found.classes["akiec"].photographs, found.classes["akiec"].drawn) == (33, (16, 8))
    assert found.reconstruction["akiec"].images == 32
    summary.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json").fidelity == found


def test_the_page_names_the_features_the_figures_and_what_they_say(run):
    page = section(run)
    assert FEATURES in page
    assert "1.20 [1.00,\N{NO-BREAK SPACE}1.40]" in page
    assert "synthetic images are farther from the photographs than these are from each other" in page
    assert "3 unseen photographs: too few to compare with" in " ".join(page.split())
    assert "38.1" in page
    assert "33.0 to 41.5" in page


def test_images_within_the_range_of_real_ones_are_not_told_from_them(run):
    write(run, "akiec", {"photographs": 33, "features": FEATURES, "drawn": [16, 8], "rows": rows(0.3)})
    assert "synthetic images are not distinguishable from photographs by the kernel distance" in section(run)


def test_without_a_network_the_section_says_so_and_shows_the_autoencoder_alone(run):
    for label in ("akiec", "df"):
        write(run, label, {"photographs": 33, "features": "", "rows": {}})
    page = section(run)
    assert "No features." in page
    assert "KID [95" not in page
    assert "38.1" in page


@pytest.mark.parametrize(("regime", "said"), [("limited", True), ("shots", False)])
def test_where_the_classifier_is_limited_the_photographs_are_said_to_measure_only(run, regime, said):
    record = json.loads((run / "run.json").read_text()) | {"regime": regime}
    (run / "run.json").write_text(json.dumps(record))
    assert ("they measure the generator and train nothing" in section(run)) == said


def test_few_photographs_leave_the_kernel_distance_alone(run):
    some = {name: {"images": 9, "figures": {"kernel_distance": figures(2.0)["kernel_distance"]}} for name in rows(2.0)}
    write(run, "df", {"photographs": 9, "features": FEATURES, "drawn": [0, 0], "rows": some})
    assert "9 unseen photographs: too few for all but the kernel distance" in " ".join(section(run).split())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.234, "1.23 [1.03, 1.43]"), (-0.001, "0.00 [−0.20, 0.20]"), (-0.3, "−0.30 [−0.50, −0.10]")],
)
def test_distances_have_two_decimals_and_a_minus_where_they_are_below_zero(value, expected):
    assert module.distance(Interval(mean=value, low=value - 0.2, high=value + 0.2)) == expected
    assert module.distance(None) == module.share(None) == "–"


CHOSEN = ChosenStep(
    step=100,
    images=32,
    features=FEATURES,
    held_out=16,
    origin="other lesions of the train part",
    chosen_by=Provenance(group_ids=frozenset({"g-1"})),
)
TABLE = "step,kernel_distance,standard_error,less,less_error,kept\n"


def choose(run, chosen, points="50,0.02,0.004,0,0,1\n100,0.01,0.003,-0.01,0.002,1\n150,0.012,0.003,0.002,0.002,0\n"):
    folder = run / "finetune/0-22"
    dataclasses.replace(AdapterRecord.read(folder), chosen=chosen).write(folder)
    (folder / "choice.csv").write_text(TABLE + points)


def test_the_choice_of_a_step_is_drawn_beside_the_loss(run):
    choose(run, CHOSEN)
    found = summarise(run).finetunes["akiec"].choice
    assert [(point.step, point.kept) for point in found.points] == [(50, True), (100, True), (150, False)]
    assert (found.step, found.photographs, found.points[2].error) == (100, 16, 0.003)
    page = section(run, "pictures")
    assert "step 100 was kept" in page
    assert page.count('class="step"') == 2
    assert "of 32 images to 16 photographs (other lesions of the train part)" in page


def test_a_last_step_that_was_kept_without_a_choice_says_why(run):
    choose(run, ChosenStep(step=200, reason="3 other lesions of its train part are too few"))
    assert summarise(run).finetunes["akiec"].choice.points == ()
    assert "The last step was kept: 3 other lesions of its train part are too few." in section(run, "pictures")


@pytest.mark.parametrize("row", ["50,low,0.1,0,0,1\n", "50,nan,0.1,0,0,1\n"])
def test_a_broken_record_of_the_choice_is_refused(run, row):
    choose(run, CHOSEN, row)
    with pytest.raises(InputError, match=r"choice\.csv.*start the run again"):
        summarise(run)


def test_repeats_are_pooled_by_means_and_a_figure_that_one_lacks_is_left_out(run):
    first = summarise(run).fidelity
    write(run, "akiec", {"photographs": 20, "features": FEATURES, "drawn": [10, 8], "rows": rows(3.2)})
    second = summarise(run).fidelity
    pooled = module.pooled_fidelity([first, second])
    found = pooled.classes["akiec"].rows["synthetic"].figures["kernel_distance"]
    assert (found.mean, found.low, found.high) == pytest.approx((2.2, 2.0, 2.4))
    assert (pooled.repeats, pooled.classes["akiec"].photographs) == (2, 20)
    assert pooled.reconstruction == first.reconstruction
    few = {name: {"images": 9, "figures": {}} for name in rows(2.0)}
    write(run, "akiec", {"photographs": 3, "features": FEATURES, "drawn": [0, 0], "rows": few})
    third = summarise(run).fidelity
    assert module.pooled_fidelity([first, third]).classes["akiec"].rows["synthetic"].figures == {}
    assert module.pooled_fidelity([first, None]) is None
