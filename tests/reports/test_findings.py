"""What the headline means for photographs and classes, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports import findings
from reports.schema import Curve, Found, Place, Worth
from reports.summary import summarise


def test_photographs_found_are_told_for_malignant_classes_first(make_run):
    summary = summarise(make_run())
    assert findings.found(summary).startswith("Of 12 photographs of actinic keratosis ")
    summary.config["malignant"] = ["mel", "bcc"]
    assert findings.ordered_classes(summary)[:3] == ["bcc", "mel", "akiec"]
    assert findings.found(summary).startswith("Of 16 photographs of basal cell carcinoma ")
    assert findings.found(summary).endswith("with synthetic in place of oversampled.")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (15, 4, "11 fewer found (15 → 4)"),
        (14.5, 15.5, "1 more found (14.5 → 15.5)"),
        (8, 8, "as many found (8 → 8)"),
        (1 / 3, 2, "1.7 more found (0.3 → 2)"),
    ],
)
def test_a_change_in_photographs_is_that_of_the_numbers_beside_it(before, after, expected):
    assert findings.found_in_words(Found(images=34, first=after, second=before)) == expected


def test_classifiers_worse_than_naming_the_commonest_class_are_said_to_be_so(make_run):
    good, poor = summarise(make_run(skill=dict.fromkeys(("real", "oversampled", "synthetic"), 6.0))), summarise(
        make_run(name="poor", skill=dict.fromkeys(("real", "oversampled", "synthetic"), 0.0)))  # fmt: skip
    assert findings.warnings(good) == []
    (commonest, *chance) = findings.warnings(poor)
    assert commonest.startswith("Every arm lies below always naming the commonest class: plain accuracy 0.")
    assert commonest.split(" against ")[1].startswith("0.395.")  # 60 of 152 test images are nv
    assert [each.split(" holds chance")[0] for each in chance] == [
        f"The interval of {arm}" for arm in ("real", "oversampled", "synthetic")
    ]
    alone = tuple((0, 0, 0, 0, 0, sum(row), 0) for row in poor.confusion["real"])
    collapsed = findings.warnings(replace(poor, confusion=poor.confusion | {"real": alone}))
    assert "The classifiers of real name nearly every image nv: they have learnt nothing else." in collapsed


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((29.3, 19.2, 46.8, False, False, False), "29 photographs [19, 47]"),
        ((18.0, None, 47.0, False, False, False), "18 photographs [fewer than 16, 47]"),
        ((50.0, 19.0, None, False, False, False), "50 photographs [19, 64 or more]"),
        ((None, 40.0, None, False, False, False), "64 or more photographs [40, 64 or more]"),
        ((None, None, 20.0, True, False, False), "fewer than 16 photographs [fewer than 16, 20]"),
        ((None, None, None, True, False, True), "fewer than 16 photographs"),
        ((None, None, None, False, True, False), "64 or more photographs"),
    ],
)
def test_a_worth_outside_the_curve_is_said_to_be_outside(place, expected):
    names = ("value", "low", "high", "is_below", "low_is_above", "high_is_below")
    found = Place(**dict(zip(names, place, strict=True)))
    assert findings.photographs_in_words(found, [16.0, 32.0, 64.0]) == expected


def test_the_worth_of_the_headlines_images_stands_beside_the_difference(make_run):
    summary = summarise(make_run())
    assert findings.worth(summary) == ""
    place = Place(value=29.0, low=19.0, high=47.0, is_below=False)
    worth = Worth(arm="synthetic", photographs=16.0, place=place, by_class={})
    curve = Curve(photographs={"real@16": 16.0, "real": 64.0}, risen={"real@16": 0.4, "real": 0.6}, worths=(worth,))
    assert findings.worth(replace(summary, curve=curve)) == (
        "16 photographs and the synthetic images did as well as 29 photographs [19, 47] of a rare class."
    )
