"""Equal bases have equal identities, others do not."""

from pathlib import Path

import pytest

from augment.base.config import BaseConfig, OwnBaseConfig
from augment.base.identity import base_identity
from augment.base.tiny_model import TinyModelConfig, build_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "folder"
    build_tiny_model(TinyModelConfig(), seed=3).save_pretrained(path)
    return path


def test_identity_follows_the_weights(folder: Path, tmp_path: Path):
    build_tiny_model(TinyModelConfig(), seed=4).save_pretrained(tmp_path)
    one, other = (base_identity(BaseConfig(source=str(path))) for path in (folder, tmp_path))
    assert one["sha256"] != other["sha256"]
    assert one == base_identity(BaseConfig(source=str(folder)))
    assert base_identity(BaseConfig(source="owner/name", revision="abc")) == {
        "source": "owner/name",
        "revision": "abc",
    }


def test_identity_does_not_depend_on_when_or_how_long(tmp_path: Path):
    build_tiny_model(TinyModelConfig(), seed=3).save_pretrained(tmp_path)
    before = base_identity(BaseConfig(source=str(tmp_path)))
    (tmp_path / "cost.json").write_text('{"seconds": 3}', encoding="utf-8")
    assert base_identity(BaseConfig(source=str(tmp_path))) == before


def test_a_base_s_files_are_digested_once_and_anew_when_they_change(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "augment.base.identity.file_sha256", lambda path: hashed.append(path) or f"digest {len(hashed)}"
    )
    weights = tmp_path / "one.safetensors"
    weights.write_bytes(b"one")
    first, again = (base_identity(BaseConfig(source=str(weights))) for _ in range(2))
    assert first == again
    assert len(hashed) == 1
    weights.write_bytes(b"another")
    assert base_identity(BaseConfig(source=str(weights))) != first


def test_a_base_that_is_not_trained_yet_is_identified_by_its_start_and_its_classes():
    own = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(classes=("nv",)))
    assert base_identity(own) == {"source": "pretrain", "init_from": base_identity(BaseConfig()), "classes": ["nv"]}
    scratch = BaseConfig(source="pretrain", pretrain=OwnBaseConfig(init_from="scratch", autoencoder={}))
    assert base_identity(scratch) == {"source": "pretrain", "init_from": "scratch", "classes": []}
