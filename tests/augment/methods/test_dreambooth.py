import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from augment.base.load import load_base
from augment.methods import trained
from augment.methods.dreambooth import FILES, DreamBooth
from data.errors import BaseError


@pytest.fixture(params=[False, True], ids=["unet", "unet and text"])
def method(request):
    return DreamBooth(text_encoder=request.param)


@pytest.fixture
def adapter(pipe, method, tmp_path):
    opened = method.open(pipe, 0)
    for parameter in trained(opened).values():
        parameter.data += 0.01
    weights = method.save(opened, tmp_path)
    assert weights == tmp_path / "unet" / FILES["unet"]
    return tmp_path, opened


def test_every_weight_of_the_unet_is_trained_and_the_base_is_left_alone(pipe, method):
    opened = method.open(pipe, 0)
    parts = ["unet", "text_encoder"] if method.text_encoder else ["unet"]
    assert len(trained(opened)) == sum(len(list(getattr(pipe, part).parameters())) for part in parts)
    assert opened.unet is not pipe.unet
    assert opened.vae is pipe.vae


def test_what_was_saved_comes_back_within_sixteen_bits(pipe, method, adapter):
    folder, opened = adapter
    back = method.apply(pipe, folder)
    for part in ("unet", "text_encoder"):
        for key, value in getattr(opened, part).state_dict().items():
            torch.testing.assert_close(getattr(back, part).state_dict()[key], value, atol=1e-5, rtol=1e-3)


def test_diffusers_loads_the_folder(method, adapter):
    folder, opened = adapter
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float16)
    key, value = next(iter(opened.unet.state_dict().items()))
    assert torch.equal(unet.state_dict()[key], value.half())


def test_the_folder_is_the_same_bytes_again(method, adapter, tmp_path_factory):
    folder, opened = adapter
    again = tmp_path_factory.mktemp("again")
    method.save(opened, again)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_the_folder_names_no_place_on_this_machine(base, method, tmp_path):
    method.save(method.open(load_base(base), 0), tmp_path)
    configs = list(tmp_path.glob("*/config.json"))
    assert configs
    assert not any(base.source in config.read_text() for config in configs)


def test_weights_that_do_not_fit_are_refused(pipe, method, adapter):
    folder, _ = adapter
    path = folder / "unet" / FILES["unet"]
    tensors = load_file(path)
    key = next(iter(tensors))
    save_file({**tensors, key: torch.full_like(tensors[key], torch.nan)}, path)
    with pytest.raises(BaseError, match="not finite"):
        method.apply(pipe, folder)
    save_file({**tensors, key: torch.zeros(2)}, path)
    with pytest.raises(BaseError, match=r"has the shape \(2,\)"):
        method.apply(pipe, folder)
    tensors.pop(key)
    save_file(tensors, path)
    with pytest.raises(BaseError, match=r"1 of .* tensors missing and 0 too many"):
        method.apply(pipe, folder)
