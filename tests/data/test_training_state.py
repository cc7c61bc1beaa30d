"""A training's state survives a kill at any moment, and is dropped where it is damaged."""

import logging

import pytest
import torch

from data.training_state import forget_state, load_state, save_state


def state(step):
    return {"step": step, "weights": {"w": torch.full((3,), float(step))}}


def test_a_state_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "c.pt"
    save_state(path, state(7))
    assert load_state(path)["step"] == 7
    assert torch.equal(load_state(path)["weights"]["w"], torch.full((3,), 7.0))


def test_where_there_is_none_none_is_read(tmp_path):
    assert load_state(tmp_path / "c.pt") is None


@pytest.mark.parametrize("harm", [b"", b"half", "flipped", "foreign", "no digest"])
def test_a_damaged_state_is_dropped_with_a_warning(tmp_path, caplog, harm):
    path = tmp_path / "c.pt"
    save_state(path, state(1))
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "foreign":
        torch.save(state(2), path)
    elif harm == "no digest":
        (tmp_path / "c.pt.sha256").unlink()
    else:
        path.write_bytes(harm)
    with caplog.at_level(logging.WARNING):
        assert load_state(path) is None
    assert "this training begins again" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_kill_between_the_digest_and_the_state_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_state(path, state(1))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "data.durable.sync", lambda path: killed() if path.suffix == ".tmp" and "c.pt.sha256" not in path.name else None
    )
    with pytest.raises(KeyboardInterrupt):
        save_state(path, state(2))
    monkeypatch.undo()
    assert load_state(path)["step"] == 1
    save_state(path, state(3))
    assert load_state(path)["step"] == 3


def test_a_failed_write_leaves_the_state_before_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_state(path, state(1))

    def torn(_state, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="No space"):
        save_state(path, state(2))
    monkeypatch.undo()
    assert load_state(path)["step"] == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c.pt", "c.pt.sha256"]


class Harm:
    def __reduce__(self):
        return print, ("harm",)


def test_a_file_that_would_run_code_is_not_loaded_even_where_its_digest_fits(tmp_path, capsys):
    path = tmp_path / "c.pt"
    save_state(path, {"step": 1, "weights": Harm()})
    assert load_state(path) is None
    assert "harm" not in capsys.readouterr().out


def test_a_forgotten_state_leaves_nothing(tmp_path):
    save_state(tmp_path / "c.pt", state(1))
    forget_state(tmp_path / "c.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_disk_or_memory_is_raised_and_deletes_no_state(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_state(path, state(1))

    def fails(*_, **__):
        raise OSError(5, "Input/output error")

    def full(*_, **__):
        raise torch.OutOfMemoryError("no memory")

    for where, fault, kind in (
        ("data.training_state.file_sha256", fails, OSError), ("torch.load", full, torch.OutOfMemoryError),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(where, fault)
            with pytest.raises(kind):
                load_state(path)
    assert load_state(path)["step"] == 1
