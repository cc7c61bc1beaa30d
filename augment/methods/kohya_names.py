"""Names of layers in the files of kohya's sd-scripts, which the webui, LyCORIS and civitai share."""

from __future__ import annotations

_PREFIXES = {"unet": "lora_unet", "text_encoder": "lora_te"}
_TEXT = "text_model."  # in the text encoder's paths before transformers 5, and in every such file


def kohya_name(layer: str) -> str:
    """The name of a layer such as unet.mid_block.resnets.0.conv1: lora_unet_mid_block_resnets_0_conv1.

    The text encoder's are those of transformers before 5, e.g. lora_te_text_model_encoder_layers_0_mlp_fc1.
    """
    part, _, path = layer.partition(".")
    if part == "text_encoder":
        path = _TEXT + path.removeprefix(_TEXT)
    return f"{_PREFIXES[part]}_{path.replace('.', '_')}"
