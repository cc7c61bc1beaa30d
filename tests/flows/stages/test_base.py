"""The study's own base: trained once, resumed after a stop, and bound to the split by what it has seen."""

import json
import re

import pytest

from data.manifest import read_table
from flows.augment_and_evaluate import main
from flows.study import load_study

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_what_prompts_cannot_tell_is_refused_before_anything_is_trained(small_study, tmp_path, capsys):
    for column, words in (("localization", "write years as a number"), ("years", "the table has no column 'years'")):
        assert main([*small_study, f"output_dir={tmp_path}", f"prompts={{age: {column}}}"]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.rglob("finetune"))


@pytest.fixture(scope="module")
def own_study(small_study, tmp_path_factory):
    """The small study with a base of its own, continued from that of random weights, and prompts that tell more."""
    start = next(each for each in small_study if each.startswith("base.source=")).partition("=")[2]
    return [
        *small_study,
        f"output_dir={tmp_path_factory.mktemp('runs')}",
        "name=own",
        "coding=mixed",
        "arms=[real, autoencoded, synthetic]",
        "base.source=pretrain",
        f"base.pretrain.init_from={start}",
        "base.pretrain.autoencoder={steps: 2, batch_size: 2}",
        "base.pretrain.denoiser={steps: 3, batch_size: 2, checkpointing_steps: 1}",
        "prompts={site: localization, age: age, sex: sex}",
    ]


@pytest.mark.slow
def test_a_study_trains_its_own_base_resumes_after_a_stop_and_records_what_was_seen(own_study, monkeypatch, capsys):
    monkeypatch.setattr("augment.base.denoiser.update_ema", _stop_at(2))
    assert main(own_study) == 130
    monkeypatch.undo()
    folder = load_study(own_study[0], own_study[1:]).folder
    (begun,) = folder.glob("base-*.partial")
    stages = sorted(path.name for path in (begun / "checkpoint").glob("*.pt"))
    assert stages == ["autoencoder-centred.pt", "autoencoder.pt", "denoiser.pt", "latents.pt"]

    assert main(own_study) == 0
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    base = folder / record["artifacts"]["base"]
    assert not (base / "checkpoint").exists()
    assert record["base"]["source"] == base.name

    (split,) = folder.glob("split-*")
    parts = {name: read_table(split / f"{name}.csv") for name in ("train", "validation", "test")}
    seen = set(json.loads((base / "training.json").read_text(encoding="utf-8"))["provenance"]["group_ids"])
    train = parts["train"]
    assert seen == set(train["group_id"][train["label"] != "df"])
    images = folder / record["artifacts"]["images"]["df"]
    lineage = set(json.loads((images / "generation.json").read_text(encoding="utf-8"))["provenance"]["group_ids"])
    assert seen < lineage
    assert not lineage & {*parts["validation"]["group_id"], *parts["test"]["group_id"]}

    prompts = read_table(images / "metadata.csv")
    sites = set(train["localization"][train["label"] == "df"]) - {"unknown"}
    assert len(set(prompts["prompt"])) > 1
    assert set(prompts["prompt_site"]) - {""} <= sites
    assert "of the train part" in (folder / "report.html").read_text(encoding="utf-8")

    coded = read_table(folder / record["artifacts"]["autoencoded"]["df"] / "metadata.csv")
    assert set(coded["group_id"]) == set(train["group_id"][train["label"] == "df"])

    capsys.readouterr()
    assert main(own_study) == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if re.match(r" *\d+/\d+ ", line) and " report" not in line]
    assert len(steps) >= 14  # base, fine-tune, images, seven classes coded, probe, three arms, and what judges them
    assert all("kept from before" in line for line in steps), lines
    (disk,) = [line for line in lines if " disk: " in line]
    assert "by estimate (tables and report" in disk  # nothing else is left to be written
    assert "checkpoints" not in disk

    other = [each for each in own_study if not each.startswith("base.pretrain")]
    assert main([*other, f"base.source={base}", "study_seeds=[1]", "name=other"]) == 2
    assert f"error: the base {base} has seen" in capsys.readouterr().err


def _stop_at(step):
    calls = []

    def update(*_):
        calls.append(1)
        if len(calls) == step:
            raise KeyboardInterrupt

    return update
