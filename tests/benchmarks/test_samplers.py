"""The benchmark of samplers measures and tabulates rightly; how fast anything is, it says by itself."""

import importlib.util

import numpy as np
import pytest
from samplers import DEFAULT, Measurement, chosen, main, measure, rms, table

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.sample import PromptedSeeds
from data.errors import ConfigError


def test_the_distance_is_the_root_mean_square_in_grey_levels():
    black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.uint8)
    grey[0, 0] = 200
    assert rms(black, grey) == rms(grey, black) == pytest.approx(200 / np.sqrt(2))


def test_a_row_a_sampler_with_ratios_of_one_round_and_bold_beyond_the_limit():
    default = Measurement(name=DEFAULT, calls=20, distance=1.26, karras=0.5, seconds=[1.0, 2.0, 4.0])
    heun = Measurement(name="heun", calls=39, distance=3.1, karras=2.0, seconds=[2.0, 6.0, 8.0])
    noisy = Measurement(name="euler-a", calls=20, seconds=[1.0, 2.0, 4.0])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table([default, heun, noisy]).splitlines()]
    assert len(rows) == 5
    assert rows[2] == ["DPM++ 2M", "`dpm++-2m`", "20", "1.3", "0.5", "2.00", "1 [1, 1]"]
    assert rows[3] == ["Heun", "`heun`", "39", "**3.1**", "2.0", "6.00", "2 [2, 3]"]
    assert rows[4][3:5] == ["-", "-"]


def test_calls_and_distances_are_those_of_the_sampler():
    pipe = build_tiny_model(TinyModelConfig())
    embeds = encode_prompt(pipe, "nevus")
    images = PromptedSeeds(prompt_embeds=embeds, negative_embeds=embeds, seeds=[1])
    found = {each.name: each for each in measure(pipe, images, [DEFAULT, "heun", "euler-a"], 1)}
    assert [each.calls for each in found.values()] == [20, 39, 20]
    assert found[DEFAULT].distance > 0
    assert found["heun"].karras != found["heun"].distance
    assert found["euler-a"].distance is None
    assert all(len(each.seconds) == 1 for each in found.values())


def test_samplers_are_chosen_by_any_name_and_the_default_is_always_among_them(monkeypatch, capsys):
    assert chosen("Euler a,HeunDiscreteScheduler") == [DEFAULT, "euler-a", "heun"]
    with pytest.raises(ConfigError, match="no sampler is called 'Hein'"):
        chosen("Hein")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert "dpm++-sde" not in chosen(None)
    assert main(["--samplers", "DPM++ SDE"]) == 2
    assert "needs torchsde" in capsys.readouterr().err
