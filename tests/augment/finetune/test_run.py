import copy
import csv
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from augment.context import Context
from augment.diffusion.sample import SamplerConfig
from augment.finetune import loop
from augment.finetune.held_out import HeldOut
from augment.finetune.run import finetune
from augment.finetune.select import Selection
from augment.finetune.stopping import FOLDER, request_stop
from augment.finetune.trainer import ClassTrainer
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from augment.methods.record import RECORD, AdapterRecord, Stopped
from augment.methods.table import read_adapter
from augment.methods.textual_inversion import TextualInversionConfig
from augment.prompts import PromptConfig
from data.errors import BaseError, ConfigError, DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.splits.provenance import Provenance

SETTINGS = {"steps": 5, "batch_size": 4, "lr_warmup_steps": 1, "checkpointing_steps": 1, "preview_every": 0}
LORA = LoraConfig(rank=2, learning_rate=1e-2, **SETTINGS)
PEFT = dataclasses.replace(LORA, text_encoder=True)
DREAM = DreamBoothConfig(learning_rate=1e-3, num_class_images=3, **SETTINGS)
INVERSION = TextualInversionConfig(vectors=2, learning_rate=1e-2, **SETTINGS)
HYPER = HypernetworkConfig(learning_rate=1e-2, layer_structure=(1, 2, 1), dropout=0.3, **SETTINGS)
CONTEXT = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=0)


@pytest.fixture(autouse=True)
def loaded(pipe, request, monkeypatch):
    """Loading is slow and tested elsewhere; one test here loads the base itself."""
    if request.function is not test_a_class_does_not_depend_on_the_others:
        replace_load(monkeypatch, pipe)


def replace_load(monkeypatch, pipe):
    monkeypatch.setattr("augment.finetune.session.load_base", lambda _base: copy.deepcopy(pipe))


class StopError(Exception):
    pass


def stop_after(steps):
    def progress(done, _total, _note=""):
        if done == steps:
            raise StopError

    return progress


def run(base, shots, config, folder, labels=("df",), progress=None, selection=None, held_out=None, **context):
    out = {label: folder / label for label in labels}
    few = {label: shots[label] for label in labels}
    where = dataclasses.replace(CONTEXT, **context)
    return finetune(
        base=base, shots=few, config=config, out=out, context=where, selection=selection, held_out=held_out,
        run=folder, progress=progress,
    )  # fmt: skip


def train(base, shots, config, folder, labels=("df",), progress=None, selection=None, held_out=None, **context):
    """The files of the adapters' weights."""
    list(run(base, shots, config, folder, labels, progress, selection, held_out, **context))
    return [folder / label / AdapterRecord.read(folder / label).weights for label in labels]


@pytest.mark.parametrize(
    "config", [LORA, PEFT, DREAM, INVERSION, HYPER], ids=["lora", "peft", "dreambooth", "inversion", "hypernetwork"]
)
def test_a_resumed_training_ends_in_the_same_bytes(base, shots, tmp_path, config):
    (whole,) = train(base, shots, config, tmp_path / "whole")
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path / "parts", progress=stop_after(4))
    assert not (tmp_path / "parts" / "df" / RECORD).exists()
    counted = []
    (parts,) = train(base, shots, config, tmp_path / "parts", progress=lambda done, _total, _note: counted.append(done))
    assert counted == [5]
    assert parts.read_bytes() == whole.read_bytes()
    assert (parts.parents[whole.parents.index(tmp_path / "whole" / "df")] / "loss.csv").read_text() == (
        tmp_path / "whole" / "df" / "loss.csv"
    ).read_text()
    assert not (tmp_path / "parts" / "df" / "checkpoint").exists()


def test_a_class_does_not_depend_on_the_others(base, shots, tmp_path):
    together = train(base, shots, LORA, tmp_path / "together", labels=("vasc", "df"))
    (alone,) = train(base, shots, LORA, tmp_path / "alone")
    other, own, expected = (load_file(path) for path in (*together, alone))
    assert own.keys() == expected.keys()
    assert all(torch.allclose(own[name], value, atol=1e-6, rtol=1e-4) for name, value in expected.items())
    assert not all(torch.allclose(other[name], value, atol=1e-6, rtol=1e-4) for name, value in expected.items())
    assert AdapterRecord.read(tmp_path / "together" / "df").trained_with == ["vasc", "df"]
    assert AdapterRecord.read(tmp_path / "alone" / "df").trained_with == ["df"]


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


def test_the_record_says_what_was_seen_and_made(base, shots, tmp_path):
    config = dataclasses.replace(DREAM, preview_every=4, preview=SamplerConfig(steps=2, batch_size=3))
    train(base, shots, config, tmp_path)
    record = AdapterRecord.read(tmp_path / "df")
    assert record.provenance.image_ids == {f"df-{index}.png" for index in range(5)}
    assert record.provenance.group_ids == {f"g-df-{index}.png" for index in range(5)}
    assert record.prompt == "dermoscopy of a sks dermatofibroma"
    assert record.token in record.prompt.split()
    assert record.config["num_class_images"] == 3
    assert record.final_loss > 0
    strips = sorted(path.name for path in (tmp_path / "df" / "previews").iterdir())
    assert strips == ["step-000004.jpg", "step-000005.jpg"]
    with Image.open(tmp_path / "df" / "previews" / strips[0]) as strip:
        assert strip.size == (3 * 32, 32)
    assert read_adapter(tmp_path / "df", record.base) == config.adapter(tmp_path / "df")


def test_a_learnt_word_is_the_prompt_s_class_and_starts_as_the_class_s_name(base, pipe, shots, tmp_path):
    config = dataclasses.replace(INVERSION, vectors=1, steps=1, learning_rate=1e-9)
    (file,) = train(base, shots, config, tmp_path)
    record = AdapterRecord.read(tmp_path / "df")
    assert (record.display_name, record.prompt) == ("Textual Inversion", "dermoscopy of a <class>")
    (token,) = pipe.tokenizer("dermatofibroma", add_special_tokens=False).input_ids
    own = pipe.text_encoder.get_input_embeddings().weight[token]
    torch.testing.assert_close(load_file(file)["<class>"], own[None], atol=1e-6, rtol=0)


def test_more_vectors_than_the_prompt_has_room_for_are_refused_before_training(base, shots, tmp_path):
    with pytest.raises(BaseError, match=r"has 15 vectors, and the text encoder reads 14; train fewer"):
        train(base, shots, dataclasses.replace(INVERSION, vectors=15), tmp_path)


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
    """The class's loss is not finite at this step."""
    real = loop.class_losses

    def losses(group, batches):
        spoil = [torch.nan if t.examples.label == label and len(t.losses) + 1 == at else 1.0 for t in group]
        losses = real(group, batches)
        return losses * torch.tensor(spoil, device=losses.device)

    monkeypatch.setattr(loop, "class_losses", losses)


@pytest.mark.parametrize("base_config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_a_loss_that_is_not_finite_names_class_and_step_and_ends_that_class_alone(
    base, pipe, shots, tmp_path, monkeypatch, base_config
):
    config = dataclasses.replace(base_config, checkpointing_steps=2)
    written = []
    spoilt(monkeypatch, "df", at=4)
    with pytest.raises(TrainingError, match=r"^df: the loss is not finite at step 4 of 5 .* checkpoint of step 2 in"):
        written.extend(label for label, _ in run(base, shots, config, tmp_path, ("df", "vasc")))
    assert (tmp_path / "vasc" / RECORD).is_file()
    assert not (tmp_path / "df" / RECORD).exists()
    (kept,) = (tmp_path / "df" / "checkpoint").glob("*.pt")
    state = torch.load(kept, weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["weights"]["parameters"].values())
    monkeypatch.undo()
    replace_load(monkeypatch, pipe)
    (resumed,) = train(base, shots, config, tmp_path)
    whole = train(base, shots, config, tmp_path / "whole", ("df", "vasc"))
    alone = load_file(tmp_path / "vasc" / AdapterRecord.read(tmp_path / "vasc").weights)
    for found, expected in ((load_file(resumed), load_file(whole[0])), (alone, load_file(whole[1]))):
        assert all(torch.allclose(found[key], value, atol=1e-6, rtol=1e-3) for key, value in expected.items())


def test_finished_classes_come_with_their_share_of_the_time(base, shots, tmp_path):
    train(base, shots, LORA, tmp_path, ("df",))
    seconds = dict(run(base, shots, LORA, tmp_path, ("vasc", "df")))
    assert seconds["df"] == AdapterRecord.read(tmp_path / "df").seconds
    assert 0 < seconds["vasc"] == pytest.approx(AdapterRecord.read(tmp_path / "vasc").seconds, abs=0.01)


@pytest.mark.parametrize("config", [LORA, DREAM], ids=["lora", "dreambooth"])
def test_a_finished_class_stays_finished_if_the_caller_stops(base, shots, tmp_path, config):
    running = run(base, shots, config, tmp_path, ("df", "vasc"))
    label, _ = next(running)
    running.close()
    before = (tmp_path / label / RECORD).stat().st_mtime_ns
    (other,) = {"df", "vasc"} - {label}
    assert not (tmp_path / other / RECORD).exists()
    assert [label for label, _ in run(base, shots, config, tmp_path, ("df", "vasc"))] == [label, other]
    assert (tmp_path / label / RECORD).stat().st_mtime_ns == before


def colours(pixels):
    """Features that need no network: mean and spread of the colours in each quarter of an image."""
    n, edge = len(pixels), pixels.shape[1] // 2
    quarters = pixels.astype(np.float64).reshape(n, 2, edge, 2, edge, 3) / 255
    return np.concatenate([quarters.mean(axis=(2, 4)).reshape(n, -1), quarters.std(axis=(2, 4)).reshape(n, -1)], axis=1)


def selection(held_out, features=colours, **changes):
    given = {"features_name": "colours", "features_identity": "1", "origin": "other lesions of the train part"}
    return Selection(features=features, held_out=held_out, **{**given, **changes})


CHOOSING = {"select_every": 2, "select_images": 8}


@pytest.fixture
def few_sampler_steps(monkeypatch):
    monkeypatch.setattr("augment.finetune.select.SAMPLER", SamplerConfig(steps=2, batch_size=8))


@pytest.mark.parametrize(
    "config", [LORA, PEFT, DREAM, INVERSION, HYPER], ids=["lora", "peft", "dreambooth", "inversion", "hypernetwork"]
)
@pytest.mark.usefixtures("few_sampler_steps")
def test_a_resumed_choice_of_the_step_ends_in_the_same_bytes(base, shots, held_out, tmp_path, config):
    config, chosen_by = dataclasses.replace(config, **CHOOSING), selection(held_out)
    (whole,) = train(base, shots, config, tmp_path / "whole", selection=chosen_by)
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path / "parts", progress=stop_after(3), selection=chosen_by)
    (parts,) = train(base, shots, config, tmp_path / "parts", selection=chosen_by)
    assert parts.read_bytes() == whole.read_bytes()
    tables = [(tmp_path / name / "df" / "choice.csv").read_text() for name in ("whole", "parts")]
    assert tables[0] == tables[1]
    assert [row.split(",")[0] for row in tables[0].splitlines()[1:]] == ["2", "4", "5"]


@pytest.mark.usefixtures("few_sampler_steps")
def test_choosing_changes_no_step_of_the_training(base, shots, held_out, tmp_path):
    farther = iter([np.zeros((8, 4)), *(np.full((8, 4), 10.0 / n) for n in range(1, 6))])

    def always_nearer(_pixels):
        return next(farther) + np.random.default_rng(0).normal(size=(8, 4)) / 100

    config = dataclasses.replace(LORA, select_every=1, select_images=8)
    (chosen,) = train(base, shots, config, tmp_path / "a", selection=selection(held_out, always_nearer))
    (last,) = train(base, shots, LORA, tmp_path / "b")
    assert AdapterRecord.read(tmp_path / "a" / "df").chosen.step == 5
    assert chosen.read_bytes() == last.read_bytes()
    tables = [(tmp_path / name / "df" / "loss.csv").read_text() for name in "ab"]
    assert tables[0] == tables[1]


@pytest.mark.usefixtures("few_sampler_steps")
def test_the_record_names_the_kept_step_and_the_photographs_that_chose_it(base, shots, held_out, tmp_path):
    config = dataclasses.replace(LORA, **CHOOSING)
    train(base, shots, config, tmp_path, ("df", "vasc"), selection=selection({"df": held_out["df"]}, reasons={
        "vasc": "there are no other lesions",
    }))  # fmt: skip
    record, without = (AdapterRecord.read(tmp_path / label) for label in ("df", "vasc"))
    assert record.chosen.step in (2, 4, 5)
    assert (record.chosen.images, record.chosen.features, record.chosen.held_out) == (8, "colours", 8)
    assert record.chosen.chosen_by == Provenance.of(held_out["df"])
    assert record.seen.group_ids == record.provenance.group_ids | set(held_out["df"].table["group_id"])
    assert record.provenance == Provenance.of(shots["df"])
    assert (without.chosen.step, without.chosen.reason) == (5, "there are no other lesions")
    assert without.seen == without.provenance
    assert not (tmp_path / "vasc" / "choice.csv").exists()


@pytest.mark.usefixtures("few_sampler_steps")
def test_other_photographs_choose_anew_and_without_a_choice_they_are_not_looked_at(base, shots, held_out, tmp_path):
    def written():
        return (tmp_path / "df" / RECORD).stat().st_mtime_ns

    config = dataclasses.replace(LORA, steps=2, **CHOOSING)
    fewer = {"df": held_out["df"].where(held_out["df"].table.index < 7)}
    train(base, shots, config, tmp_path, selection=selection(held_out))
    before = written()
    train(base, shots, config, tmp_path, selection=selection(held_out, features_name="renamed"))
    assert written() == before
    train(base, shots, config, tmp_path, selection=selection(fewer))
    assert written() != before
    train(base, shots, LORA, tmp_path, selection=selection(held_out, features=None))
    assert AdapterRecord.read(tmp_path / "df").chosen is None


def test_photographs_that_train_and_choose_are_refused(base, shots, tmp_path):
    config = dataclasses.replace(LORA, **CHOOSING)
    with pytest.raises(DataError, match="would both train the adapter and choose its step"):
        train(base, shots, config, tmp_path, selection=selection({"df": shots["df"]}))


def test_progress_counts_the_steps_of_all_classes(base, shots, tmp_path):
    reported = []
    train(base, shots, LORA, tmp_path, ("df", "vasc"), progress=lambda *given: reported.append(given))
    assert [done for done, _, _ in reported] == list(range(1, 11))
    assert {total for _, total, _ in reported} == {10}
    rows = [(tmp_path / label / "loss.csv").read_text().splitlines()[-1] for label in ("df", "vasc")]
    df, vasc = (float(row.split(",")[1]) for row in rows)
    assert reported[-1][2] == f"loss df {df:.3f}, vasc {vasc:.3f}"


def test_speed_alone_changes_no_key(base, shots, tmp_path):
    train(base, shots, LORA, tmp_path)
    before = (tmp_path / "df" / RECORD).stat().st_mtime_ns
    train(base, shots, dataclasses.replace(LORA, max_classes_per_batch=1, checkpointing_steps=2), tmp_path)
    assert (tmp_path / "df" / RECORD).stat().st_mtime_ns == before


def test_a_checkpoint_of_other_settings_is_not_taken_up(base, shots, tmp_path):
    with pytest.raises(StopError):
        train(base, shots, LORA, tmp_path, progress=stop_after(3))
    counted = []
    train(
        base,
        shots,
        dataclasses.replace(LORA, max_grad_norm=0.5),
        tmp_path,
        progress=lambda done, _total, _note: counted.append(done),
    )
    assert counted == [1, 2, 3, 4, 5]


def test_a_finished_class_is_left_alone(base, shots, tmp_path):
    (weights,) = train(base, shots, LORA, tmp_path)
    before = weights.stat().st_mtime_ns
    train(base, shots, LORA, tmp_path)
    assert weights.stat().st_mtime_ns == before
    train(base, shots, LORA, tmp_path, seed=1)
    assert weights.stat().st_mtime_ns != before


def test_dreambooth_without_a_prior_trains_on_the_class_alone(base, shots, tmp_path):
    (alone,) = train(base, shots, dataclasses.replace(DREAM, num_class_images=0), tmp_path / "alone")
    (held,) = train(base, shots, DREAM, tmp_path / "held")
    first, second = load_file(alone), load_file(held)
    assert any(not torch.equal(value, second[key]) for key, value in first.items())


def test_bad_input_is_refused_in_words(base, shots, tmp_path):
    empty = {"mel": shots["df"].where(shots["df"].table["label"] == "mel")}
    with pytest.raises(DataError, match="no images to train mel on"):
        list(run(base, empty, LORA, tmp_path, ("mel",)))
    with pytest.raises(ConfigError, match=r"pixels\.size is 24"):
        list(run(base, shots, LORA, tmp_path, pixels=PixelConfig(size=24)))


def test_an_adapter_depends_on_the_captions_of_its_images(base, shots, tmp_path):
    (tmp_path / "real").mkdir()
    few = {"df": Manifest(shots["df"].first(2).table, {"real": tmp_path / "real"})}
    for source, path in zip(shots["df"].paths(), few["df"].paths(), strict=False):
        shutil.copy(source, path)
    config, prompts = dataclasses.replace(LORA, steps=1), PromptConfig(captions="files")
    keys = []
    for caption in ("blue veil", "skin " * 20):
        few["df"].paths()[0].with_suffix(".txt").write_text(caption, encoding="utf-8")
        train(base, few, config, tmp_path / "out", prompts=prompts)
        keys.append(AdapterRecord.read(tmp_path / "out" / "df").key)
    assert keys[0] != keys[1]


def test_with_columns_prompts_tell_of_the_table_and_adapters_are_others(base, shots, tmp_path):
    table = shots["df"].table.assign(sex=["male", "", "female", "male", "unknown"])
    known = {"df": Manifest(table, shots["df"].roots)}
    config = dataclasses.replace(LORA, steps=1)
    (plain,) = train(base, known, config, tmp_path / "plain")
    (told,) = train(base, known, config, tmp_path / "columns", prompts=PromptConfig(sex="sex"))
    assert plain.read_bytes() != told.read_bytes()
    records = [AdapterRecord.read(tmp_path / name / "df") for name in ("plain", "columns")]
    assert {record.prompt for record in records} == {"dermoscopy of a dermatofibroma"}
    assert len({record.key for record in records}) == 2


def stop_at(folder, step, labels=()):
    """A progress that asks for a stop in the middle of the step after `step`, so that it is the last."""

    def progress(done, _total, _note=""):
        if done == step:
            request_stop(folder, labels)

    return progress


def parameters_at(folder, step):
    """What the checkpoint of an interrupted training holds."""
    (path,) = (folder / "df" / "checkpoint").glob("*.pt")
    state = torch.load(path, weights_only=True)
    assert state["step"] == step
    return state["weights"]["parameters"], state["weights"]["losses"]


@pytest.mark.parametrize("config", [LORA, PEFT, DREAM, HYPER], ids=["lora", "peft", "dreambooth", "hypernetwork"])
def test_a_training_stopped_at_a_step_is_one_whose_loop_ended_there(base, shots, tmp_path, monkeypatch, config):
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path / "broken", progress=stop_after(3))
    expected, losses = parameters_at(tmp_path / "broken", 3)
    exported = []
    real = ClassTrainer.export
    monkeypatch.setattr(
        ClassTrainer, "export", lambda self, **given: (exported.append(self.state_dict()), real(self, **given))[1]
    )
    train(base, shots, config, tmp_path / "stopped", progress=stop_at(tmp_path / "stopped", 2))
    (state,) = exported
    assert state["losses"] == losses
    assert state["parameters"].keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state["parameters"].items())
    record = AdapterRecord.read(tmp_path / "stopped" / "df")
    assert record.stopped == Stopped(step=3, of=5)
    assert record.stopped.in_words == "stopped by request at step 3 of 5"
    assert record.steps == 3
    assert read_adapter(tmp_path / "stopped" / "df", record.base) == config.adapter(tmp_path / "stopped" / "df")
    assert len((tmp_path / "stopped" / "df" / "loss.csv").read_text().splitlines()) == 4
    assert not (tmp_path / "stopped" / FOLDER).exists()


def test_a_stopped_class_is_finished_and_trained_no_further(base, shots, tmp_path):
    (weights,) = train(base, shots, LORA, tmp_path, progress=stop_at(tmp_path, 2))
    before = weights.stat().st_mtime_ns
    counted = []
    train(base, shots, LORA, tmp_path, progress=lambda *given: counted.append(given))
    assert counted == []
    assert weights.stat().st_mtime_ns == before
    assert AdapterRecord.read(tmp_path / "df").stopped == Stopped(step=3, of=5)


def test_the_last_step_is_no_stop(base, shots, tmp_path):
    (stopped,) = train(base, shots, LORA, tmp_path / "a", progress=stop_at(tmp_path / "a", 4))
    (whole,) = train(base, shots, LORA, tmp_path / "b")
    assert AdapterRecord.read(tmp_path / "a" / "df").stopped is None
    assert "stopped" not in (tmp_path / "a" / "df" / RECORD).read_text()
    assert stopped.read_bytes() == whole.read_bytes()


def test_of_two_classes_in_one_batch_one_is_stopped_alone(base, shots, tmp_path):
    reported = []

    def progress(done, total, note=""):
        reported.append((done, total))
        if done == 4:  # two steps each
            assert request_stop(tmp_path, ["df"]) == ("df",)

    train(base, shots, LORA, tmp_path, ("df", "vasc"), progress=progress)
    df, vasc = (AdapterRecord.read(tmp_path / label) for label in ("df", "vasc"))
    assert (df.stopped, df.steps) == (Stopped(step=3, of=5), 3)
    assert (vasc.stopped, vasc.steps) == (None, 5)
    assert reported[-1] == (10, 10)
    (alone,) = train(base, shots, LORA, tmp_path / "alone", ("vasc",))
    found, expected = load_file(tmp_path / "vasc" / vasc.weights), load_file(alone)
    assert all(torch.allclose(found[name], value, atol=1e-6, rtol=1e-4) for name, value in expected.items())


def test_a_training_that_was_killed_between_request_and_save_resumes_to_its_end(base, shots, tmp_path, monkeypatch):
    (whole,) = train(base, shots, LORA, tmp_path / "whole")

    def killed(_self, **_given):
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr(ClassTrainer, "export", killed)
        with pytest.raises(StopError):
            train(base, shots, LORA, tmp_path / "parts", progress=stop_at(tmp_path / "parts", 2))
    assert not (tmp_path / "parts" / "df" / RECORD).exists()
    counted = []
    (resumed,) = train(base, shots, LORA, tmp_path / "parts", progress=lambda done, *_: counted.append(done))
    assert counted == [3, 4, 5]
    assert AdapterRecord.read(tmp_path / "parts" / "df").stopped is None
    assert resumed.read_bytes() == whole.read_bytes()


def test_previews_that_a_killed_training_left_beyond_the_last_step_are_deleted(base, shots, tmp_path):
    config = dataclasses.replace(
        LORA, preview_every=1, preview=SamplerConfig(steps=1, batch_size=2), checkpointing_steps=2
    )
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path, progress=stop_after(4))
    (state,) = (tmp_path / "df" / "checkpoint").glob("*.pt")
    assert torch.load(state, weights_only=True)["step"] == 4
    shutil.copy(tmp_path / "df" / "previews" / "step-000004.jpg", tmp_path / "df" / "previews" / "step-000007.jpg")
    train(base, shots, config, tmp_path)
    strips = sorted(path.stem for path in (tmp_path / "df" / "previews").iterdir())
    assert strips == [f"step-{step:06d}" for step in range(1, 6)]


@pytest.mark.usefixtures("few_sampler_steps")
def test_a_stopped_training_whose_step_is_chosen_is_measured_at_its_last(base, shots, held_out, tmp_path):
    config = dataclasses.replace(LORA, **{**CHOOSING, "select_every": 4})
    train(base, shots, config, tmp_path, progress=stop_at(tmp_path, 2), selection=selection(held_out))
    record = AdapterRecord.read(tmp_path / "df")
    assert (record.stopped.step, record.chosen.step, record.chosen.reason) == (3, 3, "")


def others(held_out, **reasons):
    return HeldOut(photographs=held_out, origin="other lesions of the train part", reasons=reasons)


MEASURED = {"held_out_every": 2}


@pytest.mark.parametrize(
    "config", [LORA, PEFT, DREAM, INVERSION, HYPER], ids=["lora", "peft", "dreambooth", "inversion", "hypernetwork"]
)
def test_measuring_the_held_out_loss_changes_no_bit(base, shots, held_out, tmp_path, config):
    torch.manual_seed(7)
    (without,) = train(base, shots, config, tmp_path / "without")
    drawn = torch.get_rng_state()
    torch.manual_seed(7)
    measured = dataclasses.replace(config, **MEASURED)
    (with_,) = train(base, shots, measured, tmp_path / "with", held_out=others(held_out))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert with_.read_bytes() == without.read_bytes()
    tables = [(tmp_path / name / "df" / "loss.csv").read_bytes() for name in ("with", "without")]
    assert tables[0] == tables[1]
    rows = (tmp_path / "with" / "df" / "held_out.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "2", "4", "5"]
    record = AdapterRecord.read(tmp_path / "with" / "df").held_out
    assert record.loss == pytest.approx(float(rows[-1].split(",")[1]), rel=1e-5)
    assert (record.photographs, record.origin, record.reason) == (8, "other lesions of the train part", "")
    assert not (tmp_path / "without" / "df" / "held_out.csv").exists()
    assert AdapterRecord.read(tmp_path / "without" / "df").held_out is None


def test_a_resumed_training_has_the_held_out_losses_of_one_that_was_not_interrupted(base, shots, held_out, tmp_path):
    config = dataclasses.replace(LORA, **MEASURED)
    train(base, shots, config, tmp_path / "whole", held_out=others(held_out))
    with pytest.raises(StopError):
        train(base, shots, config, tmp_path / "parts", progress=stop_after(3), held_out=others(held_out))
    assert (tmp_path / "parts" / "df" / "held_out.csv").is_file(), "whoever looks on has it while it trains"
    train(base, shots, config, tmp_path / "parts", held_out=others(held_out))
    tables = [(tmp_path / name / "df" / "held_out.csv").read_text() for name in ("whole", "parts")]
    assert tables[0] == tables[1]


def test_the_held_out_loss_stands_beside_the_loss_and_a_class_without_photographs_has_none(
    base, shots, held_out, tmp_path
):
    notes = []
    config = dataclasses.replace(LORA, **MEASURED)
    alone = others({"df": held_out["df"]}, vasc="2 other lesions are too few")
    train(base, shots, config, tmp_path, ("df", "vasc"), progress=lambda *given: notes.append(given[2]), held_out=alone)
    df, vasc = (AdapterRecord.read(tmp_path / label) for label in ("df", "vasc"))
    assert "held-out" not in notes[0]
    assert notes[-1] == (
        f"loss df {float(last_loss(tmp_path / 'df')):.3f} (held-out {df.held_out.loss:.3f}), "
        f"vasc {float(last_loss(tmp_path / 'vasc')):.3f}"
    )
    assert (vasc.held_out.loss, vasc.held_out.reason) == (None, "2 other lesions are too few")
    assert not (tmp_path / "vasc" / "held_out.csv").exists()
    assert df.seen == df.provenance, "nothing was chosen by them"


def last_loss(folder):
    return (folder / "loss.csv").read_text().splitlines()[-1].split(",")[1]


def test_who_stops_a_training_by_its_held_out_loss_has_chosen_by_those_photographs(base, shots, held_out, tmp_path):
    config = dataclasses.replace(LORA, **MEASURED)
    train(base, shots, config, tmp_path, progress=stop_at(tmp_path, 2), held_out=others(held_out))
    record = AdapterRecord.read(tmp_path / "df")
    assert record.seen == record.provenance | Provenance.of(held_out["df"])


def test_photographs_that_train_are_not_held_out(base, shots, tmp_path):
    with pytest.raises(DataError, match="df: 5 leakage groups would both train the adapter and be held out"):
        train(base, shots, dataclasses.replace(LORA, **MEASURED), tmp_path, held_out=others(shots))


def test_a_preview_of_another_prompt_changes_the_picture_and_no_bit_of_the_adapter(base, shots, tmp_path):
    config = dataclasses.replace(LORA, preview_every=5, preview=SamplerConfig(steps=2, batch_size=2))
    weights, strips = [], []
    for name, prompt in (("own", None), ("same", "dermoscopy of a [name]"), ("other", "melanoma, (blue:1.5) " * 9)):
        (file,) = train(base, shots, dataclasses.replace(config, preview_prompt=prompt), tmp_path / name)
        weights.append(file.read_bytes())
        strips.append(np.asarray(Image.open(tmp_path / name / "df" / "previews" / "step-000005.jpg")).astype(int))
    assert weights[0] == weights[1] == weights[2]
    assert np.abs(strips[0] - strips[1]).max() <= 2
    assert np.abs(strips[0] - strips[2]).max() > 2
