import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from augment.diffusion.decode import decode
from augment.generate.few_step import FewStepConfig, taesd_identity, with_few_step_lora, with_taesd
from augment.methods.lora import LoraConfig
from augment.methods.lora_files import FILE
from data.errors import BaseError

pytestmark = pytest.mark.numerical


LORA = LoraConfig(rank=2)


@pytest.fixture
def lora_file(pipe, tmp_path):
    """A LoRA of this base, as others would hand out one that was distilled."""
    trainable = LORA.trainable(pipe, pipe.device)
    parameters = trainable.parameters(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters.values():
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.2
    trainable.save(parameters, tmp_path)
    return tmp_path / FILE


def test_a_lora_is_merged_by_its_scale_and_the_base_is_left_alone(pipe, lora_file, with_adapter):
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    whole = with_adapter(pipe, LORA.adapter(lora_file.parent)).unet.state_dict()
    half = with_few_step_lora(pipe, FewStepConfig(lora=str(lora_file), scale=0.5)).unet.state_dict()
    assert half.keys() == before.keys()
    for name, weight in before.items():
        torch.testing.assert_close(half[name], (weight + whole[name]) / 2, atol=1e-6, rtol=1e-5)
        assert torch.equal(pipe.unet.state_dict()[name], weight)


def test_a_lora_that_changes_nothing_is_refused(pipe, lora_file):
    zeroed = {key: torch.zeros_like(value) if "lora_B" in key else value for key, value in load_file(lora_file).items()}
    save_file(zeroed, lora_file)
    with pytest.raises(BaseError, match="changes nothing in this base's UNet"):
        with_few_step_lora(pipe, FewStepConfig(lora=str(lora_file)))


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
def test_a_lora_of_another_base_or_of_no_numbers_is_refused_in_a_line(pipe, lora_file, change, message):
    save_file(first_of(load_file(lora_file), change), lora_file)
    with pytest.raises(BaseError, match=message) as refused:
        with_few_step_lora(pipe, FewStepConfig(lora=str(lora_file)))
    assert "\n" not in str(refused.value)


def test_a_broken_file_is_refused(pipe, lora_file):
    lora_file.write_bytes(lora_file.read_bytes()[:100])
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        with_few_step_lora(pipe, FewStepConfig(lora=str(lora_file)))


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
    other = with_taesd(pipe, str(tmp_path))
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
        with_taesd(pipe, str(tmp_path))


def test_a_decoder_is_told_by_its_bytes(tmp_path):
    decoder(tmp_path / "one")
    decoder(tmp_path / "same")
    decoder(tmp_path / "other", levels=3)
    one, same, other = (taesd_identity(str(tmp_path / name)) for name in ("one", "same", "other"))
    assert one == same != other
