"""A hub's branch is resolved to the commit that the cache holds."""

from pathlib import Path

import pytest

from augment.base.config import BaseConfig
from augment.base.hub import commit_of, resolve_revision
from augment.base.identity import base_identity

FIRST, SECOND = "0123456789abcdef0123456789abcdef01234567", "f" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with one repository of one commit, which `main` and `v1` stand for."""
    folder = tmp_path / "models--owner--name"
    (folder / "snapshots" / FIRST).mkdir(parents=True)
    (folder / "snapshots" / FIRST / "model_index.json").write_text("{}")
    (folder / "refs").mkdir()
    for name in ("main", "v1"):
        (folder / "refs" / name).write_text(FIRST)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return folder


def offline(repository: str, name: str, revision: str) -> str:
    raise OSError(f"no route to {repository}")


def test_a_branch_is_the_commit_in_the_cache_without_asking_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("augment.base.hub.hf_hub_download", offline)
    assert commit_of("owner/name", None) == commit_of("owner/name", "v1") == FIRST
    assert commit_of("owner/name", SECOND) == SECOND  # a commit is itself
    assert commit_of("owner/name", "v2") is None
    assert commit_of("owner/other", None) is None


def test_what_the_cache_lacks_is_asked_of_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch):
    def fetched(repository: str, name: str, revision: str) -> str:
        return str(cache / "snapshots" / SECOND / name)

    monkeypatch.setattr("augment.base.hub.hf_hub_download", fetched)
    assert commit_of("owner/name", "v2") == SECOND


def test_a_resolved_base_is_identified_by_its_commit(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("augment.base.hub.hf_hub_download", offline)
    base = resolve_revision(BaseConfig(source="owner/name"))
    assert base_identity(base) == {"source": "owner/name", "revision": FIRST}
    assert resolve_revision(base) == base
    unknown = BaseConfig(source="owner/other", revision="v1")
    assert resolve_revision(unknown) == unknown


@pytest.mark.parametrize("source", ["tiny", "pretrain", "./owner", "runs/base/", "weights/base.safetensors"])
def test_what_is_no_hub_id_is_left_alone(source: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("augment.base.hub.commit_of", lambda *_: pytest.fail("the hub was asked"))
    assert resolve_revision(BaseConfig(source=source)) == BaseConfig(source=source)
