import copy
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.base.param_count import base_parts
from augment.diffusion.conditioning import Conditioning, encode_prompt
from augment.methods.lora_layers import target_layers
from augment.methods.lycoris import FILE, LohaConfig, LokrConfig
from augment.methods.module_trainable import trained_parameters
from data.errors import BaseError

pytestmark = pytest.mark.numerical
NAMES = {
    "loha": r"(hada_w[12]_[ab]|alpha)",  # as LyCORIS writes and the webui's network_hada.py and network_lokr.py read
    "lokr": r"(lokr_w1|lokr_w2|lokr_w2_[ab]|alpha)",
}
LAYERS = (
    r"lora_unet_(down_blocks_\d|mid_block|up_blocks_\d)_(resnets|attentions)_\d_\w+"
    r"|lora_te_text_model_encoder_layers_\d_self_attn_(q|k|v|out)_proj"
)


def noise_pred(pipe):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)
        return pipe.unet(latents, torch.tensor([10, 900]), embeds).sample


@pytest.fixture(params=["loha", "loha and text", "lokr", "lokr of rank 1"])
def config(request):
    """LoKr of rank 1 has a larger factor of low rank, that of rank 4 a whole one in most layers."""
    if request.param.startswith("loha"):
        return LohaConfig(rank=3, text_encoder="text" in request.param)
    return LokrConfig(rank=1 if "1" in request.param else 4, text_encoder=True)


@pytest.fixture
def trainable(pipe, config):
    return config.trainable(pipe, pipe.device)


@pytest.fixture
def parameters(trainable):
    """An update that is far from nothing, bound."""
    made, generator = trainable.parameters(0), torch.Generator().manual_seed(1)
    for parameter in made.values():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    trainable.bind([made])
    return made


def test_training_starts_from_the_base(pipe, trainable, config, tmp_path, with_adapter):
    start = trainable.parameters(0)
    trainable.bind([start])
    assert torch.equal(noise_pred(trainable.pipe), noise_pred(pipe))
    trainable.save(start, tmp_path)
    assert torch.equal(noise_pred(with_adapter(pipe, config.adapter(tmp_path))), noise_pred(pipe))


def test_merged_weights_are_pefts_own_merged_layers(pipe, trainable, config, parameters, tmp_path, with_adapter):
    trainable.save(parameters, tmp_path)
    ours = with_adapter(pipe, config.adapter(tmp_path))
    for name, layer in target_layers(ours, config.targets).items():
        part, _, path = name.partition(".")
        theirs = getattr(trainable.pipe, part).get_submodule(path)
        expected = theirs.base_layer.weight + theirs.get_delta_weight("default")
        torch.testing.assert_close(layer.weight, expected, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(noise_pred(ours), noise_pred(trainable.pipe), atol=1e-3, rtol=1e-3)


def test_the_file_has_the_names_that_other_programs_read(trainable, config, parameters, tmp_path):
    tensors = load_file(trainable.save(parameters, tmp_path))
    for name, tensor in tensors.items():
        layer, kind = name.split(".")
        assert re.fullmatch(LAYERS, layer), name
        assert re.fullmatch(NAMES[config.method], kind), name
        assert kind != "alpha" or tensor.item() == config.rank
    assert {name.split(".")[0] for name in tensors} == {
        name.split(".")[0] for name in tensors if name.endswith(".alpha")
    }


def test_the_file_has_the_same_bytes_each_time(trainable, parameters, tmp_path):
    assert (
        trainable.save(parameters, tmp_path / "a").read_bytes()
        == trainable.save(parameters, tmp_path / "b").read_bytes()
    )


def test_a_few_steps_lower_the_loss_of_latents_that_were_not_trained_on(pipe, config, trainable):
    parameters, generator = trainable.parameters(0), torch.Generator().manual_seed(2)
    trainable.bind([parameters])
    conditioning = Conditioning(encode_prompt(pipe, "dermoscopy of a melanoma").expand(4, -1, -1).clone())
    look = torch.randn(1, 8, 4, 4, generator=generator)  # what the class's latents have in common

    def loss(seed):
        noise = torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(seed))
        predicted = trainable.denoise(0.7 * look + 0.7 * noise, torch.tensor([100, 300, 500, 700]), conditioning)
        return (predicted - (0.7 * noise - 0.7 * look)).square().mean()  # v

    def held_out():
        return sum(loss(seed).item() for seed in range(100, 108))

    before = held_out()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2)
    for seed in range(15):
        optimizer.zero_grad()
        loss(seed).backward()
        optimizer.step()
    assert held_out() < 0.9 * before


def test_only_the_update_is_trained_and_the_base_is_left_alone(pipe, config):
    before = copy.deepcopy(pipe.unet.state_dict())
    trainable = config.trainable(pipe, pipe.device)
    assert all(re.search(r"\.(hada|lokr)_w", name) for name in trained_parameters(trainable.pipe))
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())


def test_the_seed_decides_the_start(trainable):
    first, again, other = (trainable.parameters(seed) for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_the_number_of_trained_parameters_follows_from_the_shapes(base, config, trainable):
    counted = config.trained_params(base_parts(base, 32))
    assert counted == sum(parameter.numel() for parameter in trainable.parameters(0).values())


def test_an_update_of_another_rank_or_with_numbers_that_are_not_finite_is_refused(
    pipe, trainable, config, parameters, tmp_path, with_adapter
):
    trainable.save(parameters, tmp_path)
    other = type(config)(rank=2, text_encoder=config.text_encoder)
    with pytest.raises(BaseError, match=r"has the shape|tensors missing"):
        with_adapter(pipe, other.adapter(tmp_path))
    tensors = load_file(tmp_path / FILE)
    next(value for value in tensors.values() if value.dim()).view(-1)[0] = torch.nan
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(BaseError, match="not finite"):
        with_adapter(pipe, config.adapter(tmp_path))
