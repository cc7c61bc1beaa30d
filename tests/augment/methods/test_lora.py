import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.base.param_count import base_parts
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import SamplerConfig, sample_latents
from augment.methods.batched_lora import BatchedLora
from augment.methods.lora import LoraConfig, PeftLora
from augment.methods.lora_files import FILE
from augment.methods.module_trainable import trained_parameters
from augment.methods.weights import with_parts
from data.errors import BaseError

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


def images(pipe):
    config = SamplerConfig(steps=4, guidance_scale=2.0, batch_size=2)
    embeds = (encode_prompt(pipe, prompt) for prompt in (PROMPT, ""))
    return decode(pipe, sample_latents(pipe, *embeds, [1, 2], config)).astype(int)


def noise_pred(pipe):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        return pipe.unet(latents, torch.tensor([10, 900]), encode_prompt(pipe, PROMPT).expand(2, -1, -1)).sample


@pytest.fixture(params=[False, True], ids=["unet", "unet and text"])
def config(request):
    return LoraConfig(rank=3, text_encoder=request.param)


@pytest.fixture
def trainable(pipe, config):
    """peft's, for the UNet alone too: `LoraConfig.trainable` trains that in one batch."""
    return PeftLora(pipe, config.targets, config.rank, pipe.device)


@pytest.fixture
def parameters(trainable):
    """An update that is far from nothing, bound."""
    made = trainable.parameters(0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.items():
        if ".lora_B." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    trainable.bind([made])
    return made


@pytest.fixture
def adapter(trainable, config, parameters, tmp_path):
    trainable.save(parameters, tmp_path)
    return config.adapter(tmp_path)


def test_without_the_text_encoder_classes_are_trained_in_one_batch(pipe):
    assert isinstance(LoraConfig().trainable(pipe, pipe.device), BatchedLora)
    assert LoraConfig(max_classes_per_batch=2).trainable(pipe, pipe.device).max_classes == 2
    assert isinstance(LoraConfig(text_encoder=True).trainable(pipe, pipe.device), PeftLora)


def test_an_update_with_zero_b_changes_nothing(pipe, trainable, config, tmp_path, with_adapter):
    start = trainable.parameters(0)
    trainable.bind([start])
    assert torch.equal(noise_pred(trainable.pipe), noise_pred(pipe))
    trainable.save(start, tmp_path)
    assert torch.equal(noise_pred(with_adapter(pipe, config.adapter(tmp_path))), noise_pred(pipe))


def test_only_the_update_is_trained_and_the_base_is_left_alone(pipe, config):
    before = copy.deepcopy(pipe.unet.state_dict())
    trainable = PeftLora(pipe, config.targets, config.rank, pipe.device)
    names = trained_parameters(trainable.pipe)
    assert names.keys() == trainable.parameters(0).keys()
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert any(name.startswith("text_encoder.") for name in names) == config.text_encoder
    assert before.keys() == pipe.unet.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())


def test_the_seed_decides_the_start(trainable):
    first, again, other = (trainable.parameters(seed) for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_plain_pipeline_loads_the_file_and_makes_the_same_images(pipe, adapter, trainable, with_adapter):
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    plain.load_lora_weights(adapter.folder)
    ours = with_adapter(pipe, adapter)
    assert np.abs(images(ours) - images(plain)).max() <= 1
    assert np.abs(images(ours) - images(trainable.pipe)).max() <= 1
    assert np.abs(images(ours) - images(pipe)).max() > 5


def test_the_number_of_trained_parameters_follows_from_the_shapes(base, config, trainable):
    counted = config.trained_params(base_parts(base, 32))
    assert counted == sum(parameter.numel() for parameter in trainable.parameters(0).values())


def spoil_value(tensors):
    next(iter(tensors.values())).view(-1)[0] = torch.nan


def spoil_shape(tensors):
    key = next(key for key in tensors if "lora_A" in key)
    tensors[key] = torch.zeros(3, 7)


def spoil_key(tensors):
    tensors["unet.down_blocks.9.to_q.lora_A.weight"] = tensors.pop(next(iter(tensors)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_value, "not finite"),
        (spoil_shape, "has the shape"),
        (spoil_key, "1 of .* tensors missing and 1 too many"),
    ],
)
def test_weights_that_do_not_fit_are_refused(pipe, adapter, spoil, message, with_adapter):
    tensors = load_file(adapter.folder / FILE)
    spoil(tensors)
    save_file(tensors, adapter.folder / FILE)
    with pytest.raises(BaseError, match=message):
        with_adapter(pipe, adapter)


def test_a_broken_file_is_refused(pipe, adapter, with_adapter):
    file = adapter.folder / FILE
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        with_adapter(pipe, adapter)
    file.unlink()
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        with_adapter(pipe, adapter)


def test_the_settings_of_another_adapter_are_refused(pipe, adapter, with_adapter):
    for other in (LoraConfig(rank=3, conv_layers=False), LoraConfig(rank=4)):
        with pytest.raises(BaseError, match=r"has the shape|tensors missing|too many for this base"):
            with_adapter(pipe, other.adapter(adapter.folder))
