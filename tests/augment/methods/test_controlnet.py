import csv
import json

import pytest
import torch
from diffusers import ControlNetModel
from pydantic import ValidationError

from augment.base.param_count import base_parts
from augment.context import Context
from augment.diffusion.conditioning import Conditioning, encode_prompt, unet_denoise
from augment.diffusion.sample import SamplerConfig
from augment.finetune.run import finetune
from augment.generate.config import GenerateConfig
from augment.generate.pipeline import AdapterPipeline
from augment.generate.record import GeneratedImages
from augment.generate.run import ImageRequest, generate
from augment.methods.controlnet import ControlNetAdapter, ControlNetConfig
from augment.methods.controlnet_files import CONFIG, WEIGHTS
from augment.methods.module_trainable import trained_parameters
from augment.prompts import DEFAULT
from data.errors import BaseError, DataError
from data.pixels import PixelConfig

pytestmark = pytest.mark.numerical

MANY = 400  # numbers, whose standard deviation is within a few percent of their distribution's

CONDITION = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def noise_pred(pipe, condition=CONDITION, denoise=None):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)
        denoise = denoise or unet_denoise(pipe.unet)
        return denoise(latents, torch.tensor([10, 900]), Conditioning(embeds, condition))


@pytest.fixture
def trainable(pipe):
    return ControlNetConfig().trainable(pipe, pipe.device)


@pytest.fixture
def adapter(trainable, tmp_path):
    """A ControlNet far from its start, bound and saved."""
    parameters = trainable.parameters(0)
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters.values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    trainable.bind([parameters])
    assert trainable.save(parameters, tmp_path / "adapter") == tmp_path / "adapter" / WEIGHTS
    return ControlNetAdapter(tmp_path / "adapter")


def test_training_starts_as_diffusers_does_and_changes_nothing(pipe, trainable):
    start = trainable.parameters(0)
    trainable.bind([start])
    assert torch.equal(noise_pred(trainable.pipe), noise_pred(pipe, None))
    reference = ControlNetModel.from_unet(pipe.unet).state_dict()
    assert {name.removeprefix("unet.control.") for name in start} == set(reference)
    for name, value in start.items():
        expected = reference[name.removeprefix("unet.control.")]
        if "cond_embedding" in name and "conv_out" not in name:  # drawn, the same for the same seed
            assert value.any()
            if value.numel() >= MANY:
                assert 0.7 < value.std() / expected.std() < 1.4
        else:
            assert torch.equal(value, expected)
    again, other = trainable.parameters(0), trainable.parameters(1)
    assert all(torch.equal(value, again[name]) for name, value in start.items())
    assert any(not torch.equal(value, other[name]) for name, value in start.items())


def test_only_the_control_is_trained_and_the_base_is_left_alone(base, pipe, trainable):
    parameters = trainable.parameters(0)
    trainable.bind([parameters])
    assert trained_parameters(trainable.pipe).keys() == parameters.keys()
    params = sum(each.numel() for each in parameters.values())
    assert params == ControlNetConfig().trained_params(base_parts(base, 32))
    embeds = encode_prompt(pipe, "dermoscopy of a melanoma").clone()
    conditioning = Conditioning(embeds, CONDITION[:1])
    trainable.denoise(torch.ones(1, 8, 4, 4), torch.tensor([500]), conditioning).square().sum().backward()
    learns = {name for name, each in parameters.items() if each.grad is not None and each.grad.any()}
    assert learns == {name for name in parameters if "controlnet_down" in name or "controlnet_mid" in name}
    assert not hasattr(pipe.unet, "control")


def test_what_was_saved_comes_back_to_the_bit(pipe, trainable, adapter, with_adapter):
    back = noise_pred(with_adapter(pipe, adapter))
    assert torch.equal(back, noise_pred(trainable.pipe))
    assert not torch.allclose(back, noise_pred(pipe, None), atol=1e-3)


def test_diffusers_reads_it_and_it_does_the_same_there(pipe, trainable, adapter):
    control = ControlNetModel.from_pretrained(adapter.folder, local_files_only=True).eval()

    def denoise(sample, timestep, conditioning):
        embeds = conditioning.prompt_embeds
        down, middle = control(sample, timestep, embeds, conditioning.condition, return_dict=False)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return pipe.unet(sample, timestep, embeds, **residuals).sample

    torch.testing.assert_close(noise_pred(pipe, denoise=denoise), noise_pred(trainable.pipe), atol=1e-5, rtol=1e-4)


def test_a_folder_that_diffusers_wrote_is_read(pipe, with_adapter, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        control = ControlNetModel.from_unet(pipe.unet)
        for weight in control.parameters():
            torch.nn.init.normal_(weight, std=0.1)
    control.save_pretrained(tmp_path)
    made = with_adapter(pipe, ControlNetAdapter(tmp_path))
    for name, value in control.state_dict().items():
        assert torch.equal(made.unet.control.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("attention_head_dim", 7), ("controlnet_conditioning_channel_order", "bgr"), ("block_out_channels", [16, 64])],
)
def test_one_of_another_geometry_is_refused(pipe, adapter, with_adapter, name, value):
    path = adapter.folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(BaseError, match=f"{name} is .*, this base needs"):
        with_adapter(pipe, adapter)


def test_a_folder_without_settings_is_refused(pipe, adapter, with_adapter):
    (adapter.folder / CONFIG).unlink()
    with pytest.raises(BaseError, match="cannot be read as a ControlNet's settings"):
        with_adapter(pipe, adapter)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text_encoder": True}, "a ControlNet is of the UNet alone"),
        ({"condition": "canny", "masks": "folder"}, "condition canny is not made of masks; take mask or mask-depth"),
        ({"condition": "pose"}, "condition"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ControlNetConfig(**values)


@pytest.fixture(scope="module")
def trained(base, shots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = ControlNetConfig(
        condition="soft-edge", steps=3, batch_size=2, learning_rate=1e-2, gradient_accumulation_steps=2,
        preview_every=3, preview=SamplerConfig(steps=1, batch_size=2),
    )  # fmt: skip
    context = Context(pixels=PixelConfig(size=32), prompts=DEFAULT, seed=0)
    list(finetune(base=base, shots={"df": shots["df"]}, config=config, out={"df": folder}, context=context))
    return folder


def generated(base, adapter, photographs, out, count=6):
    request = ImageRequest(
        label="df", prompt="dermoscopy", count=count, seed=0, size=32, adapter=adapter, photographs=photographs
    )
    config = GenerateConfig(steps=2, batch_size=3, format="png")
    return generate(pipeline=AdapterPipeline(base), request=request, config=config, out=out)


def test_each_image_follows_a_photograph_and_belongs_to_its_group(base, shots, trained, tmp_path):
    assert (trained / "previews" / "step-000003.jpg").is_file()
    images = generated(base, trained, shots["df"], tmp_path / "out")
    known = dict(zip(shots["df"].table["image_id"], shots["df"].table["group_id"], strict=True))
    with (tmp_path / "out" / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["source_image"] for row in rows}) > 1 < len({row["source_view"] for row in rows})
    assert [row["source_group"] for row in rows] == [known[row["source_image"]] for row in rows]
    assert list(images.table["group_id"]) == [row["source_group"] for row in rows]
    assert [text.split(":")[2] for text in images.table["lineage"]] == [row["source_image"] for row in rows]
    record = GeneratedImages.read(tmp_path / "out")
    assert record.photographs["condition"] == "soft-edge"
    assert set(known.values()) <= record.provenance.group_ids


def test_an_image_is_the_same_however_many_are_drawn(base, shots, trained, tmp_path):
    generated(base, trained, shots["df"], tmp_path / "few", count=3)
    generated(base, trained, shots["df"], tmp_path / "many", count=6)
    for path in (tmp_path / "few" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "many" / "images" / path.name).read_bytes()


def test_without_photographs_there_is_nothing_to_follow(base, trained, tmp_path):
    with pytest.raises(DataError, match="images of a ControlNet follow the class's train photographs"):
        generated(base, trained, None, tmp_path)
