"""A Stable Diffusion 1.x in one file: CompVis' names, which the webui and kohya read and `from_single_file` undoes.

The inverse of diffusers' converters (loaders/single_file_utils.py), by rules instead of a table of one geometry, so it
holds for any number of blocks and layers. Of an output block, the upsampler comes after the attention, if it has one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from diffusers import StableDiffusionPipeline
from torch import Tensor

from data.errors import BaseError

_OPEN_CLIP = 1024  # width of the text encoder of every Stable Diffusion 2.x
_TEXT = "text_model."
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def original_layout(pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
    """All weights of the pipeline by their names in such a file; the tensors are the pipeline's own or views.

    Raises BaseError for a Stable Diffusion 2.x, whose text encoder has another layout, and for an unknown part.
    """
    width = pipe.text_encoder.config.hidden_size
    if width >= _OPEN_CLIP:
        raise BaseError(
            f"the text encoder is {width} wide, so the base is a Stable Diffusion 2.x, whose single file has other "
            "names (OpenCLIP's); export it for diffusers"
        )
    unet, vae = pipe.unet.state_dict(), pipe.vae.state_dict()
    unet_names = names_of_unet(unet, pipe.unet.config.layers_per_block)
    vae_names = names_of_vae(vae, len(pipe.vae.config.up_block_types))
    tensors = {f"model.diffusion_model.{name}": unet[path] for path, name in unet_names.items()}
    tensors |= {f"first_stage_model.{name}": _as_convolution(name, vae[path]) for path, name in vae_names.items()}
    for path, tensor in pipe.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.{_TEXT}{path.removeprefix(_TEXT)}"] = tensor
    return tensors


def names_of_unet(paths: Collection[str], layers: int) -> dict[str, str]:
    """The names of a UNet's weights by their paths in diffusers; `layers`: ResNet blocks of each down block."""
    attended = {path.split(".")[1] for path in paths if path.startswith("up_blocks.") and ".attentions." in path}
    return {path: _unet_name(path, layers, attended) for path in paths}


def _unet_name(path: str, layers: int, attended: Collection[str]) -> str:
    if found := _MIDDLE.fullmatch(path):
        kind, index, rest = found.groups()
        return (
            f"middle_block.{2 * int(index)}.{_renamed(rest, _RESNET)}"
            if kind == "resnets"
            else f"middle_block.1.{rest}"
        )
    if found := _BLOCK.fullmatch(path):
        way, block, kind, index, rest = found.groups()
        first = int(block) * (layers + 1)  # an output block has one layer more, an input block the downsampler
        where = f"input_blocks.{first + int(index) + 1}" if way == "down" else f"output_blocks.{first + int(index)}"
        if kind == "resnets":
            return f"{where}.0.{_renamed(rest, _RESNET)}"
        if kind == "attentions":
            return f"{where}.1.{rest}"
        if kind == "downsamplers":
            return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv.', 'op.')}"
        return f"output_blocks.{first + layers}.{2 if block in attended else 1}.{rest}"
    return _renamed(path, _UNET)


def names_of_vae(paths: Collection[str], blocks: int) -> dict[str, str]:
    """The names of an autoencoder's weights by their paths in diffusers; `blocks`: of its decoder."""
    return {path: _vae_name(path, blocks) for path in paths}


def _vae_name(path: str, blocks: int) -> str:
    half, _, rest = path.partition(".")
    if half in {"quant_conv", "post_quant_conv"}:
        return path
    if found := _MIDDLE.fullmatch(rest):
        kind, index, end = found.groups()
        if kind == "attentions":
            return f"{half}.mid.attn_1.{_renamed(end, _VAE_ATTENTION)}"
        return f"{half}.mid.block_{int(index) + 1}.{end.replace('conv_shortcut', 'nin_shortcut')}"
    if found := _BLOCK.fullmatch(rest):
        way, block, kind, index, end = found.groups()
        number = int(block) if way == "down" else blocks - 1 - int(block)  # the decoder's are counted from its end
        where = f"{half}.{way}.{number}"
        if kind == "resnets":
            return f"{where}.block.{index}.{end.replace('conv_shortcut', 'nin_shortcut')}"
        if kind in {"downsamplers", "upsamplers"}:
            return f"{where}.{kind.removesuffix('rs')}.{end}"
    return f"{half}.{_renamed(rest, {'conv_in': 'conv_in', 'conv_out': 'conv_out', 'conv_norm_out': 'norm_out'})}"


def _renamed(path: str, names: dict[str, str]) -> str:
    """The path with its module renamed. Raises BaseError for a module that is not in the table."""
    module, _, kind = path.rpartition(".")
    if module not in names:
        raise BaseError(f"the layout of Stable Diffusion 1.x has no name for {path}; export the pipeline for diffusers")
    return f"{names[module]}.{kind}"


def _as_convolution(name: str, tensor: Tensor) -> Tensor:
    """The autoencoder's attention has 1 x 1 convolutions there, for which diffusers has linear layers."""
    linear = ".attn_1." in name and tensor.dim() == 2  # noqa: PLR2004 - a matrix
    return tensor[:, :, None, None] if linear else tensor
