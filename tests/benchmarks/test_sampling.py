"""The benchmark of the sampler counts and compares rightly; how fast anything is, it says by itself."""

import pytest
import torch
from sampling import Measurement, flops_of, ratios, table
from sampling_ways import BASES, DOCUMENTED, QUALITY, SAME, Way, ways
from torch.utils.flop_counter import FlopCounterMode

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.diffusion.conditioning import encode_prompt

_COUNTED = {SAME, "guidance in the first half", "preset fast"}


def way(name, *, ours=False, same=None, images=1, calls=1):
    return Way(
        name=name,
        ours=ours,
        steps=20,
        images=images,
        dtype=torch.float32,
        calls=calls,
        sample=lambda _: None,
        same=same,
    )


def found(rates, **options):
    return Measurement(way=way(**options), first=0.5, flops=2e9, rates=rates, memory=[1.0] * len(rates))


def test_a_ratio_is_of_one_round_and_the_table_has_a_row_a_way():
    documented = found([1.0, 2.0, 4.0], name=DOCUMENTED)
    same = found([2.0, 2.0, 2.0], name=SAME)
    ours = found([4.0, 10.0, 16.0], name=QUALITY, ours=True, same=SAME)
    assert ratios(ours.rates, documented.rates) == [4.0, 5.0, 4.0]
    lines = table([documented, same, ours], {"torch.float32": 1e11}).splitlines()
    assert len(lines) == 5
    cells = [cell.strip() for cell in lines[-1].split("|")][1:-1]
    assert cells[0] == f"ours, {QUALITY}"
    assert cells[3:8] == ["10 [4, 16]", "4 [4, 5]", "5 [2, 8]", "0.02", "20%"]
    assert "| - |" in lines[2]


@pytest.fixture(scope="module")
def found_ways():
    return ways(build_tiny_model(TinyModelConfig()), 2, compiled=False)


def test_the_denoisers_calls_of_an_image_are_as_many_as_the_way_says(monkeypatch):
    calls = []
    base = build_tiny_model(TinyModelConfig())
    forward = type(base.unet).forward

    def counted(self, sample, *given, **named):
        calls.append(len(sample))
        return forward(self, sample, *given, **named)

    monkeypatch.setattr(type(base.unet), "forward", counted)
    for each in [one for one in ways(base, 2, compiled=False) if one.name in _COUNTED]:
        calls.clear()
        each.sample(None)
        assert sum(calls) == each.calls * each.images, each.name


def test_each_of_ours_is_held_against_a_reference_of_its_steps_and_batch(found_ways):
    references = {each.name: each for each in found_ways if not each.ours}
    held = [each for each in found_ways if each.same]
    assert len(held) >= 3
    for each in held:
        same = references[each.same]
        assert (each.steps, each.images, each.calls) == (same.steps, same.images, same.calls)


def test_flops_counted_in_shapes_are_those_of_a_real_call():
    base = build_tiny_model(TinyModelConfig())
    prompt_embeds = encode_prompt(base, "")
    with torch.no_grad(), FlopCounterMode(display=False) as real:
        base.unet(torch.randn(1, 8, 16, 16), torch.tensor(5), prompt_embeds)
    once, twice = (flops_of(base, way("x", calls=calls)) for calls in (1, 2))
    assert twice - once == real.get_total_flops()


@pytest.mark.slow
def test_the_shape_of_stable_diffusion_15_costs_what_it_is_known_to_cost():
    with torch.device("meta"):
        base = BASES["sd15-shape"]()
    one, two = flops_of(base, way("x", calls=1)), flops_of(base, way("x", calls=2))
    assert two - one == pytest.approx(0.803e12, rel=0.01)  # counted before: a denoiser's call at 512 px
    assert 2 * one - two == pytest.approx(2.51e12, rel=0.02)  # and the decoder's
    assert sum(parameter.numel() for parameter in base.unet.parameters()) == 859_520_964
