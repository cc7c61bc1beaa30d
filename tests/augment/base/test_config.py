"""One door to base models: what is offered loads, what is unsafe or broken is refused in words."""

import pickle
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from augment.base.autoencoder import psnr
from augment.base.config import TINY, BaseConfig, base_identity, known_in_full, load_base, random_tiny, seen_by
from data.errors import BaseError
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "folder"
    random_tiny(seed=3).save_pretrained(path)
    return path


def test_a_saved_pipeline_loads_as_it_was(folder: Path):
    pipe, again = random_tiny(seed=3), load_base(BaseConfig(source=str(folder)))
    for name in ("unet", "vae", "text_encoder"):
        states = getattr(pipe, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    prompt = "dermoscopy of a sks dermatofibroma"
    assert again.tokenizer(prompt).input_ids == pipe.tokenizer(prompt).input_ids
    assert again.scheduler.config.prediction_type == "v_prediction"
    assert again.safety_checker is None


def test_identity_follows_the_weights(folder: Path, tmp_path: Path):
    random_tiny(seed=4).save_pretrained(tmp_path)
    one, other = (base_identity(BaseConfig(source=str(path))) for path in (folder, tmp_path))
    assert one["sha256"] != other["sha256"]
    assert one == base_identity(BaseConfig(source=str(folder)))
    assert base_identity(BaseConfig(source="owner/name", revision="abc")) == {
        "source": "owner/name",
        "revision": "abc",
    }


def test_identity_does_not_ask_when_or_how_long(tmp_path: Path):
    random_tiny(seed=3).save_pretrained(tmp_path)
    before = base_identity(BaseConfig(source=str(tmp_path)))
    (tmp_path / "cost.json").write_text('{"seconds": 3}', encoding="utf-8")
    assert base_identity(BaseConfig(source=str(tmp_path))) == before


def test_a_base_of_unknown_training_says_so(folder: Path):
    assert seen_by(BaseConfig(source=str(folder)))["groups"] == "unknown"


@pytest.mark.parametrize("record", ["{", "[1, 2]", '{"learning_rate": 0.1}', '{"images": 3, "before": {}}'])
def test_a_record_that_does_not_say_what_was_seen_leaves_it_unknown(tmp_path: Path, record: str):
    (tmp_path / "training.json").write_text(record)
    assert not known_in_full(seen_by(BaseConfig(source=str(tmp_path))))
    assert known_in_full(seen_by(BaseConfig()))


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


def test_the_embedded_base_loads_is_small_and_has_seen_no_rare_class():
    pipe = load_base(BaseConfig())
    assert pipe.safety_checker is None
    assert set(seen_by(BaseConfig())["by_class"]) == {"nv", "mel", "bkl", "bcc"}
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) < 20e6


def test_a_plain_pipeline_that_is_told_no_precision_draws_with_the_embedded_base():
    plain, ours = StableDiffusionPipeline.from_pretrained(TINY), load_base(BaseConfig())
    plain.set_progress_bar_config(disable=True)
    image = plain("dermoscopy of a melanoma", num_inference_steps=1, output_type="np").images
    assert image.shape == (1, 64, 64, 3)
    for name in ("unet", "vae", "text_encoder"):
        own, other = (getattr(pipe, name).state_dict() for pipe in (ours, plain))
        assert own.keys() == other.keys()
        assert all(torch.equal(own[key], other[key]) and own[key].dtype == other[key].dtype for key in own)


def test_the_embedded_autoencoder_draws_the_rare_classes_too(tmp_path: Path):
    rare = PhantomConfig(images=12, seed=5, codes=("akiec", "df", "vasc"), balanced=True)
    images = load_pixels(load_manifest(DataConfig(phantom=rare), tmp_path), PixelConfig())
    assert min(psnr(load_base(BaseConfig()).vae, images)) > 30  # dB


def test_a_base_s_files_are_digested_once_and_anew_when_they_change(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("augment.base.config.file_sha256", lambda path: asked.append(path) or f"digest {len(asked)}")
    weights = tmp_path / "one.safetensors"
    weights.write_bytes(b"one")
    first, again = (base_identity(BaseConfig(source=str(weights))) for _ in range(2))
    assert first == again
    assert len(asked) == 1
    weights.write_bytes(b"another")
    assert base_identity(BaseConfig(source=str(weights))) != first
