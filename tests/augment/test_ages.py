import pytest

from augment.ages import years_of


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("50", 50), ("40,5", 40.5), ("58.0", 58), ("058Y", 58), ("085Y", 85), ("006M", 0.5), ("18 months", 1.5),
        ("45 years", 45), ("45 yrs", 45), ("45 years old", 45), ("730.5 days", 2), ("85+", 85), ("> 89", 89),
        (">= 90", 90), ("≥90", 90), ("90 or older", 90), ("<1", 0.5), ("60-70", 65), ("60 – 70", 65), ("[60-70)", 65),
        ("(60, 70]", 65), ("60 to 70", 65), ("0", 0),
    ],
)  # fmt: skip
def test_ages_are_read_as_archives_write_them(text, years):
    assert years_of(text) == pytest.approx(years, rel=1e-3)


@pytest.mark.parametrize("text", ["about 50", "-5", "inf", "413", "Y", "70-60", "1e9", "50;60", "+", "999Y", "O50"])
def test_what_is_no_age_is_none(text):
    assert years_of(text) is None
