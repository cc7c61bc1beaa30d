import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from augment.diffusion.sample import SamplerConfig, decode, encode, sample_latents
from augment.methods import batched_lora as module
from augment.methods import trained
from augment.methods.batched_lora import Stack
from augment.methods.lora import FILE, Lora
from augment.methods.weights import with_parts

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


@pytest.fixture(scope="module", params=[True, False], ids=["convolutions too", "attention"])
def method(request):
    return Lora(rank=3, conv=request.param)


@pytest.fixture(scope="module")
def stack(pipe, method):
    return Stack(pipe, method)


def learned(stack, seed):
    """Factors that are far from nothing."""
    vector = stack.start(seed)
    return vector.detach() + 0.1 * torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))


def said(pipe):
    with torch.no_grad():
        latents = torch.randn(4, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        told = encode(pipe, PROMPT).expand(4, -1, -1)
        return pipe.unet(latents, torch.tensor([10, 900, 10, 900]), told).sample


def images(pipe):
    config = SamplerConfig(steps=4, guidance=2.0, batch_size=2)
    return decode(pipe, sample_latents(pipe, encode(pipe, PROMPT), encode(pipe, ""), [1, 2], config)).astype(int)


def test_it_starts_as_peft_does(pipe, method, stack):
    opened = trained(method.open(pipe, 7)).values()
    assert torch.equal(stack.start(7), torch.cat([parameter.detach().flatten() for parameter in opened]))


def test_the_start_is_the_base_and_the_base_is_left_alone(pipe, stack):
    before = copy.deepcopy(pipe.unet.state_dict())
    stack.bear([stack.start(0), stack.start(1)])
    torch.testing.assert_close(said(stack.pipe), said(pipe), atol=1e-5, rtol=1e-4)
    assert before.keys() == pipe.unet.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())
    assert not trained(stack.pipe)


class Made(TorchDispatchMode):
    """Bytes of each precision in memory that came to be."""

    def __init__(self):
        super().__init__()
        self.bytes = {}

    def __torch_dispatch__(self, operation, types, given=(), options=None):
        made = operation(*given, **(options or {}))
        if operation is not torch.ops.aten.detach.default:
            self.bytes[made.dtype] = self.bytes.get(made.dtype, 0) + made.nbytes
        return made


def test_no_second_copy_in_full_precision_comes_to_be(pipe, method, monkeypatch):
    """As on a GPU, but on the CPU: frozen weights in bfloat16."""
    monkeypatch.setattr(module, "training_dtype", lambda _where: torch.bfloat16)
    with Made() as made:
        stack = Stack(pipe, method)
    weights = sum(weight.nbytes for weight in pipe.unet.parameters())
    assert made.bytes == {torch.bfloat16: weights // 2}
    assert stack.pipe.unet.dtype == torch.bfloat16


def test_it_is_made_where_it_is_asked_for(pipe, method):
    elsewhere = torch.device("meta")
    assert {weight.device for weight in Stack(pipe, method, elsewhere).pipe.unet.parameters()} == {elsewhere}
    assert pipe.unet.device == torch.device("cpu")


def test_each_class_sees_its_own_adapter(pipe, method, stack, tmp_path):
    vectors = [learned(stack, seed) for seed in (1, 2)]
    stack.bear(vectors)
    found = said(stack.pipe)
    for part, (vector, name) in enumerate(zip(vectors, "ab", strict=True)):
        stack.save(vector, tmp_path / name)
        expected = said(method.apply(pipe, tmp_path / name))
        rows = slice(2 * part, 2 * part + 2)
        torch.testing.assert_close(found[rows], expected[rows], atol=1e-4, rtol=1e-3)
        assert not torch.allclose(found[2 - 2 * part :][:2], expected[2 - 2 * part :][:2], atol=1e-2)


def test_the_file_is_the_one_that_peft_s_training_saves(pipe, method, stack, tmp_path):
    opened = method.open(pipe, 7)
    expected = method.save(opened, tmp_path / "peft")
    assert stack.save(stack.start(7), tmp_path / "stack").read_bytes() == expected.read_bytes()
    vector = learned(stack, 3)
    tensors = load_file(stack.save(vector, tmp_path / "learned")).values()
    assert sum(tensor.numel() for tensor in tensors) == len(vector)


def test_a_plain_pipeline_loads_the_file_and_draws_the_same(pipe, stack, tmp_path):
    vector = learned(stack, 5)
    assert stack.save(vector, tmp_path) == tmp_path / FILE
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet))
    plain.load_lora_weights(tmp_path)
    stack.bear([vector])
    assert np.abs(images(stack.pipe) - images(plain)).max() <= 1
    assert np.abs(images(stack.pipe) - images(pipe)).max() > 5


def test_a_text_encoder_is_not_stacked(pipe):
    with pytest.raises(ValueError, match="one class at a time"):
        Stack(pipe, Lora(text_encoder=True))
