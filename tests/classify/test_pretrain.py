import pytest
import torch
from safetensors.torch import load_file

from classify import pretrain as module
from classify.config import ClassifierConfig
from classify.oracle import STUDY_SEEDS
from classify.pretrain import CODES, StartConfig, main, pretrain
from data.config import parse
from data.errors import ConfigError
from data.phantoms.ham10000 import IMAGES
from data.pixels import PixelConfig
from data.store import file_sha256, read_json

TINY = StartConfig(
    images=80,
    pixels=PixelConfig(size=16),
    classifier=ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A start of two steps, and the folder that it was made in."""
    folder = tmp_path_factory.mktemp("start")
    return pretrain(folder / "out", TINY, folder / "working"), folder / "working"


def test_a_start_is_weights_in_16_bits_without_a_head_and_a_record(made):
    out, working = made
    assert sorted(path.name for path in out.iterdir()) == ["model.safetensors", "training.json"]
    whole, kept = load_file(working / "classifier/model/model.safetensors"), load_file(out / "model.safetensors")
    assert {name.split(".")[0] for name in whole.keys() - kept.keys()} == {"classifier"}
    for name, value in kept.items():
        assert value.dtype == (torch.float16 if whole[name].is_floating_point() else whole[name].dtype)
        torch.testing.assert_close(value.float(), whole[name].float(), rtol=1e-3, atol=1e-4)


def test_the_record_says_what_it_was_trained_on_and_how_to_make_it_again(made):
    record = read_json(made[0] / "training.json")
    assert record["trained_on"].endswith(" phantoms of bcc, bkl, mel, nv")
    assert 60 < int(record["trained_on"].split()[0]) < 80  # a part of them validates
    assert parse(StartConfig, record["config"], "start") == TINY
    assert record["sha256"] == file_sha256(made[0] / "model.safetensors")


def test_its_phantoms_are_of_the_four_commonest_classes_as_many_of_each(made):
    assert sorted(CODES, key=IMAGES.get) == sorted(IMAGES, key=IMAGES.get)[-4:]
    (table,) = made[1].rglob("metadata.csv")
    rows = [line.split(",") for line in table.read_text().splitlines()]
    labels = [row[rows[0].index("dx")] for row in rows[1:]]
    assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys(CODES, 20)


def test_no_study_can_have_the_seed_of_its_phantoms():
    assert StartConfig().seed >= STUDY_SEEDS
    with pytest.raises(ConfigError, match="seed"):
        parse(StartConfig, {"seed": STUDY_SEEDS - 1}, "start")


def test_the_command_passes_on_what_it_was_given_and_prints_the_folder(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(module, "pretrain", lambda *given: asked.append(given) or given[0])
    command = ["--out", str(tmp_path), "--working", str(tmp_path / "w"), "--images", "120", "--steps", "12"]
    assert main(command) == 0
    ((out, config, working, _),) = asked
    assert (out, working) == (tmp_path, tmp_path / "w")
    assert (config.images, config.classifier.steps, config.classifier.validate_every) == (120, 12, 2)
    assert capsys.readouterr().out.strip() == str(tmp_path)


def test_too_few_phantoms_are_refused_in_one_line(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--images", "79"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
