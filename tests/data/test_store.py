"""An artifact is finished when its record is there and true, and a crash leaves what can be resumed."""

import contextlib
import os
from pathlib import Path

import pytest

from data.store import (
    RECORD,
    building,
    derive_seed,
    digest,
    finished,
    make_once,
    read_json,
    reopen,
    write_json,
    write_text,
)

INPUTS = {"steps": 3, "label": "df"}


class CrashError(Exception):
    pass


def built(folder: Path) -> Path:
    with building(folder, INPUTS) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "file.txt").write_text("content")
    return folder


def crash_while_building(folder: Path, inputs: dict[str, object]) -> None:
    with contextlib.suppress(CrashError), building(folder, inputs) as partial:
        (partial / "checkpoint").write_text("step 2")
        raise CrashError


def test_a_built_artifact_is_finished_for_its_inputs_alone(tmp_path: Path):
    folder = built(tmp_path / "a")
    assert finished(folder, INPUTS)
    assert not finished(folder, {**INPUTS, "steps": 4})
    assert set(read_json(folder / RECORD)["files"]) == {"deep/file.txt"}


def test_a_crash_leaves_no_artifact_but_its_work(tmp_path: Path):
    crash_while_building(tmp_path / "a", INPUTS)
    assert not (tmp_path / "a").exists()
    with building(tmp_path / "a", INPUTS) as partial:
        assert (partial / "checkpoint").read_text() == "step 2"


def test_work_for_other_inputs_is_thrown_away(tmp_path: Path):
    crash_while_building(tmp_path / "a", {"other": 1})
    with building(tmp_path / "a", INPUTS) as partial:
        assert not (partial / "checkpoint").exists()


def test_a_changed_or_lost_file_unfinishes_an_artifact(tmp_path: Path):
    folder = built(tmp_path / "a")
    file = folder / "deep" / "file.txt"
    file.write_text("CONTENT")  # same size
    os.utime(file, (1, 1))
    assert not finished(folder, INPUTS)
    file.write_text("content")
    os.utime(file, (2, 2))
    assert finished(folder, INPUTS)  # touched, but the same bytes
    file.unlink()
    assert not finished(folder, INPUTS)


def test_a_spoilt_record_unfinishes_an_artifact(tmp_path: Path):
    folder = built(tmp_path / "a")
    (folder / RECORD).write_text("{")
    assert not finished(folder, INPUTS)


def test_an_artifact_may_be_moved(tmp_path: Path):
    moved = built(tmp_path / "a").rename(tmp_path / "b")
    assert finished(moved, INPUTS)


def test_digests_tell_values_apart_and_keys_order_does_not_matter():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest(1), digest("1"), digest([1]), digest(1, 2), digest([1, 2])}) == 5


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert read_json(tmp_path / "x.json") == {"a": 1}
    write_text(tmp_path / "new" / "x.txt", "text")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.txt"]


def test_a_seed_depends_on_every_part_and_is_the_same_everywhere():
    assert derive_seed("step", 3, "mel") == int(digest("step", 3, "mel")[:12], 16) == 57174599254998
    assert len({derive_seed("step", 3), derive_seed("step", 4), derive_seed(3, "step"), derive_seed("step")}) == 4


def test_half_written_files_of_a_killed_process_are_no_part_of_the_artifact(tmp_path: Path):
    with building(tmp_path / "a", INPUTS) as partial:
        (partial / "x.png").write_bytes(b"x")
        (partial / ".y.png.17.tmp").write_bytes(b"half")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [RECORD, "x.png"]


def test_a_kill_between_record_and_rename_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("data.store._put_in_place", killed)
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not finished(tmp_path / "a", {**INPUTS, "steps": 4})
    assert finished(tmp_path / "a", INPUTS)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [RECORD, "deep"]


def test_a_working_folder_that_another_process_is_finishing_is_left_to_it(tmp_path: Path):
    with building(tmp_path / "a", INPUTS) as partial:
        (partial / "x").write_text("x")
        assert not finished(tmp_path / "a", INPUTS)
    assert finished(tmp_path / "a", INPUTS)


def test_an_artifact_that_another_process_made_meanwhile_is_taken_and_not_made_again(tmp_path: Path):
    folder, made = tmp_path / "a", []

    def make(partial: Path) -> None:
        made.append(partial)
        (partial / "x").write_text("x")

    make_once(folder, INPUTS, make)
    before = (folder / "x").stat().st_ino
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.store.finished", lambda *_: False)  # as before the other process had finished
        make_once(folder, INPUTS, make)
    assert len(made) == 1
    assert (folder / "x").stat().st_ino == before


def test_a_kill_while_a_damaged_artifact_is_deleted_loses_nothing_of_the_new_one(tmp_path: Path):
    folder = built(tmp_path / "a")
    (folder / "deep" / "file.txt").unlink()

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            built(folder)
    assert finished(folder, INPUTS)
    assert set(read_json(folder / RECORD)["files"]) == {"deep/file.txt"}


def test_a_reopened_artifact_is_the_working_folder_that_its_stage_goes_on_from(tmp_path: Path):
    built(tmp_path / "a")
    reopen(tmp_path / "a", "deep/file.txt")
    assert not finished(tmp_path / "a", INPUTS)
    assert not (tmp_path / "a").exists()
    with building(tmp_path / "a", INPUTS) as partial:
        assert [path.name for path in partial.rglob("*") if path.name[0] != "."] == ["deep"]
    assert finished(tmp_path / "a", INPUTS)


def test_a_kill_while_an_artifact_is_reopened_leaves_what_can_be_reopened_again(tmp_path: Path):
    built(tmp_path / "a")
    record = read_json(tmp_path / "a" / RECORD)
    (tmp_path / "a" / RECORD).unlink()  # killed here
    (tmp_path / "a" / ".inputs").write_text(record["digest"])
    reopen(tmp_path / "a")
    with building(tmp_path / "a", INPUTS) as partial:
        assert (partial / "deep" / "file.txt").read_text() == "content"


def test_what_is_not_finished_is_not_reopened(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="is no finished artifact"):
        reopen(tmp_path / "a")
