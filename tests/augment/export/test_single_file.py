"""The single file: diffusers' own converters give back every tensor."""

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from augment.base.config import TINY, BaseConfig
from augment.base.load import from_file, load_base
from augment.device import PARTS
from augment.export.single_file import names_of_unet, names_of_vae, original_layout
from data.errors import BaseError

# Names as they are in v1-5-pruned-emaonly.safetensors, of each rule one.
PUBLISHED = """
model.diffusion_model.time_embed.2.bias
model.diffusion_model.input_blocks.0.0.weight
model.diffusion_model.input_blocks.1.0.emb_layers.1.weight
model.diffusion_model.input_blocks.3.0.op.weight
model.diffusion_model.input_blocks.4.0.skip_connection.weight
model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn2.to_out.0.bias
model.diffusion_model.input_blocks.11.0.out_layers.3.weight
model.diffusion_model.middle_block.1.proj_in.weight
model.diffusion_model.middle_block.2.in_layers.0.weight
model.diffusion_model.output_blocks.2.1.conv.weight
model.diffusion_model.output_blocks.5.2.conv.bias
model.diffusion_model.output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.weight
model.diffusion_model.out.2.weight
first_stage_model.encoder.down.1.block.0.nin_shortcut.weight
first_stage_model.encoder.down.2.downsample.conv.weight
first_stage_model.encoder.mid.attn_1.proj_out.weight
first_stage_model.encoder.norm_out.bias
first_stage_model.decoder.mid.block_2.conv1.weight
first_stage_model.decoder.up.3.upsample.conv.weight
first_stage_model.decoder.up.0.block.2.conv2.bias
first_stage_model.post_quant_conv.weight
cond_stage_model.transformer.text_model.embeddings.position_embedding.weight
cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.q_proj.weight
cond_stage_model.transformer.text_model.final_layer_norm.bias
""".split()


class Networks:
    """A pipeline's networks without numbers."""

    def __init__(self, text_width):
        heads = {"hidden_size": text_width, "num_attention_heads": 8, "num_hidden_layers": 12}
        channels = (128, 256, 512, 512)
        with torch.device("meta"):
            self.unet = UNet2DConditionModel(cross_attention_dim=768, sample_size=64)
            self.vae = AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=channels,
                layers_per_block=2,
            )
            self.text_encoder = CLIPTextModel(CLIPTextConfig(**heads))


@pytest.fixture(scope="module")
def networks():
    """Of the sizes of Stable Diffusion 1.5."""
    return Networks(768)


def test_names_are_the_published_ones(networks):
    written = original_layout(networks)
    assert set(PUBLISHED) <= set(written)
    counts = [sum(name.startswith(part) for name in written) for part in ("model.", "first_stage_model.", "cond_")]
    assert counts == [686, 248, 196]  # 686 and 248 as in the published file, whose text encoder also has position_ids
    assert written["first_stage_model.decoder.mid.attn_1.q.weight"].shape == (512, 512, 1, 1)
    assert written["model.diffusion_model.middle_block.1.proj_in.weight"].shape == (1280, 1280, 1, 1)


def test_diffusers_own_converters_give_back_every_tensor_of_this_geometry(networks):
    written = original_layout(networks)
    unet = convert_ldm_unet_checkpoint(dict(written), networks.unet.config)
    vae = convert_ldm_vae_checkpoint(dict(written), networks.vae.config)
    text = {name.removeprefix("text_model."): value for name, value in convert_ldm_clip_checkpoint(written).items()}
    for found, network in ((unet, networks.unet), (vae, networks.vae)):
        expected = network.state_dict()
        assert {name: tensor.shape for name, tensor in found.items()} == {k: v.shape for k, v in expected.items()}
    own = {name.removeprefix("text_model."): value for name, value in networks.text_encoder.state_dict().items()}
    assert {name: tensor.shape for name, tensor in text.items()} == {name: value.shape for name, value in own.items()}
    names = names_of_unet(networks.unet.state_dict(), 2)
    layer = "input_blocks.1.0.in_layers.2.weight"
    assert unet["down_blocks.0.resnets.0.conv1.weight"] is written[f"model.diffusion_model.{layer}"]
    assert len(set(names.values())) == len(names)


@pytest.fixture(scope="module")
def embedded():
    """The embedded base, as the export casts it."""
    pipe = load_base(BaseConfig())
    for name in PARTS:
        torch.nn.Module.to(getattr(pipe, name), torch.float16)
    return pipe


@pytest.fixture(scope="module")
def file(embedded, tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in original_layout(embedded).items()}, path)
    return path


def test_from_single_file_gives_the_same_tensors_to_the_bit(embedded, file):
    loaded = StableDiffusionPipeline.from_single_file(
        str(file), config=str(TINY), dtype=torch.float16, safety_checker=None, local_files_only=True
    )
    for name in PARTS:
        expected = getattr(embedded, name).state_dict()
        found = getattr(loaded, name).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())


def test_the_file_is_a_base_of_its_own(embedded, file):
    loaded = from_file(file, str(TINY))
    assert all(
        torch.equal(w, e.float()) for w, e in zip(loaded.unet.parameters(), embedded.unet.parameters(), strict=True)
    )


@pytest.mark.parametrize(("layers", "blocks"), [(1, 3), (3, 2)])
def test_the_rules_hold_for_other_depths(layers, blocks):
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32,) * blocks,
            layers_per_block=layers,
            down_block_types=("CrossAttnDownBlock2D",) * blocks,
            up_block_types=("CrossAttnUpBlock2D",) * blocks,
        )
    names = names_of_unet(unet.state_dict(), layers)
    tensors = {f"model.diffusion_model.{name}": unet.state_dict()[path] for path, name in names.items()}
    assert set(convert_ldm_unet_checkpoint(tensors, unet.config)) == set(names)


def test_a_stable_diffusion_2_is_refused_in_words():
    with pytest.raises(
        BaseError, match=r"text encoder is 1024 wide, so the base is a Stable Diffusion 2\.x.*diffusers"
    ):
        original_layout(Networks(1024))


@pytest.mark.parametrize("path", ["class_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv9.weight"])
def test_a_part_of_a_unet_that_the_layout_has_no_name_for_is_refused(path):
    with pytest.raises(BaseError, match="has no name for"):
        names_of_unet([path], 2)


@pytest.mark.parametrize("path", ["encoder.conv_other.weight", "decoder.mid_block.attentions.0.to_add.weight"])
def test_a_part_of_an_autoencoder_that_the_layout_has_no_name_for_is_refused(path):
    with pytest.raises(BaseError, match="has no name for"):
        names_of_vae([path], 4)
