import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from augment.base.load import load_base
from augment.base.param_count import base_parts
from augment.methods.dreambooth import FILES, DreamBoothConfig
from data.errors import BaseError


@pytest.fixture(params=[False, True], ids=["unet", "unet and text"])
def config(request):
    return DreamBoothConfig(text_encoder=request.param)


@pytest.fixture
def trainable(pipe, config):
    return config.trainable(pipe, pipe.device)


@pytest.fixture
def parameters(trainable):
    made = trainable.parameters(0)
    for parameter in made.values():
        parameter.data += 0.01
    return made


@pytest.fixture
def adapter(trainable, config, parameters, tmp_path):
    assert trainable.save(parameters, tmp_path) == tmp_path / "unet" / FILES["unet"]
    return config.adapter(tmp_path)


def test_every_weight_of_the_unet_is_trained_and_the_base_is_left_alone(base, pipe, config, trainable):
    before = copy.deepcopy(pipe.unet.state_dict())
    parts = ["unet", "text_encoder"] if config.text_encoder else ["unet"]
    parameters = trainable.parameters(0)
    assert len(parameters) == sum(len(list(getattr(pipe, part).parameters())) for part in parts)
    assert sum(each.numel() for each in parameters.values()) == config.trained_params(base_parts(base, 32))
    assert trainable.pipe.unet is not pipe.unet
    assert trainable.pipe.vae is pipe.vae
    trainable.bind([parameters])
    for parameter in parameters.values():
        parameter.data += 1
    assert all(torch.equal(before[key], value) for key, value in pipe.unet.state_dict().items())


def test_what_was_saved_comes_back_within_sixteen_bits(pipe, trainable, adapter, with_adapter):
    back = with_adapter(pipe, adapter)
    for part in ("unet", "text_encoder"):
        for key, value in getattr(trainable.pipe, part).state_dict().items():
            torch.testing.assert_close(getattr(back, part).state_dict()[key], value, atol=1e-5, rtol=1e-3)


def test_diffusers_loads_the_folder(trainable, adapter):
    unet = UNet2DConditionModel.from_pretrained(adapter.folder / "unet", torch_dtype=torch.float16)
    key, value = next(iter(trainable.pipe.unet.state_dict().items()))
    assert torch.equal(unet.state_dict()[key], value.half())


def test_the_folder_is_the_same_bytes_again(trainable, parameters, adapter, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    trainable.save(parameters, again)
    for path in sorted(p for p in adapter.folder.rglob("*") if p.is_file()):
        assert (again / path.relative_to(adapter.folder)).read_bytes() == path.read_bytes()


def test_the_folder_names_no_place_on_this_machine(base, config, tmp_path):
    trainable = config.trainable(load_base(base), torch.device("cpu"))
    trainable.save(trainable.parameters(0), tmp_path)
    configs = list(tmp_path.glob("*/config.json"))
    assert configs
    assert not any(base.source in path.read_text() for path in configs)


def test_the_prior_is_preserved_unless_it_has_no_images_or_no_weight():
    assert DreamBoothConfig().prior_preservation.num_class_images == 64
    assert DreamBoothConfig(prior_loss_weight=0.5).prior_preservation.loss_weight == 0.5
    assert DreamBoothConfig(num_class_images=0).prior_preservation is None
    assert DreamBoothConfig(prior_loss_weight=0).prior_preservation is None


def test_weights_that_do_not_fit_are_refused(pipe, adapter, with_adapter):
    path = adapter.folder / "unet" / FILES["unet"]
    tensors = load_file(path)
    key = next(iter(tensors))
    save_file({**tensors, key: torch.full_like(tensors[key], torch.nan)}, path)
    with pytest.raises(BaseError, match="not finite"):
        with_adapter(pipe, adapter)
    save_file({**tensors, key: torch.zeros(2)}, path)
    with pytest.raises(BaseError, match=r"has the shape \(2,\)"):
        with_adapter(pipe, adapter)
    tensors.pop(key)
    save_file(tensors, path)
    with pytest.raises(BaseError, match=r"1 of .* tensors missing and 0 too many"):
        with_adapter(pipe, adapter)
