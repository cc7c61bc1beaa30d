import importlib.util

import diffusers
import pytest

from augment.diffusion.sampler_names import canonical_name, sampler_named
from augment.diffusion.sampler_table import SAMPLERS
from data.errors import ConfigError


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_found_by_each_of_its_names_and_by_what_records_have(name):
    row = SAMPLERS[name]
    for each in (name, *row.names, row.label.upper(), name.replace("-", "_")):
        assert canonical_name(each) == name
    for spacing in row.spacings:
        named = sampler_named(f"{row.label} {spacing.title()}")
        assert named == sampler_named(name, spacing) == sampler_named(str(named), spacing) == sampler_named(str(named))
        assert str(named) == f"{name}-{spacing}"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("DPM++ 2M Karras", "dpm++-2m-karras"),
        ("dpmsolver++2m", "dpm++-2m"),
        ("dpmsolver++2m-karras", "dpm++-2m-karras"),
        ("dpmsolver++2m-ays", "dpm++-2m-ays"),
        ("EulerAncestralDiscreteScheduler", "euler-a"),
        ("Euler a", "euler-a"),
        ("DPM2 a Karras", "dpm2-a-karras"),
        ("DPM++ 2M SDE Exponential", "dpm++-2m-sde-exponential"),
        ("DPM++ 2S a", "dpm++-2s"),  # diffusers has no ancestral one, and the record says so
        ("PNDMScheduler", "plms"),
    ],
)
def test_names_of_the_webui_of_diffusers_and_of_earlier_records_are_known(given, name):
    assert canonical_name(given) == name


def test_no_name_has_two_meanings():
    for name, row in SAMPLERS.items():
        assert [canonical_name(each) for each in row.names] == [name] * len(row.names)


def test_the_class_names_are_diffusers_own():
    for row in SAMPLERS.values():
        for each in row.names:
            if each.endswith("Scheduler"):
                assert getattr(diffusers, each) is row.scheduler


@pytest.mark.parametrize(
    ("name", "spacing", "message"),
    [
        ("Eulr", None, r"no sampler is called 'Eulr'; take euler"),
        ("DPM++ 2N Karras", None, r"take .*dpm\+\+-2m"),
        ("DPM adaptive", None, "dpm-adaptive is not offered: it chooses its steps .* take dpm.*"),
        ("dpm_adaptive karras", None, "dpm-adaptive is not offered"),
        (
            "Euler a",
            "karras",
            "euler-a cannot have karras noise levels in diffusers; it takes linspace, leading, trail",
        ),
        ("DPM++ 2S a Karras", "beta", "has karras noise levels and sigmas asks for beta; leave one of them out"),
        ("ddim-linspace", None, "ddim cannot have linspace noise levels"),
        ("lcm", "karras", "it takes its own noise levels alone"),
    ],
)
def test_what_cannot_be_had_is_refused_in_a_line_that_says_what_can(name, spacing, message):
    with pytest.raises(ConfigError, match=message) as refused:
        sampler_named(name, spacing)
    assert "\n" not in str(refused.value)


def test_a_name_like_no_other_is_answered_with_all():
    with pytest.raises(ConfigError) as refused:
        sampler_named("")
    assert all(name in str(refused.value) for name in SAMPLERS)


def test_names_are_known_whether_or_not_the_package_is_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert canonical_name("DPM++ SDE Karras") == "dpm++-sde-karras"
