"""A LoRA of another program as a start: the first step draws what the file draws."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from augment.base.param_count import base_parts
from augment.diffusion.conditioning import encode_prompt
from augment.export.lora_file import kohya_lora
from augment.methods.init_lora import init_provenance
from augment.methods.lora import LoraConfig
from augment.methods.lora_files import FILE
from augment.methods.lora_layers import lora_shapes, target_layers, target_modules
from augment.methods.record import AdapterRecord
from augment.methods.weights import with_parts
from data.errors import BaseError
from data.splits.provenance import Provenance
from data.store import file_sha256

pytestmark = pytest.mark.numerical


def noise_pred(pipe):
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)
        return pipe.unet(latents, torch.tensor([10, 900]), embeds).sample


def factors(pipe, rank, text=True, further=True):
    targets = target_modules(conv_layers=True, text_encoder=text, further=further)
    layers = {name: tuple(layer.weight.shape) for name, layer in target_layers(pipe, targets).items()}
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(s, generator=generator) for name, s in lora_shapes(layers, rank).items()}


def expected(pipe, made, scale):
    """The base with scale B A added to each layer."""
    plain = with_parts(pipe, unet=copy.deepcopy(pipe.unet), text_encoder=copy.deepcopy(pipe.text_encoder))
    for name, down in made.items():
        if ".lora_A." in name:
            part, _, path = name.removesuffix(".lora_A.weight").partition(".")
            weight = getattr(plain, part).get_submodule(path).weight
            up = made[name.replace(".lora_A.", ".lora_B.")]
            weight.data += scale * (up.flatten(1) @ down.flatten(1)).view(weight.shape)
    return noise_pred(plain)


def started(pipe, config):
    trainable = config.trainable(pipe, pipe.device)
    trainable.bind([trainable.parameters(0)])
    if config.text_encoder:
        return noise_pred(trainable.pipe)
    with torch.no_grad():
        latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
        embeds = encode_prompt(pipe, "dermoscopy of a melanoma").expand(2, -1, -1)
        return trainable.pipe.unet(latents, torch.tensor([10, 900]), embeds).sample


def old_diffusers(made):
    """Names as diffusers wrote them before peft."""
    renamed = {}
    for name, factor in made.items():
        layer, kind = name.split(".lora_")[0], "down" if ".lora_A." in name else "up"
        end = layer.rpartition(".")[2]
        if ".attn" in layer and end in {"to_q", "to_k", "to_v"}:
            renamed[f"{layer.removesuffix(end)}processor.{end}_lora.{kind}.weight"] = factor
        elif layer.endswith("to_out.0"):
            renamed[f"{layer.removesuffix('to_out.0')}processor.to_out_lora.{kind}.weight"] = factor
        elif layer.startswith("unet."):
            renamed[f"{layer}.lora.{kind}.weight"] = factor
        else:
            renamed[f"{layer}.lora_linear_layer.{kind}.weight"] = factor
    return renamed


FORMS = {
    "kohya": lambda made, alpha: (kohya_lora(made, alpha), None),
    "kohya of the first of two text encoders": lambda made, alpha: (
        {name.replace("lora_te_text_model", "lora_te1"): value for name, value in kohya_lora(made, alpha).items()},
        None,
    ),
    "diffusers": lambda made, alpha: (
        made,
        {"lora_adapter_metadata": json.dumps({f"{part}.lora_alpha": alpha for part in ("unet", "text_encoder")})},
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rank", [2, 4])
def test_training_starts_from_what_the_file_draws(pipe, form, rank, tmp_path):
    made, alpha = factors(pipe, 2), 3
    tensors, metadata = FORMS[form](made, alpha)
    save_file(tensors, tmp_path / "lora.safetensors", metadata)
    config = LoraConfig(rank=rank, text_encoder=True, init_lora=str(tmp_path / "lora.safetensors"))
    torch.testing.assert_close(started(pipe, config), expected(pipe, made, alpha / 2), atol=1e-4, rtol=1e-4)


def test_the_classes_of_one_batch_start_from_it_too_and_save_it(pipe, base, tmp_path, with_adapter):
    made = factors(pipe, 2, text=False)
    save_file(kohya_lora(made, 1), tmp_path / "lora.safetensors")
    config = LoraConfig(rank=3, init_lora=str(tmp_path / "lora.safetensors"))
    torch.testing.assert_close(started(pipe, config), expected(pipe, made, 0.5), atol=1e-4, rtol=1e-4)
    trainable = config.trainable(pipe, pipe.device)
    parameters = trainable.parameters(1)
    assert config.trained_params(base_parts(base, 32)) == parameters["factors"].numel()
    trainable.save(parameters, tmp_path / "saved")
    (tmp_path / "lora.safetensors").unlink()  # an adapter needs it no more
    merged = with_adapter(pipe, config.adapter(tmp_path / "saved"))
    torch.testing.assert_close(noise_pred(merged), expected(pipe, made, 0.5), atol=1e-4, rtol=1e-4)


def test_names_from_before_peft_are_read(pipe, tmp_path):
    made = factors(pipe, 2, further=False)
    save_file(old_diffusers(made), tmp_path / "lora.safetensors")
    config = LoraConfig(rank=2, text_encoder=True, init_lora=str(tmp_path / "lora.safetensors"))
    torch.testing.assert_close(started(pipe, config), expected(pipe, made, 1), atol=1e-4, rtol=1e-4)


def renamed(old, new):
    return lambda made: {name.replace(old, new): value for name, value in kohya_lora(made, 2).items()}


def of_another_width(made):
    tensors = kohya_lora(made, 2)
    name = next(name for name in tensors if name.endswith("to_q.lora_down.weight"))
    return {**tensors, name: torch.zeros(2, 7)}


def not_finite(made):
    tensors = kohya_lora(made, 2)
    next(value for value in tensors.values() if value.dim()).view(-1)[0] = torch.inf
    return tensors


@pytest.mark.parametrize(
    ("spoil", "settings", "message"),
    [
        (lambda made: kohya_lora(made, 2), {"rank": 1}, r"has rank 2 in .*; set finetune\.rank: 2"),
        (lambda made: kohya_lora(made, 2), {"text_encoder": False}, r"set finetune\.text_encoder: true"),
        (lambda made: kohya_lora(made, 2), {"conv_layers": False}, r"set finetune\.conv_layers: true"),
        (renamed("mid_block", "mid_block_9"), {}, r"layers are none of this base \(first lora_unet_mid_block_9"),
        (renamed("lora_up.weight", "lora_other.weight"), {}, "none of this base"),
        (of_another_width, {}, r"has the shape \(2, 7\), this base needs"),
        (not_finite, {}, "not finite"),
        (lambda _made: {"lora_unet_x.hada_w1_a": torch.zeros(1)}, {}, "is a LoHa, and only a plain LoRA"),
        (lambda _made: {"weight": torch.zeros(1)}, {}, "1 of its 1 layers are none of this base"),
        (lambda _made: {}, {}, "0 of its 0 layers are none of this base"),
        (lambda made: {**made, "text_encoder_2.x.lora_A.weight": torch.zeros(1)}, {}, r"first text_encoder_2\.x"),
        (renamed("conv1.lora_down.weight", "conv1.lora_mid.weight"), {}, "none of this base"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(pipe, spoil, settings, message, tmp_path):
    save_file(spoil(factors(pipe, 2)), tmp_path / "lora.safetensors")
    config = LoraConfig(
        **{"rank": 2, "text_encoder": True, **settings, "init_lora": str(tmp_path / "lora.safetensors")}
    )
    with pytest.raises(BaseError, match=message) as found:
        config.trainable(pipe, pipe.device)
    assert "\n" not in str(found.value)


def test_a_rank_stabilised_lora_is_refused(pipe, tmp_path):
    metadata = {"lora_adapter_metadata": json.dumps({"unet.use_rslora": True})}
    save_file(factors(pipe, 2, text=False), tmp_path / "lora.safetensors", metadata)
    with pytest.raises(BaseError, match="is a rank-stabilised LoRA"):
        LoraConfig(init_lora=str(tmp_path / "lora.safetensors")).trainable(pipe, pipe.device)


def test_a_file_of_another_kind_is_refused(pipe, tmp_path):
    (tmp_path / "lora.ckpt").write_bytes(b"pickle")
    with pytest.raises(BaseError, match="cannot be read as safetensors"):
        LoraConfig(init_lora=str(tmp_path / "lora.ckpt")).trainable(pipe, pipe.device)


def test_what_a_file_was_trained_on_is_unknown_but_for_an_adapter_of_this_program(tmp_path, write_adapter_record):
    base = {"source": "tiny"}
    (tmp_path / FILE).write_bytes(b"weights")
    assert not init_provenance(tmp_path / FILE, base).is_complete
    write_adapter_record(tmp_path, LoraConfig(), base)
    assert not init_provenance(tmp_path / FILE, base).is_complete  # another file's record
    record = json.loads((tmp_path / "adapter.json").read_text())
    (tmp_path / "adapter.json").write_text(json.dumps({**record, "sha256": file_sha256(tmp_path / FILE)}))
    seen = AdapterRecord.read(tmp_path).seen
    assert init_provenance(tmp_path / FILE, base) == seen
    assert init_provenance(tmp_path / FILE, {"source": "another"}) == seen | Provenance.unknown()
