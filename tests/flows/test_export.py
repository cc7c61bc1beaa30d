"""`lesionloom export`: the adapters of a run as files of another program, each with a card."""

import dataclasses

import pytest

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from data.config import to_dict
from data.splits.provenance import Provenance
from data.store import file_sha256, write_json
from flows import export as exporting
from flows.export import base_of, main
from reports.run_folder import RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two adapters; its card needs records of a whole run, so a stand-in is written."""
    monkeypatch.setattr(exporting, "adapter_card", lambda _run, adapter, *_: f"# {adapter.label}\n")
    folder, config, pipe = tmp_path / "demo", LoraConfig(rank=2, conv_layers=False), load_base(BaseConfig())
    trainable = config.trainable(pipe, pipe.device)
    for label in ("df", "vasc"):
        place = folder / "finetune" / label
        weights = trainable.save(trainable.parameters(0), place)
        AdapterRecord(
            method="lora", display_name="LoRA", label=label, prompt="a", negative_prompt="", token=None, steps=1,
            final_loss=0.1, config=to_dict(config), key="k", weights=weights.name, sha256=file_sha256(weights),
            base=base_identity(BaseConfig()), provenance=Provenance(), pixels={"size": 64}, seed=0,
            trained_with=[label], seconds=1.0,
        ).write(place)  # fmt: skip
    keys = ("started", "finished", "versions", "machine", "seeds", "regime", "rare", "arms", "classes", "timings")
    record = {"name": "demo", "config": {"base": to_dict(BaseConfig())}, "base": base_identity(BaseConfig())}
    artifacts = {"finetune": {label: f"finetune/{label}" for label in ("df", "vasc")}}
    write_json(folder / "run.json", {**dict.fromkeys(keys), **record, "artifacts": artifacts})
    return folder


def changed(run, **values):
    record = RunFolder.open(run).record
    write_json(run / "run.json", {**record, **values})


def test_each_class_has_a_folder_with_its_file_and_card(run, capsys):
    assert main([str(run), "--for", "webui"]) == 0
    files = [run / "export" / "webui" / label / f"demo-{label}.safetensors" for label in ("df", "vasc")]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    assert all(file.is_file() for file in files)
    assert (files[0].parent / "README.md").read_text() == "# df\n"


def test_one_class_is_written_where_it_is_asked_for(run, tmp_path):
    assert main([str(run), "--for", "diffusers", "--label", "vasc", "--out", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["vasc"]
    assert (tmp_path / "out" / "vasc" / "pytorch_lora_weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "webui", "--label", "nv"], "has no adapter of 'nv'; it has df, vasc"),
        (["--for", "webui", "--ckpt"], "--ckpt is for a whole model's file"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_exit_code_2(run, arguments, message, capsys):
    assert main([str(run), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_without_adapters_is_refused(run, capsys):
    changed(run, artifacts={})
    assert main([str(run), "--for", "webui"]) == 2
    assert "has fine-tuned nothing" in capsys.readouterr().err


def test_the_base_is_the_one_that_was_fine_tuned(run):
    assert base_of(RunFolder.open(run)) == BaseConfig()
    hub = {"source": "owner/name", "revision": "c" * 40}
    changed(run, config={"base": to_dict(BaseConfig(source="owner/name"))}, base=hub)
    assert base_of(RunFolder.open(run)) == BaseConfig(source="owner/name", revision="c" * 40)
    own = dataclasses.replace(BaseConfig(), source="pretrain")
    changed(run, config={"base": to_dict(own)}, artifacts={"base": "base-12"})
    assert base_of(RunFolder.open(run)) == BaseConfig(source=str(run / "base-12"))


def test_a_label_becomes_a_name_that_a_file_may_have(run, tmp_path):
    record = RunFolder.open(run).record
    changed(run, artifacts={"finetune": {"a/b <c>": record["artifacts"]["finetune"]["df"]}})
    assert main([str(run), "--for", "kohya", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "a-b-c-" / "demo-a-b-c-.safetensors").is_file()


def test_two_labels_of_one_file_name_are_refused_and_written_one_by_one(run, tmp_path, capsys):
    folder = RunFolder.open(run).record["artifacts"]["finetune"]["df"]
    changed(run, artifacts={"finetune": {"grade 1": folder, "grade-1": folder}})
    out = ["--out", str(tmp_path / "out")]
    assert main([str(run), "--for", "kohya", *out]) == 2
    assert "two of grade 1, grade-1 would be one file's name; export each with --label" in capsys.readouterr().err
    assert main([str(run), "--for", "kohya", *out, "--label", "grade 1"]) == 0


def test_whole_models_leave_the_words_of_a_folder_out(run):
    own = dataclasses.replace(BaseConfig(), embeddings="words")
    changed(run, config={"base": to_dict(own)})
    assert base_of(RunFolder.open(run)).embeddings is None
