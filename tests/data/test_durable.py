"""Files are whole or absent, and what a killed process left half written goes."""

import os

import pytest

from data import durable
from data.durable import remove_unfinished, replacing, sync_all, temporary_of


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    with replacing(tmp_path / "new" / "x.bin") as temporary:
        temporary.write_bytes(b"x")
        assert not (tmp_path / "new" / "x.bin").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.bin"]


def test_a_failure_leaves_the_file_of_before_and_nothing_else(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x") as temporary:
        temporary.write_bytes((tmp_path / "absent").read_bytes())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_bytes_and_then_the_name_are_put_on_disk(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(durable, "sync", lambda path: order.append((path.name, (tmp_path / "x").exists())))
    with replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"x")
    assert order == [(temporary.name, False), (tmp_path.name, True)]


def test_what_other_processes_left_half_written_goes_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.png").write_bytes(b"x")
    temporary_of(tmp_path / "deep" / "y.png", 17).write_bytes(b"half")
    remove_unfinished(tmp_path)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.png"]


def test_below_a_folder_another_process_may_be_at_work(tmp_path):
    (tmp_path / "deep").mkdir()
    kept = temporary_of(tmp_path / "deep" / "y.png", 17)
    for path in (kept, temporary_of(tmp_path / "x.json", 17)):
        path.write_bytes(b"half")
    remove_unfinished(tmp_path, below=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_folders_that_are_made_are_put_on_disk_from_above(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(durable, "sync", order.append)
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert order == [tmp_path, tmp_path / "a"]


def test_few_files_are_put_on_disk_before_the_folders_that_name_them(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b"):
        (tmp_path / name).write_bytes(b"x")
    order = []
    monkeypatch.setattr(durable, "sync", lambda path: order.append(path.name))
    sync_all(tmp_path)
    assert set(order[:2]) == {"a", "b"}
    assert order[2:] == ["deep", tmp_path.name]


@pytest.mark.skipif(not hasattr(os, "sync"), reason="this system has no call for all files")
def test_many_files_are_put_on_disk_by_one_call(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"x")
    calls = []
    monkeypatch.setattr(os, "sync", lambda: calls.append("all"))
    sync_all(tmp_path)
    assert calls == ["all"]
