"""What a person may ask for, and the settings of `generate` that it makes."""

import pytest

from augment.generate.config import GenerateConfig
from data.errors import ConfigError
from flows.page.settings import generate_config, samplers


def test_what_is_asked_is_laid_over_the_studys_settings(asked):
    own = GenerateConfig(jpeg_quality=90, negative_prompts={"df": "hair"})
    made = generate_config(own, asked(steps=7, guidance_scale=3.5, sampler="ddim", negative_prompt=" ruler "))
    assert (made.steps, made.guidance_scale, made.sampler, made.jpeg_quality) == (7, 3.5, "ddim", 90)
    assert made.for_label("df").negative_prompt == "ruler"
    assert made.edit is None


def test_the_studys_own_sampler_stays_where_none_is_chosen(asked):
    own = GenerateConfig(sampler="ddim")
    assert generate_config(own, asked()).sampler == "ddim"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 0}, "images: 0"),
        ({"count": 65}, "take 1 to 64"),
        ({"seed": -1}, "seed: -1"),
        ({"prompt": "  "}, "prompt: is empty"),
        ({"prompt": "(a:99)"}, "weight 99"),
        ({"negative_prompt": "(a:99)"}, "weight 99"),
        ({"steps": 0}, "drawing: steps"),
        ({"guidance_scale": 99.0}, "drawing: guidance_scale"),
        ({"sampler": "no-such"}, "no sampler is called"),
        ({"sampler": "plms", "source_image": "a"}, "cannot start midway"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_in_one_line(asked, changes, words):
    with pytest.raises(ConfigError, match=words) as fault:
        generate_config(GenerateConfig(), asked(**changes))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("redraw", "mode", "region"),
    [("all", "img2img", "lesion"), ("lesion", "inpaint", "lesion"), ("skin", "inpaint", "skin")],
)
def test_a_source_photograph_makes_an_edit_of_one_strength(asked, redraw, mode, region):
    edit = generate_config(GenerateConfig(), asked(source_image="a", strength=0.75, steps=8, redraw=redraw)).edit
    assert (edit.mode, edit.region, edit.strengths) == (mode, region, (0.75,))


def test_a_painted_mask_is_taken_as_it_is(asked):
    edit = generate_config(GenerateConfig(), asked(source_image="a", redraw="painted", steps=8), "masks").edit
    assert (edit.mode, edit.masks, edit.grow_mask) == ("inpaint", "masks", 0)


def test_the_menu_of_samplers_begins_with_the_studys(asked):
    names = samplers(GenerateConfig())
    assert next(iter(names.values())) == ""
    for name in names.values():
        generate_config(GenerateConfig(), asked(sampler=name, steps=8))
