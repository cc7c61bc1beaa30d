"""Programs that write as a study does are crashed at every point; writers that are not atomic are found out."""

import contextlib
import io
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from data import durable, store
from data.durable import replacing
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.store import RECORD, make_once, read_json, write_json, write_text
from data.training_state import forget_state, load_state, save_state

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="descriptors are looked up as Linux has them"
)

PHANTOMS = PhantomConfig(images=8, width=16, height=16, codes=("nv", "df"))
TEXT = "a,b\n" + "1,2\n" * 100


def artefact(folder):
    """An artefact with files that are written by hand, as libraries do."""

    def make(partial):
        write_text(partial / "table.csv", TEXT)
        (partial / "deep").mkdir(exist_ok=True)
        (partial / "deep" / "weights").write_bytes(bytes(range(256)))
        (partial / "no-longer").write_text(TEXT)
        (partial / "no-longer").unlink()

    make_once(folder / "study" / "arm" / "a", {"x": 1}, make)


def many_files(folder):
    """An artefact that is put on disk by one call for the whole system."""

    def make(partial):
        for number in range(17):
            with replacing(partial / f"{number}", on_disk=False) as temporary:
                temporary.write_text(TEXT)

    make_once(folder / "a", {"x": 1}, make)


def training(folder):
    """A training with checkpoints."""
    path = folder / "c.pt"
    state = load_state(path) or {"step": 0, "w": torch.zeros(3)}
    while state["step"] < 3:
        state = {"step": state["step"] + 1, "w": state["w"] + state["step"]}
        save_state(path, state)
    write_json(folder / "result.json", state["w"].tolist())
    forget_state(path)


def phantoms(folder):
    """A drawn data set, decoded into the cache."""
    drawn = load_manifest(DataConfig(source="phantom", phantom=PHANTOMS), folder / "data")
    pixels = load_pixels(drawn, PixelConfig(size=8), folder / "cache")
    write_json(folder / "result.json", pixels.tolist())


def trusting(folder):
    """A program that takes a file for whole because it is there."""
    path = folder / "table.csv"
    if not path.exists():
        write_text(path, TEXT)
    write_text(folder / "result.txt", path.read_text())


def recorded(folder):
    """A program that trusts an artefact's record."""
    record = {"digest": store.digest({"x": 1}), "inputs": {"x": 1}, "files": {}}

    def make(partial):
        write_json(partial / RECORD, record)  # before what it records
        (partial / "table.csv").write_text(TEXT)

    if not (folder / "a" / RECORD).exists():
        (folder / "a").mkdir(exist_ok=True)
        make(folder / "a")
    read_json(folder / "a" / RECORD)


MOST = 200  # crashes of a program that are tried
WAYS = ("kill", "no name, no byte", "names, no byte", "names and lengths, zeros")


@pytest.fixture
def crashes(tmp_path):
    """Gives every crash of a program: the point, the way, and the folder that it leaves; the last is the end's."""
    import reliability_disk
    from reliability_points import crash_points
    from reliability_sweep import POWER_CUTS

    def found(program, ways=WAYS):
        folder, made = tmp_path / "run", []
        folder.mkdir()
        disk = reliability_disk.Disk(folder)

        def on_point(point):
            for way in ways:
                remains = tmp_path / f"{len(made)}"
                if way == "kill":
                    shutil.copytree(folder, remains)
                else:
                    disk.write_remains(remains, **POWER_CUTS[way])
                made.append((point, way, remains))

        with crash_points(folder, on_point, disk):
            program(folder)
        on_point("the end")
        return made, folder

    return found


@pytest.fixture
def resumed():
    """Gives what differs from an undisturbed run once a program has been run again on what a crash left."""
    from reliability_points import crash_points
    from reliability_study import contents, differences

    def again(program, remains, undisturbed):
        with crash_points(remains, lambda _: None):  # no real disk is waited for
            try:
                program(remains)
            except ValueError as fault:
                return [repr(fault)]
        return differences(contents(undisturbed), contents(remains))

    return again


@pytest.mark.parametrize(
    "program", [artefact, many_files, training, phantoms, trusting], ids=lambda each: each.__name__
)
def test_a_program_ends_as_an_undisturbed_one_after_a_crash_at_any_point(program, crashes, resumed):
    made, undisturbed = crashes(program)
    tried = made[:: len(made) // MOST + 1]
    assert len(tried) > 30
    wrong = {(str(point), way): resumed(program, remains, undisturbed) for point, way, remains in tried}
    assert {crash: found for crash, found in wrong.items() if found} == {}


@pytest.mark.parametrize("program", [artefact, many_files])
def test_a_finished_artefact_outlives_a_power_cut(program, crashes):
    from reliability_study import contents

    made, undisturbed = crashes(program)
    ends = [remains for point, _, remains in made if point == "the end"]
    assert len(ends) == len(WAYS)
    assert all(contents(remains) == contents(undisturbed) for remains in ends)


@contextlib.contextmanager
def in_place(path, *, on_disk=True):
    """A writer that is not atomic."""
    yield path


def half(name, remains):
    """Whether a file is there under its own name, and not whole."""
    path = remains / name
    return path.exists() and path.read_text() != TEXT


def without(name, remains):
    """Whether the record is whole, and what it records is not."""
    record, path = remains / "a" / RECORD, remains / "a" / name
    return record.exists() and record.read_bytes().endswith(b"}\n") and (not path.exists() or path.read_text() != TEXT)


PLANTED = {
    "a file written in place": (trusting, ("data.store.replacing", in_place), ("kill",), partial(half, "table.csv")),
    "a file that is not put on disk": (
        trusting,
        ("data.durable.sync", lambda _: None),
        WAYS,
        partial(half, "table.csv"),
    ),
    "a record before its files": (recorded, None, WAYS, partial(without, "table.csv")),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_writer_is_caught_at_every_weak_point_and_nowhere_else(name, crashes, resumed, monkeypatch):
    program, planted, ways, is_weak = PLANTED[name]
    if planted:
        monkeypatch.setattr(*planted)
    made, undisturbed = crashes(program, ways)
    weak = [(str(point), way) for point, way, remains in made if is_weak(remains)]
    caught = [(str(point), way) for point, way, remains in made if resumed(program, remains, undisturbed)]
    assert len(weak) >= 2
    assert caught == weak


def test_every_kind_of_change_is_a_point_and_a_lock_is_none(tmp_path):
    from reliability_points import crash_points

    kinds = []
    with crash_points(tmp_path, lambda point: kinds.append(point.kind)):
        artefact(tmp_path)
        many_files(tmp_path)
        save_state(tmp_path / "c.pt", {"w": torch.zeros(3)})
        durable.os.truncate(tmp_path / "c.pt", 0)
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty").rmdir()
        (tmp_path / "x.lock").write_text("")
        (tmp_path.parent / "elsewhere").write_text("")
    assert set(kinds) == {
        "open", "write", "half write", "save", "half save", "fsync", "sync", "mkdir", "rename", "unlink", "rmdir",
        "truncate",
    }  # fmt: skip
    assert io.open is open


def test_points_are_chosen_of_every_stage_and_kind():
    from reliability_points import Point
    from reliability_sweep import choose

    points = [Point(n, kind, f"runs/{stage}/x") for n, (stage, kind) in enumerate(
        [("cache", "write")] * 50 + [("data", "write")] * 3 + [("data", "open")]
    )]  # fmt: skip
    chosen = choose(points, 4)
    assert {(points[n].path, points[n].kind) for n in chosen} == {
        ("runs/cache/x", "write"), ("runs/data/x", "write"), ("runs/data/x", "open"),
    }  # fmt: skip
    assert sorted(choose(points, 1000)) == list(range(len(points)))
