"""What a study can resolve is said from its plan, before anything is made."""

import dataclasses

from data.splits.split import SplitConfig
from flows.power import power, power_in_words
from flows.stages.table import make_plan
from flows.study import StudyConfig


def plans(prepare_study, split, folder, **changes):
    study = StudyConfig(split=SplitConfig(rare=("df",)), arms=("real",), output_dir=str(folder), **changes)
    return [make_plan(prepare_study(study, split))]


def points(text):
    return float(text.split("about ")[1].split(" points")[0])


def test_it_follows_the_test_part_and_the_seeds(prepare_study, make_split, tmp_path):
    split = make_split(drawn=False)
    two, five = (
        power_in_words(plans(prepare_study, split, tmp_path, seeds=seeds)) for seeds in ((0, 1), (0, 1, 2, 3, 4))
    )
    assert two.startswith("This study can resolve differences of about ")
    assert points(two) > points(five)
    assert power(plans(prepare_study, split, tmp_path, seeds=(0, 1))).outcome == two


def test_folds_test_every_image(prepare_study, make_split, tmp_path):
    (one,) = plans(prepare_study, make_split(drawn=False), tmp_path)

    def fold(number):
        split = dataclasses.replace(one.prepared.study.split, n_splits=2, fold=number)
        study = dataclasses.replace(one.prepared.study, split=split)
        return dataclasses.replace(one, prepared=dataclasses.replace(one.prepared, study=study))

    assert points(power_in_words([fold(0), fold(1)])) < points(power_in_words([one]))
