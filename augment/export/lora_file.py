"""LoRA, LoHa and LoKr as one safetensors file of kohya's sd-scripts and the webui, with their metadata.

Names and alpha: sd-scripts networks/lora.py; what the webui reads of the metadata: extensions-builtin/Lora/network.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from augment.methods.kohya_names import kohya_name
from augment.methods.record import AdapterRecord
from data.durable import replacing

_FACTORS = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
_MODULES = {"lora": "networks.lora"}  # every other: LyCORIS'
_CROSS_ATTENTION = "_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k."
_READS = ("lora_down.weight", "hada_w1_b")  # the factor whose last dimension is the layer's input
_WIDTHS = {768: "False", 1024: "True"}  # of the prompt's embedding; whether the base is a Stable Diffusion 2.x


def kohya_lora(factors: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The tensors of such a file, from A and B by names such as unet.mid_block.resnets.0.conv1.lora_A.weight.

    A layer's update is alpha / rank B A. A file without alpha would be read with another one.
    """
    tensors: dict[str, Tensor] = {}
    for name, factor in factors.items():
        layer, kind = name.rpartition(".lora_")[0], name[-len("lora_A.weight") :]
        tensors[f"{kohya_name(layer)}.{_FACTORS[kind]}"] = factor
        tensors[f"{kohya_name(layer)}.alpha"] = torch.tensor(float(alpha), dtype=factor.dtype)
    return tensors


def metadata(record: AdapterRecord, name: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What kohya's own files say of themselves, as far as it is known; `name`: the file's, without its ending."""
    rank, config = str(record.config["rank"]), record.config
    images = len(record.provenance.image_ids)
    found = {
        "ss_network_module": _MODULES.get(record.method, "lycoris.kohya"),
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_network_args": json.dumps(_network_args(record)),
        "ss_output_name": name,
        "ss_sd_model_name": str(record.base.get("source", "")),
        "ss_learning_rate": str(config["learning_rate"]),
        "ss_max_train_steps": str(config["steps"]),
        "ss_steps": str(record.steps),
        "ss_num_train_images": str(images),
        "ss_resolution": f"({record.pixels['size']}, {record.pixels['size']})",
        "ss_seed": str(record.seed),
        "ss_tag_frequency": json.dumps({record.label: {record.prompt: images}}),  # the webui lists its words
    }
    return found | _version(tensors)


def _network_args(record: AdapterRecord) -> dict[str, str]:
    """The arguments of kohya's network module that make a network of the same layers."""
    args = {} if record.method == "lora" else {"algo": record.method}
    if record.config.get("conv_layers"):
        args |= {"conv_alpha": str(record.config["rank"]), "conv_dim": str(record.config["rank"])}
    return args


def _version(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """`ss_v2`, whether the base is a Stable Diffusion 2.x, by the width of what its cross-attention reads."""
    widths = {
        tensor.shape[-1] for name, tensor in tensors.items() if _CROSS_ATTENTION in name and name.endswith(_READS)
    }
    known = widths & set(_WIDTHS)
    return {"ss_v2": _WIDTHS[known.pop()]} if known else {}


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a file that has the same bytes each time.

    The library's own writer puts metadata in an order that changes from process to process; here it is sorted.
    """
    written = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    end = 8 + int.from_bytes(written[:8], "little")
    header = json.loads(written[8:end])
    header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes, as the format asks
    with replacing(path) as temporary:
        temporary.write_bytes(len(text).to_bytes(8, "little") + text + written[end:])
