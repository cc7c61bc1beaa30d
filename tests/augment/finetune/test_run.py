import copy
import csv
import dataclasses
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from augment import device
from augment.diffusion.sample import SamplerConfig
from augment.finetune import loop as together
from augment.finetune.run import FinetuneConfig, finetune
from augment.finetune.trainer import Training
from augment.methods import apply_adapter
from augment.prompts import PromptConfig
from data.errors import ConfigError, DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.store import read_json

pytestmark = pytest.mark.numerical

LORA = FinetuneConfig(steps=5, batch_size=4, rank=2, learning_rate=1e-2, warmup=1, checkpoint_every=1, preview_every=0)
DREAM = dataclasses.replace(LORA, method="dreambooth", learning_rate=1e-3, prior_images=3)
PIXELS = PixelConfig(size=32)
WEIGHTS = {"lora": "pytorch_lora_weights.safetensors", "dreambooth": "unet/diffusion_pytorch_model.safetensors"}


@pytest.fixture(autouse=True)
def loaded(pipe, request, monkeypatch):
    """Loading is slow and tested elsewhere; one test here goes through the true door."""
    if request.function is not test_a_class_does_not_depend_on_its_neighbours:
        loaded_again(monkeypatch, pipe)


def loaded_again(monkeypatch, pipe):
    monkeypatch.setattr("augment.finetune.run.load_base", lambda _base: copy.deepcopy(pipe))


class StopError(Exception):
    pass


def stop_after(steps):
    def progress(_label, done, _steps, _loss):
        if done == steps:
            raise StopError

    return progress


def train(base, shots, config, folder, labels=("df",), progress=None, seed=0, finished=lambda *_: None):
    out = {label: folder / label for label in labels}
    finetune(base, {label: shots[label] for label in labels}, PIXELS, config, out, seed, progress, finished=finished)
    return [out[label] / WEIGHTS[config.method] for label in labels]


@pytest.mark.parametrize("config", [LORA, DREAM, dataclasses.replace(LORA, text_encoder=True)])
def test_three_steps_and_two_resumed_are_five(base, shots, tmp_path, config):
    (whole,) = train(base, shots, config, tmp_path / "whole")
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path / "parts", progress=stop_after(4))
    assert not (tmp_path / "parts" / "df" / "adapter.json").exists()
    counted = []
    (parts,) = train(base, shots, config, tmp_path / "parts", progress=lambda *said: counted.append(said[1]))
    assert counted == [5]
    assert parts.read_bytes() == whole.read_bytes()
    assert (parts.parents[whole.parents.index(tmp_path / "whole" / "df")] / "loss.csv").read_text() == (
        tmp_path / "whole" / "df" / "loss.csv"
    ).read_text()
    assert not (tmp_path / "parts" / "df" / "checkpoint").exists()


def test_a_class_does_not_depend_on_its_neighbours(base, shots, tmp_path):
    together = train(base, shots, LORA, tmp_path / "together", labels=("vasc", "df"))
    (alone,) = train(base, shots, LORA, tmp_path / "alone")
    other, own, expected = (load_file(path) for path in (*together, alone))
    assert own.keys() == expected.keys()
    assert all(torch.allclose(own[name], value, atol=1e-6, rtol=1e-4) for name, value in expected.items())
    assert not all(torch.allclose(other[name], value, atol=1e-6, rtol=1e-4) for name, value in expected.items())
    record = read_json(tmp_path / "together" / "df" / "adapter.json")
    assert record["together"] == ["vasc", "df"]


def test_another_seed_gives_another_adapter(base, shots, tmp_path):
    (first,), (other,) = (train(base, shots, LORA, tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert first.read_bytes() != other.read_bytes()


def test_the_loss_table_has_a_row_a_step(base, shots, tmp_path):
    train(base, shots, LORA, tmp_path)
    with (tmp_path / "df" / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert float(rows[0]["lr"]) == pytest.approx(1e-2)
    assert float(rows[-1]["lr"]) < 2e-3


def test_the_record_says_what_was_seen_and_made(base, shots, tmp_path, pipe):
    config = dataclasses.replace(DREAM, preview_every=4, preview=SamplerConfig(steps=2, batch_size=3))
    (weights,) = train(base, shots, config, tmp_path)
    record = read_json(tmp_path / "df" / "adapter.json")
    assert record["shots"]["image_ids"] == [f"df-{index}.png" for index in range(5)]
    assert record["shots"]["group_ids"] == [f"g-df-{index}.png" for index in range(5)]
    assert record["prompt"] == "dermoscopy of a sks dermatofibroma"
    assert record["token"] in record["prompt"].split()
    assert record["config"]["prior_images"] == 3
    assert record["final_loss"] > 0
    assert tmp_path / "df" / record["weights"] == weights
    strips = sorted(path.name for path in (tmp_path / "df" / "previews").iterdir())
    assert strips == ["step-000004.jpg", "step-000005.jpg"]
    with Image.open(tmp_path / "df" / "previews" / strips[0]) as strip:
        assert strip.size == (3 * 32, 32)
    apply_adapter(pipe, tmp_path / "df", record["base"])


def test_previews_change_nothing(base, shots, tmp_path):
    (with_,) = train(
        base,
        shots,
        dataclasses.replace(LORA, preview_every=1, preview=SamplerConfig(steps=1, batch_size=2)),
        tmp_path / "a",
    )
    (without,) = train(base, shots, LORA, tmp_path / "b")
    assert with_.read_bytes() == without.read_bytes()


def spoilt(monkeypatch, label, at):
    """The class's loss is not a number at this step."""
    real = together.class_losses

    def losses(group, batches):
        spoil = [torch.nan if t.lesson.label == label and len(t.losses) + 1 == at else 1.0 for t in group]
        return real(group, batches) * torch.tensor(spoil)

    monkeypatch.setattr(together, "class_losses", losses)


@pytest.mark.parametrize("base_config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_a_loss_that_is_not_a_number_names_class_and_step_and_ends_that_class_alone(
    base, pipe, shots, tmp_path, monkeypatch, base_config
):
    config = dataclasses.replace(base_config, checkpoint_every=2)
    written = []
    spoilt(monkeypatch, "df", at=4)
    with pytest.raises(TrainingError, match=r"^df: the loss is not a number at step 4 of 5 .* checkpoint of step 2 in"):
        train(base, shots, config, tmp_path, ("df", "vasc"), finished=lambda label, _seconds: written.append(label))
    assert written == ["vasc"]
    assert not (tmp_path / "df" / "adapter.json").exists()
    (kept,) = (tmp_path / "df" / "checkpoint").iterdir()
    state = torch.load(kept, weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["weights"]["parameters"].values())
    monkeypatch.undo()
    loaded_again(monkeypatch, pipe)
    (mended,) = train(base, shots, config, tmp_path)
    whole = train(base, shots, config, tmp_path / "whole", ("df", "vasc"))
    alone = load_file(tmp_path / "vasc" / WEIGHTS[config.method])
    for found, expected in ((load_file(mended), load_file(whole[0])), (alone, load_file(whole[1]))):
        assert all(torch.allclose(found[key], value, atol=1e-6, rtol=1e-3) for key, value in expected.items())


def test_finished_classes_are_told_with_their_share_of_the_time(base, shots, tmp_path):
    told = {}
    train(base, shots, LORA, tmp_path, ("df",))
    train(base, shots, LORA, tmp_path, ("vasc", "df"), finished=told.__setitem__)
    assert told["df"] == read_json(tmp_path / "df" / "adapter.json")["seconds"]
    assert 0 < told["vasc"] == pytest.approx(read_json(tmp_path / "vasc" / "adapter.json")["seconds"], abs=0.01)


def test_speed_alone_changes_no_key(base, shots, tmp_path):
    train(base, shots, LORA, tmp_path)
    before = (tmp_path / "df" / "adapter.json").stat().st_mtime_ns
    train(base, shots, dataclasses.replace(LORA, classes_at_once=1), tmp_path)
    assert (tmp_path / "df" / "adapter.json").stat().st_mtime_ns == before


def test_a_checkpoint_of_other_settings_is_not_taken_up(base, shots, tmp_path):
    with pytest.raises(StopError):
        train(base, shots, LORA, tmp_path, progress=stop_after(3))
    counted = []
    train(base, shots, dataclasses.replace(LORA, clip=0.5), tmp_path, progress=lambda *said: counted.append(said[1]))
    assert counted == [1, 2, 3, 4, 5]


def test_a_finished_class_is_left_alone(base, shots, tmp_path):
    (weights,) = train(base, shots, LORA, tmp_path)
    before = weights.stat().st_mtime_ns
    train(base, shots, LORA, tmp_path)
    assert weights.stat().st_mtime_ns == before
    train(base, shots, LORA, tmp_path, seed=1)
    assert weights.stat().st_mtime_ns != before


def test_dreambooth_without_a_prior_trains_on_the_class_alone(base, shots, tmp_path):
    (alone,) = train(base, shots, dataclasses.replace(DREAM, prior_images=0), tmp_path / "alone")
    (held,) = train(base, shots, DREAM, tmp_path / "held")
    first, second = load_file(alone), load_file(held)
    assert any(not torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_a_small_card_holds_only_what_each_stage_needs(base, shots, tmp_path, monkeypatch, config):
    module, events = sys.modules["augment.finetune.run"], []

    def told(name, *said):
        """Note what a stage is called with, and call it."""
        real = getattr(module, name)

        def call(*given, **options):
            events.append((name, *(options[key] for key in said)))
            return real(*given, **options)

        monkeypatch.setattr(module, name, call)

    for name, *said in (("posteriors", "chunk"), ("Training",), ("train",)):
        told(name, *said)
    real = device.settle
    monkeypatch.setattr(device, "settle", lambda *given: (events.append(("settle", *given[2:])), real(*given))[1])
    settings = {"steps": 1, "offload": True}
    (small,) = train(base, shots, dataclasses.replace(config, **settings), tmp_path / "small")
    assert events == [
        ("settle",),  # and then the copy of the UNet that LoRA is trained on
        ("settle", "vae"),
        ("posteriors", 1),
        ("settle", "text_encoder", *(() if config is LORA else ("unet",))),
        ("Training",),
        ("settle",),
        ("train",),
    ]
    events.clear()
    (large,) = train(base, shots, dataclasses.replace(config, steps=1), tmp_path / "large")
    assert events == [("posteriors", 8), ("Training",), ("train",)]
    found, expected = load_file(small), load_file(large)
    assert all(torch.allclose(found[key], value, atol=1e-3, rtol=1e-3) for key, value in expected.items())


def test_bad_input_is_refused_in_words(base, shots, tmp_path):
    empty = shots["df"].where(shots["df"].table["label"] == "mel")
    with pytest.raises(DataError, match="no images to learn mel from"):
        finetune(base, {"mel": empty}, PIXELS, LORA, {"mel": tmp_path}, 0)
    with pytest.raises(ConfigError, match=r"pixels\.size is 24"):
        finetune(base, shots, PixelConfig(size=24), LORA, {"df": tmp_path, "vasc": tmp_path}, 0)


def test_with_columns_an_image_s_prompt_tells_of_the_table(base, shots, tmp_path, monkeypatch):
    lessons = []
    real = Training.__init__
    monkeypatch.setattr(Training, "__init__", lambda self, *given: (lessons.append(given[1]), real(self, *given))[1])
    table = shots["df"].table.assign(sex=["male", "", "female", "male", "unknown"])
    known = {"df": Manifest(table, shots["df"].roots)}
    config = dataclasses.replace(LORA, steps=1)
    for name, wording in (("plain", PromptConfig()), ("told", PromptConfig(sex="sex"))):
        finetune(base, known, PIXELS, config, {"df": tmp_path / name}, 0, None, wording)
    plain, told = lessons
    assert plain.prompts == ("dermoscopy of a dermatofibroma", "dermoscopy of a skin lesion", "")
    assert told.prompts == (*plain.prompts, f"{plain.prompts[0]} of a man", f"{plain.prompts[0]} of a woman")
    assert told.told.tolist() == [3, 0, 4, 3, 0]
    assert read_json(tmp_path / "told" / "adapter.json")["prompt"] == plain.prompts[0]
    keys = {read_json(tmp_path / name / "adapter.json")["key"] for name in ("plain", "told")}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("config", "said"), [(LORA, "x-ray of a fibrous nodule"), (DREAM, "x-ray of a sks fibrous nodule")]
)
def test_prompts_are_worded_as_the_study_says(base, shots, tmp_path, monkeypatch, config, said):
    lessons = []
    real = Training.__init__
    monkeypatch.setattr(Training, "__init__", lambda self, *given: (lessons.append(given[1]), real(self, *given))[1])
    wording = PromptConfig(picture="x-ray", subject="lung", words={"df": "fibrous nodule"})
    config = dataclasses.replace(config, steps=1)
    finetune(base, {"df": shots["df"]}, PIXELS, config, {"df": tmp_path}, 0, None, wording)
    assert lessons[0].prompts == (said, "x-ray of a lung", "")
    assert read_json(tmp_path / "adapter.json")["prompt"] == said
