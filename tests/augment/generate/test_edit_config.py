import pytest

from augment.generate.config import GenerateConfig
from augment.generate.edit_config import EditConfig
from data.config import parse
from data.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"edit": {"mode": "img2im"}}, "edit.mode: Input should be 'img2img', 'inpaint' or 'outpaint'"),
        ({"edit": {"strengths": [0]}}, "edit.strengths"),
        ({"edit": {"strengths": []}}, "edit.strengths"),
        ({"edit": {"masks": "folder"}}, "masks and region are for mode: inpaint, not img2img"),
        ({"edit": {"mode": "outpaint", "region": "skin"}}, "masks and region are for mode: inpaint, not outpaint"),
        ({"edit": {"mode": "outpaint", "strengths": [0.5]}}, "outpaint draws its padding from noise"),
        ({"edit": {}, "steps": 3}, "strength 0.25 of 3 steps makes none; raise it to 0.33 or take more steps"),
        ({"edit": {}, "sampler": "PLMS"}, "edit: sampler plms cannot start midway in diffusers; take dpm++-2m or ddim"),
        ({"edit": {}, "sampler": "LMS Karras"}, "edit: sampler lms cannot start midway"),
        ({"edit": {"strenght": [1]}}, "did you mean 'strengths'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_in_one_line(settings, words):
    with pytest.raises(ConfigError) as refused:
        parse(GenerateConfig, settings, "generate")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_edits_the_settings_that_images_depend_on_are_as_before():
    assert "edit" not in GenerateConfig().result_settings()
    found = GenerateConfig(edit=EditConfig(mode="inpaint", masks="somewhere")).result_settings()["edit"]
    assert (found["mode"], found["masks"], found["strengths"]) == ("inpaint", "files", [0.25, 0.5, 0.75, 1.0])


def test_the_weight_of_the_source_s_class_falls_with_the_strength():
    edit = EditConfig(source="other", label_gamma=0.5)
    assert [edit.source_weight(strength) for strength in (0.25, 1)] == [0.5, 0]
    assert EditConfig(mode="outpaint").chosen_strengths == (1.0,)
