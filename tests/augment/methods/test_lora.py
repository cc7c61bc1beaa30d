import copy
import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from augment.diffusion.sample import SamplerConfig, decode, encode, sample_latents
from augment.methods import trained
from augment.methods.lora import FILE, Lora, product
from augment.methods.weights import with_parts
from data.errors import BaseError

pytestmark = pytest.mark.numerical

PROMPT = "dermoscopy of a melanoma"


def images(pipe):
    config = SamplerConfig(steps=4, guidance=2.0, batch_size=2)
    return decode(pipe, sample_latents(pipe, encode(pipe, PROMPT), encode(pipe, ""), [1, 2], config)).astype(int)


def said(pipe):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        return pipe.unet(latents, torch.tensor([10, 900]), encode(pipe, PROMPT).expand(2, -1, -1)).sample


@pytest.fixture(params=[False, True], ids=["unet", "unet and text"])
def method(request):
    return Lora(rank=3, text_encoder=request.param)


@pytest.fixture
def adapter(pipe, method, tmp_path):
    """An update that is far from nothing, and the pipeline that was trained to it."""
    opened = method.open(pipe, 0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in trained(opened).items():
        if ".lora_B." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    method.save(opened, tmp_path)
    return tmp_path, opened


def test_an_update_with_zero_b_changes_nothing(pipe, method, tmp_path):
    opened = method.open(pipe, 0)
    assert torch.equal(said(opened), said(pipe))
    method.save(opened, tmp_path)
    assert torch.equal(said(method.apply(pipe, tmp_path)), said(pipe))


def test_only_the_update_is_trained_and_the_base_is_left_alone(pipe, method):
    before = copy.deepcopy(pipe.unet.state_dict())
    opened = method.open(pipe, 0)
    assert trained(opened)
    assert all(".lora_A." in name or ".lora_B." in name for name in trained(opened))
    assert any(name.startswith("text_encoder.") for name in trained(opened)) == method.text_encoder
    assert before.keys() == pipe.unet.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())


def test_convolutions_are_updated_if_asked_for(pipe):
    without, with_ = (trained(Lora(rank=2, conv=conv).open(pipe, 0)) for conv in (False, True))
    assert not any("resnets" in name or "proj_in" in name for name in without)
    for layer in ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "proj_in", "proj_out", "to_out.0", "ff.net.2"):
        assert any(f".{layer}." in name for name in with_), layer


def test_the_seed_decides_the_start(pipe, method):
    first, again, other = (trained(method.open(pipe, seed)) for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_plain_pipeline_loads_the_file_and_draws_the_same(pipe, method, adapter):
    folder, opened = adapter
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    plain.load_lora_weights(folder)
    ours = method.apply(pipe, folder)
    assert np.abs(images(ours) - images(plain)).max() <= 1
    assert np.abs(images(ours) - images(opened)).max() <= 1
    assert np.abs(images(ours) - images(pipe)).max() > 5


def test_the_same_update_is_the_same_bytes(method, adapter, tmp_path_factory):
    folder, opened = adapter
    again = tmp_path_factory.mktemp("again")
    method.save(opened, again)
    raw = (folder / FILE).read_bytes()
    assert (again / FILE).read_bytes() == raw
    (length,) = struct.unpack("<Q", raw[:8])
    assert len(json.loads(raw[8 : 8 + length])["__metadata__"]) <= 1


def test_the_product_of_a_convolutions_factors_is_their_composition():
    down, up = torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1)
    image = torch.randn(1, 3, 8, 8)
    composed = torch.nn.functional.conv2d(torch.nn.functional.conv2d(image, down), up)
    torch.testing.assert_close(torch.nn.functional.conv2d(image, product(up, down)), composed)


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
def test_weights_that_do_not_fit_are_refused(pipe, method, adapter, spoil, message):
    folder, _ = adapter
    tensors = load_file(folder / FILE)
    spoil(tensors)
    save_file(tensors, folder / FILE)
    with pytest.raises(BaseError, match=message):
        method.apply(pipe, folder)


def test_a_broken_file_is_refused(pipe, method, adapter):
    folder, _ = adapter
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:1000])
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        method.apply(pipe, folder)
    (folder / FILE).unlink()
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        method.apply(pipe, folder)


def test_the_settings_of_another_adapter_are_refused(pipe, adapter):
    folder, _ = adapter
    with pytest.raises(BaseError, match="too many for this base"):
        Lora(rank=3, conv=False).apply(pipe, folder)
    with pytest.raises(BaseError, match=r"has the shape|tensors missing|too many"):
        Lora(rank=4).apply(pipe, folder)
