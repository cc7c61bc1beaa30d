import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import SamplerConfig, sample_latents
from augment.methods import batched_lora as module
from augment.methods.batched_lora import BatchedLora
from augment.methods.lora import LoraConfig, PeftLora
from augment.methods.lora_files import FILE
from augment.methods.module_trainable import trained_parameters
from augment.methods.weights import with_parts

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


@pytest.fixture(scope="module", params=[True, False], ids=["convolutions too", "attention"])
def config(request):
    return LoraConfig(rank=3, conv_layers=request.param)


def batched(pipe, config, device=None):
    return BatchedLora(pipe, config.targets, config.rank, device or pipe.device)


@pytest.fixture(scope="module")
def trainable(pipe, config):
    return batched(pipe, config)


def far_from_start(trainable, seed):
    (parameter,) = trainable.parameters(seed).values()
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
    return {"factors": parameter.detach() + 0.1 * noise}


def noise_pred(pipe):
    with torch.no_grad():
        latents = torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, PROMPT).expand(4, -1, -1)
        return pipe.unet(latents, torch.tensor([10, 900, 10, 900]), embeds).sample


def images(pipe):
    config = SamplerConfig(steps=4, guidance_scale=2.0, batch_size=2)
    embeds = (encode_prompt(pipe, prompt) for prompt in (PROMPT, ""))
    return decode(pipe, sample_latents(pipe, *embeds, [1, 2], config)).astype(int)


def test_it_starts_as_peft_does(pipe, config, trainable):
    peft = PeftLora(pipe, config.targets, config.rank, pipe.device).parameters(7)
    expected = torch.cat([parameter.detach().flatten() for parameter in peft.values()])
    assert torch.equal(trainable.parameters(7)["factors"], expected)


def test_the_start_is_the_base_and_the_base_is_left_alone(pipe, trainable):
    before = copy.deepcopy(pipe.unet.state_dict())
    trainable.bind([trainable.parameters(seed) for seed in (0, 1)])
    torch.testing.assert_close(noise_pred(trainable.pipe), noise_pred(pipe), atol=1e-5, rtol=1e-4)
    assert before.keys() == pipe.unet.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())
    assert not trained_parameters(trainable.pipe)


class Allocated(TorchDispatchMode):
    """Bytes allocated, by precision."""

    def __init__(self):
        super().__init__()
        self.bytes = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        if operation is not torch.ops.aten.detach.default:
            self.bytes[made.dtype] = self.bytes.get(made.dtype, 0) + made.nbytes
        return made


def test_no_second_copy_in_full_precision_is_made(pipe, config, monkeypatch):
    """As on a GPU, but on the CPU: frozen weights in bfloat16."""
    monkeypatch.setattr(module, "training_dtype", lambda _device: torch.bfloat16)
    with Allocated() as allocated:
        trainable = batched(pipe, config)
    weights = sum(weight.nbytes for weight in pipe.unet.parameters())
    assert allocated.bytes == {torch.bfloat16: weights // 2}
    assert trainable.pipe.unet.dtype == torch.bfloat16


def test_the_copy_is_made_on_the_device_asked_for(pipe, config):
    meta = torch.device("meta")
    assert {weight.device for weight in batched(pipe, config, meta).pipe.unet.parameters()} == {meta}
    assert pipe.unet.device == torch.device("cpu")


def test_each_class_has_its_own_adapter(pipe, config, trainable, tmp_path, with_adapter):
    classes = [far_from_start(trainable, seed) for seed in (1, 2)]
    trainable.bind(classes)
    found = noise_pred(trainable.pipe)
    for part, (parameters, name) in enumerate(zip(classes, "ab", strict=True)):
        trainable.save(parameters, tmp_path / name)
        expected = noise_pred(with_adapter(pipe, config.adapter(tmp_path / name)))
        rows = slice(2 * part, 2 * part + 2)
        torch.testing.assert_close(found[rows], expected[rows], atol=1e-4, rtol=1e-3)
        assert not torch.allclose(found[2 - 2 * part :][:2], expected[2 - 2 * part :][:2], atol=1e-2)


def test_the_file_is_the_one_that_peft_s_training_saves(pipe, config, trainable, tmp_path):
    peft = PeftLora(pipe, config.targets, config.rank, pipe.device)
    expected = peft.save(peft.parameters(7), tmp_path / "peft")
    assert trainable.save(trainable.parameters(7), tmp_path / "batched").read_bytes() == expected.read_bytes()
    parameters = far_from_start(trainable, 3)
    tensors = load_file(trainable.save(parameters, tmp_path / "trained")).values()
    assert sum(tensor.numel() for tensor in tensors) == len(parameters["factors"])


def test_a_plain_pipeline_loads_the_file_and_makes_the_same_images(pipe, trainable, tmp_path):
    parameters = far_from_start(trainable, 5)
    assert trainable.save(parameters, tmp_path) == tmp_path / FILE
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    plain.load_lora_weights(tmp_path)
    trainable.bind([parameters])
    assert np.abs(images(trainable.pipe) - images(plain)).max() <= 1
    assert np.abs(images(trainable.pipe) - images(pipe)).max() > 5


def test_a_text_encoder_is_not_trained_in_one_batch(pipe):
    with pytest.raises(ValueError, match="one class at a time"):
        batched(pipe, LoraConfig(text_encoder=True))
