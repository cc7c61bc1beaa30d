"""The dose of synthetic images that the validation part chooses."""

from dataclasses import replace

from reports import findings
from reports.doses import doses_of
from reports.schema import ArmTraining
from reports.summary import summarise


def training(*scores):
    seeds = {str(seed): score for seed, score in enumerate(scores)}
    return ArmTraining(counts={}, steps=1, best_steps={}, seconds=0.0, validation=seeds)


ARMS = {
    "real": training(0.50, 0.51),
    "synthetic": training(0.9, 0.9),  # fills up; not a dose
    "synthetic@5x": training(0.61, 0.60),
    "synthetic@1x": training(0.60, 0.61),
}


def test_doses_stand_in_rising_order_from_none():
    doses = doses_of(ARMS)
    assert list(doses.validation) == ["real", "synthetic@1x", "synthetic@5x"]
    assert doses.chosen == "synthetic@1x"


def test_one_dose_is_no_choice():
    assert doses_of({name: ARMS[name] for name in ("real", "synthetic", "synthetic@1x")}) is None


def test_the_report_names_the_dose_and_the_scores(make_run):
    summary = summarise(make_run(arms=("real", "oversampled", "synthetic", "synthetic@1x", "synthetic@2x")))
    assert summary.doses.chosen == "real"  # every score is 0.6
    assert "no synthetic images" in findings.doses(summary)
    assert "synthetic@2x 0.600" in findings.doses(replace(summary, doses=summary.doses))
    assert findings.doses(replace(summary, doses=None)) == ""
