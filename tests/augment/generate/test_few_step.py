import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from augment.diffusion.sample import decode
from augment.generate.few_step import DraftConfig, decoder_identity, with_decoder, with_update
from augment.methods import trained
from augment.methods.lora import FILE, Lora
from data.errors import BaseError

pytestmark = pytest.mark.numerical


@pytest.fixture
def update(pipe, tmp_path):
    """A LoRA of this base, as others would hand out one that was distilled."""
    method = Lora(rank=2)
    opened = method.open(pipe, 0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in trained(opened).items():
        if ".lora_B." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    method.save(opened, tmp_path)
    return tmp_path / FILE


def test_an_update_is_added_to_the_weights_by_its_scale_and_the_base_is_left_alone(pipe, update):
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    whole = Lora(rank=2).apply(pipe, update.parent).unet.state_dict()
    half = with_update(pipe, DraftConfig(lora=str(update), scale=0.5)).unet.state_dict()
    assert half.keys() == before.keys()
    for name, weight in before.items():
        torch.testing.assert_close(half[name], (weight + whole[name]) / 2, atol=1e-6, rtol=1e-5)
        assert torch.equal(pipe.unet.state_dict()[name], weight)


def test_an_update_that_changes_nothing_is_refused(pipe, update):
    spoilt = {key: torch.zeros_like(value) if "lora_B" in key else value for key, value in load_file(update).items()}
    save_file(spoilt, update)
    with pytest.raises(BaseError, match="changes nothing in this base's UNet"):
        with_update(pipe, DraftConfig(lora=str(update)))


def first_of(tensors, change):
    key = next(key for key in tensors if "lora_A" in key)
    return {**tensors, key: change(tensors[key])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: torch.full_like(tensor, torch.nan), "holds numbers that are not finite"),
        (lambda _tensor: torch.ones(2, 7), "does not fit this base"),
    ],
)
def test_an_update_of_another_base_or_of_no_numbers_is_refused_in_a_line(pipe, update, change, message):
    save_file(first_of(load_file(update), change), update)
    with pytest.raises(BaseError, match=message) as refused:
        with_update(pipe, DraftConfig(lora=str(update)))
    assert "\n" not in str(refused.value)


def test_a_broken_file_is_refused(pipe, update):
    update.write_bytes(update.read_bytes()[:100])
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        with_update(pipe, DraftConfig(lora=str(update)))


def decoder(folder, channels=8, levels=4):
    torch.manual_seed(0)
    widths = (8,) * levels
    made = AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(1,) * levels,
    )
    made.save_pretrained(folder)
    return made.eval()


def test_a_small_decoder_decodes_in_place_of_the_bases_own(pipe, tmp_path):
    made = decoder(tmp_path)
    other = with_decoder(pipe, str(tmp_path))
    assert other.unet is pipe.unet
    latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = (made.decode(latents).sample / 2 + 0.5).clamp(0, 1).mul(255).permute(0, 2, 3, 1).numpy()
    assert np.abs(decode(other, latents) - np.round(expected)).max() <= 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"channels": 4}, "decodes latents of 4 channels, but this base has 8"),
        ({"levels": 3}, "enlarges latents 4 times"),
    ],
)
def test_a_decoder_of_other_latents_is_refused(pipe, tmp_path, made, message):
    decoder(tmp_path, **made)
    with pytest.raises(BaseError, match=message):
        with_decoder(pipe, str(tmp_path))


def test_a_decoder_is_told_by_its_bytes(tmp_path):
    decoder(tmp_path / "one")
    decoder(tmp_path / "same")
    decoder(tmp_path / "other", levels=3)
    one, same, other = (decoder_identity(str(tmp_path / name)) for name in ("one", "same", "other"))
    assert one == same != other
