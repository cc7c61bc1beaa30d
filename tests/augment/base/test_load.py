"""Weights that are whole are read as they are; a damaged file is one line that names it and the fix."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from augment.base.autoencoder import psnr
from augment.base.config import TINY, BaseConfig
from augment.base.load import PARTS, load_base
from augment.base.provenance import base_training_record
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from data.errors import BaseError
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"

# the layout of the original Stable Diffusion, by CompVis: what diffusers calls a layer, and its name there
RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)
OF_UNET: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^time_embedding\.linear_1", "time_embed.0"),
    (r"^time_embedding\.linear_2", "time_embed.2"),
    (r"^conv_in", "input_blocks.0.0"),
    (r"^conv_norm_out", "out.0"),
    (r"^conv_out", "out.2"),
    (r"^down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{3 * int(m[1]) + int(m[2]) + 1}.0"),
    (r"^down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{3 * int(m[1]) + int(m[2]) + 1}.1"),
    (r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{3 * int(m[1]) + 3}.0.op"),
    (r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{3 * int(m[1]) + int(m[2])}.0"),
    (r"^up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{3 * int(m[1]) + int(m[2])}.1"),
    (r"^up_blocks\.(\d)\.upsamplers\.0", lambda m: f"output_blocks.{3 * int(m[1]) + 2}.{1 if m[1] == '0' else 2}"),
)
OF_VAE: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample"),
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.to_([qkv])", r"attn_1.\1"),
    (r"attn_1\.to_out\.0", "attn_1.proj_out"),
)


def original(pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
    """The pipeline's weights under the names, and in the shapes, of one original file."""
    found = {}
    for key, tensor in pipe.unet.state_dict().items():
        name = key
        for here, there in OF_UNET:
            name = re.sub(here, there, name)
        for here, there in RESNET:
            name = name if ".attentions." in key else name.replace(here, there)
        found[f"model.diffusion_model.{name}"] = tensor
    for key, tensor in pipe.vae.state_dict().items():
        name = key
        for here, there in OF_VAE:
            name = re.sub(here, there, name)
        convolution = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
        found[f"first_stage_model.{name}"] = tensor[:, :, None, None] if convolution else tensor
    for key, tensor in pipe.text_encoder.state_dict().items():
        found[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = tensor
    return {name: tensor.contiguous() for name, tensor in found.items()}


@pytest.fixture(scope="module")
def small() -> StableDiffusionPipeline:
    """Stable Diffusion 1's blocks, narrow, with random weights."""
    pipe = build_tiny_model(TinyModelConfig(text_width=32, text_layers=1))
    torch.manual_seed(0)
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    widths = {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 2, "norm_num_groups": 4}
    pipe.register_modules(
        unet=UNet2DConditionModel(sample_size=8, cross_attention_dim=32, attention_head_dim=4, **widths),
        vae=AutoencoderKL(down_block_types=down, up_block_types=up, sample_size=64, **widths),
    )
    return pipe


@pytest.fixture(scope="module")
def configs(small: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its configs and tokenizer, and no weights."""
    folder = tmp_path_factory.mktemp("configs")
    small.save_pretrained(folder)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    return folder


def kept_as(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        legacy = path.stem == "legacy"
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("name", ["base.safetensors", "base.ckpt", "legacy.ckpt"])
def test_a_single_file_holds_the_pipeline_that_was_put_into_it(
    small: StableDiffusionPipeline, configs: Path, tmp_path: Path, name: str
):
    file = kept_as(tmp_path / name, original(small))
    again = load_base(BaseConfig(source=str(file), config=str(configs)))
    for part in PARTS:
        before, after = (getattr(pipe, part).state_dict() for pipe in (small, again))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before), part
    assert again.tokenizer("a mole").input_ids == small.tokenizer("a mole").input_ids


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        (
            "model.diffusion_model.middle_block.1.norm",
            r"cannot be read .* \(it lacks tensors of the model\); fetch the",
        ),
        ("first_stage_model.decoder.norm_out", r"cannot be read .* \(it lacks tensors of the model\); fetch the file"),
        (
            "cond_stage_model.transformer.text_model.final_layer_norm",
            "the weights of its text_encoder lack 2 of .* anew",
        ),
    ],
)
def test_a_single_file_that_lacks_tensors_is_refused(
    small: StableDiffusionPipeline, configs: Path, tmp_path: Path, lacking: str, reason: str
):
    state = {name: tensor for name, tensor in original(small).items() if not name.startswith(lacking)}
    file = kept_as(tmp_path / "base.safetensors", state)
    with pytest.raises(BaseError, match=rf"^base {file}: {reason}"):
        load_base(BaseConfig(source=str(file), config=str(configs)))


def test_a_text_encoder_of_another_releases_names_is_whole(tmp_path: Path):
    folder = Path(shutil.copytree(TINY, tmp_path / "base"))
    state = load_file(TINY / TEXT)
    named = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in state.items()}
    named["text_model.embeddings.position_ids"] = torch.arange(16)[None]  # Stable Diffusion 1.5's file has it
    save_file(named, folder / TEXT, metadata={"format": "pt"})
    again, before = (load_base(BaseConfig(source=source)).text_encoder.state_dict() for source in (str(folder), "tiny"))
    assert all(torch.equal(before[key], again[key]) for key in before)


def lacking(name: str, count: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        state = load_file(folder / name)
        for key in sorted(state)[:count]:
            del state[key]
        save_file(state, folder / name, metadata={"format": "pt"})

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:50_000]) and None


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


@pytest.mark.parametrize(
    ("spoil", "named", "reason"),
    [
        (lacking(TEXT, 8), "", "the weights of its text_encoder lack 8 of the model's tensors, first embeddings"),
        (lacking(UNET, 20), "", "the weights of its unet lack 20 of the model's tensors, first conv_in.bias"),
        (lacking(VAE, 1), "", "the weights of its vae lack 1 of the model's tensors, first decoder.conv_in.bias"),
        (cut(TEXT), "/text_encoder", "cannot be loaded"),
        (cut(UNET), "", UNET),
        (cut(VAE), "", VAE),
        (written("model_index.json", "{"), "", "model_index.json' is not a valid JSON file"),
        (written("model_index.json", '{"_class_name": "OtherPipeline"}'), "", "is a OtherPipeline"),
        (written("unet/config.json", "{"), "", "unet/config.json"),
        (written("unet/config.json", '{"block_out_channels": []}'), "", "cannot be loaded"),
        (written("text_encoder/config.json", '{"hidden_size": 130}'), "/text_encoder", "cannot be loaded"),
        (written("tokenizer/tokenizer.json", "{"), "", "cannot be loaded"),
        (lambda folder: (folder / UNET).unlink(), "", "/unet"),
        (lambda folder: shutil.rmtree(folder / "text_encoder"), "/text_encoder", "model.safetensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_a_damaged_folder_is_one_line(spoil: Callable[[Path], None], named: str, reason: str, tmp_path: Path):
    folder = Path(shutil.copytree(TINY, tmp_path / "base"))
    spoil(folder)
    with pytest.raises(BaseError, match=rf"^base {folder}{named}: .*{re.escape(reason)}") as caught:
        load_base(BaseConfig(source=str(folder)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(("anew", "Stable Diffusion 1.x and 2.x fit"))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


@pytest.mark.parametrize(
    ("name", "content", "reason", "fix"),
    [
        ("empty.ckpt", b"", "cannot be read as weights", "fetch it anew"),
        ("text.ckpt", b"hello world\n" * 100, "cannot be read as weights", "fetch it anew"),
        ("page.ckpt", b"<html>404</html>", "is no weights file", "fetch it anew"),
        ("zip.ckpt", b"PK\x03\x04" + bytes(100), "cannot be read as weights|is no weights file", "fetch it anew"),
        ("code.ckpt", pickle.dumps({"state_dict": Code()}), "could run code", "use the .safetensors file"),
        ("old-code.ckpt", pickle.dumps(Code(), protocol=2), "could run code", "use the .safetensors file"),
        ("empty.safetensors", b"", "cannot be read with the configs", "fetch the file anew"),
        ("page.safetensors", b"<html>404</html>", "cannot be read with the configs", "fetch the file anew"),
    ],
)
def test_a_file_that_is_no_weights_says_what_is_wrong_with_it(
    tmp_path: Path, name: str, content: bytes, reason: str, fix: str, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(BaseError, match=rf"^base {file}: .*({reason}).*; {fix}") as caught:
        load_base(BaseConfig(source=str(file), config=str(TINY)))
    assert ("code" in str(caught.value)) == ("code" in name)
    assert "\n" not in str(caught.value)
    assert "never" not in capsys.readouterr().out


def test_the_weights_of_another_model_are_refused(tmp_path: Path):
    save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(
        BaseError, match=r"other\.safetensors: cannot be read with .*; fetch the file anew, or let base"
    ):
        load_base(BaseConfig(source=str(tmp_path / "other.safetensors"), config=str(TINY)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "folder"
    build_tiny_model(TinyModelConfig(), seed=3).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("./nowhere", "give `tiny`, a hub id"),
        ("nowhere.safetensors", "no such file"),
        ("not-a-name", "give `tiny`, a hub id"),
    ],
)
def test_what_is_not_there_is_refused(source: str, words: str):
    with pytest.raises(BaseError, match=words):
        load_base(BaseConfig(source=source))


def test_a_saved_pipeline_loads_as_it_was(folder: Path):
    pipe, again = build_tiny_model(TinyModelConfig(), seed=3), load_base(BaseConfig(source=str(folder)))
    for name in ("unet", "vae", "text_encoder"):
        states = getattr(pipe, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    prompt = "dermoscopy of a sks dermatofibroma"
    assert again.tokenizer(prompt).input_ids == pipe.tokenizer(prompt).input_ids
    assert again.scheduler.config.prediction_type == "v_prediction"
    assert again.safety_checker is None


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path):
    with pytest.raises(BaseError, match=r"model_index\.json"):
        load_base(BaseConfig(source=str(tmp_path)))


def test_a_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BaseError, match="cannot be loaded") as caught:
        load_base(BaseConfig(source="nobody/no-such-model-anywhere"))
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(folder: Path, tmp_path: Path):
    pipe = load_base(BaseConfig(source=str(folder)))
    pipe.save_pretrained(tmp_path)
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.bias"][0] = float("nan")
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(BaseError, match=r"unet holds numbers that are not finite, first in conv_in\.bias"):
        load_base(BaseConfig(source=str(tmp_path)))


def test_a_single_file_needs_its_configs(tmp_path: Path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(BaseError, match=r"base\.config"):
        load_base(BaseConfig(source=str(tmp_path / "model.safetensors")))


def test_a_pickle_that_could_run_code_is_refused(folder: Path, tmp_path: Path):
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("this must never be printed",)

    with (tmp_path / "model.ckpt").open("wb") as file:
        pickle.dump({"state_dict": Code()}, file)
    with pytest.raises(BaseError, match="could run code"):
        load_base(BaseConfig(source=str(tmp_path / "model.ckpt"), config=str(folder)))


def test_the_embedded_base_loads_is_small_and_was_trained_on_no_rare_class():
    pipe = load_base(BaseConfig())
    assert pipe.safety_checker is None
    assert set(base_training_record(BaseConfig())["by_class"]) == {"nv", "mel", "bkl", "bcc"}
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) < 20e6


def test_a_plain_pipeline_loads_the_embedded_base_in_the_same_precision():
    plain, ours = StableDiffusionPipeline.from_pretrained(TINY), load_base(BaseConfig())
    plain.set_progress_bar_config(disable=True)
    image = plain("dermoscopy of a melanoma", num_inference_steps=1, output_type="np").images
    assert image.shape == (1, 64, 64, 3)
    for name in PARTS:
        own, other = (getattr(pipe, name).state_dict() for pipe in (ours, plain))
        assert own.keys() == other.keys()
        assert all(torch.equal(own[key], other[key]) and own[key].dtype == other[key].dtype for key in own)


def test_the_embedded_autoencoder_reconstructs_the_rare_classes_too(tmp_path: Path):
    rare = PhantomConfig(images=12, seed=5, codes=("akiec", "df", "vasc"), balanced=True)
    images = load_pixels(load_manifest(DataConfig(phantom=rare), tmp_path), PixelConfig())
    assert min(psnr(load_base(BaseConfig()).vae, images)) > 30  # dB
