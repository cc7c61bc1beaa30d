import dataclasses
import shutil
import threading
from types import SimpleNamespace

import pytest

from data.errors import InputError
from data.pixels import PixelConfig
from data.store import building, partial_of
from flows import disk
from flows.augment_and_evaluate import main
from flows.disk import by_kind, check_disk, estimate, in_words
from flows.pipeline import run_study
from flows.plan import Plan
from flows.steps import DiskUse, Step
from flows.study import StudyConfig, load_study

MIB = 2**20

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def step(folder, stage, what, group="", **use):
    place = folder / stage / what
    return Step(stage=stage, what=what, record=(stage, what), folder=place, inputs={}, group=group, disk=DiskUse(**use))


@pytest.fixture
def plan(tmp_path, prepare_study, make_split):
    """A plan of two classes and three classifiers, whose steps say what they write."""
    study = StudyConfig(output_dir=str(tmp_path), arms=("real", "synthetic"), fill_to=5)
    prepared = prepare_study(study, make_split(drawn=False, nv=10, akiec=3, df=3, vasc=3))
    study.folder.mkdir()
    adapter = {"kind": "adapters", "kept": 1000, "checkpoint": 5000, "checkpoints": 2}
    classes = [step(study.folder, "fine-tune", label, "fine-tune", **adapter) for label in ("df", "vasc")]
    arm = {"kind": "classifiers", "kept": 20 * MIB, "checkpoint": 100, "checkpoints": 1, "pixel_sizes": (64,)}
    arms = [step(study.folder, "arm", f"real-{n}", **arm) for n in range(3)]
    return Plan(prepared, (*classes, *arms))


def free(monkeypatch, size):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=size))


def test_what_is_kept_adds_up_and_checkpoints_are_those_of_the_largest_piece_of_work(plan):
    needed = by_kind(plan.steps)
    assert needed == {"adapters": 2000, "classifiers": 60 * MIB, "checkpoints on the way": 15_000}  # two, and a third
    apart = [dataclasses.replace(each, group="") for each in plan.steps]
    assert by_kind(apart)["checkpoints on the way"] == 10_000
    once = [dataclasses.replace(each, disk=dataclasses.replace(each.disk, checkpoints=1)) for each in plan.steps]
    assert by_kind(once)["checkpoints on the way"] == 10_000
    assert by_kind(plan.steps[2:])["checkpoints on the way"] == 100


def test_decoded_pixels_are_counted_at_every_size_that_a_step_asks_for(plan):
    prepared = plan.prepared
    n = 2 * len(prepared.images.manifest) + sum(prepared.synthetic_counts.values())  # photographs may all be coded
    small, large = 64 * 64 * 3 + 74, 512 * 512 * 3 + 74
    assert estimate(plan).needed["decoded pixels"] == n * small
    study = dataclasses.replace(plan.prepared.study, pixels=PixelConfig(size=512))
    use = dataclasses.replace(plan.steps[-1].disk, pixel_sizes=(64, 512))
    other = Plan(
        dataclasses.replace(plan.prepared, study=study), (*plan.steps, dataclasses.replace(plan.steps[-1], disk=use))
    )
    assert estimate(other).needed["decoded pixels"] == n * (small + large)


def test_what_repeats_share_is_counted_once_and_their_records_each(plan):
    alone, twice = estimate(plan).needed, estimate(plan, plan).needed
    n, made = len(plan.prepared.images.manifest), plan.prepared.most_made
    assert {kind: twice[kind] / size for kind, size in alone.items()} == {
        "adapters": 1, "classifiers": 1, "checkpoints on the way": 1, "tables and report": 2,
        "decoded pixels": (n + 2 * made) / (n + made),  # each may generate and code others
    }  # fmt: skip
    other = [dataclasses.replace(each, inputs={"seed": 1}) for each in plan.steps]
    apart = estimate(plan, Plan(plan.prepared, tuple(other))).needed
    assert apart["classifiers"] == 2 * alone["classifiers"]
    assert apart["checkpoints on the way"] == alone["checkpoints on the way"]


def test_ten_times_as_many_synthetic_images_are_counted_in_pixels_and_tables(plan):
    study = dataclasses.replace(plan.prepared.study, arms=("real", "synthetic", "synthetic@10x"))
    more = Plan(dataclasses.replace(plan.prepared, study=study), plan.steps)
    extra = sum(more.prepared.synthetic_counts.values()) - sum(plan.prepared.synthetic_counts.values())
    assert more.prepared.synthetic_counts == {"akiec": 30, "df": 30, "vasc": 30}
    before, after = estimate(plan).needed, estimate(more).needed
    assert after["decoded pixels"] - before["decoded pixels"] == extra * (64 * 64 * 3 + 74)
    assert after["tables and report"] - before["tables and report"] >= 90 * 2 * 2**10


def test_the_estimate_is_one_line_with_the_largest_first():
    line = in_words({"adapters": 4_500_000, "decoded pixels": 7_900_000_000})
    assert line == "at most 7.9 GB by estimate (decoded pixels 7.9 GB, adapters 4.5 MB)"


def test_a_run_that_cannot_fit_is_refused_in_one_line(plan, tmp_path, monkeypatch):
    needed = sum(estimate(plan).needed.values())
    free(monkeypatch, needed - 1)
    words = rf"^output_dir={tmp_path}: this run takes at most \d+ MB .* set output_dir= to .*disk$"
    with pytest.raises(InputError, match=words):
        check_disk(plan)
    free(monkeypatch, needed)
    fits = check_disk(plan)
    assert fits.outcome.endswith(f"free in {tmp_path}")
    assert "\n" not in fits.outcome
    assert fits.there == 0


def test_what_is_finished_needs_nothing_more(plan, monkeypatch):
    free(monkeypatch, 10**12)
    for stage, kind in (("fine-tune", "adapters"), ("arm", "classifiers")):
        assert kind in check_disk(plan).needed
        for each in plan.steps_of(stage):
            with building(each.target, each.inputs) as folder:
                (folder / "weights").write_bytes(bytes(1000))
        assert kind not in check_disk(plan).needed
    free(monkeypatch, 30 * MIB)  # a full disk
    assert set(check_disk(plan).needed) == {"tables and report"}


def test_what_lies_there_of_this_very_work_counts_as_room(plan, monkeypatch):
    study, needed = plan.prepared.study, estimate(plan).needed
    free(monkeypatch, sum(needed.values()) - 1)
    other = study.folder / "arm" / "real-0-0123456789ab"  # of other settings: it stays
    other.mkdir(parents=True)
    (other / "weights").write_bytes(bytes(1000))
    for name in ("pixels-512-crop", "pixels-64-squash", "compiled"):
        (study.cache / name).mkdir(parents=True)
        (study.cache / name / "pixels.bin").write_bytes(bytes(1000))
    with pytest.raises(InputError, match="this run takes"):
        check_disk(plan)

    begun = partial_of(plan.steps[0].target)
    begun.mkdir(parents=True)
    (begun / "checkpoint").write_bytes(b"x")
    assert check_disk(plan).there == 1
    shutil.rmtree(begun)
    (study.cache / "pixels-64-crop").mkdir()
    with (study.cache / "pixels-64-crop" / "pixels.bin").open("wb") as pixels:
        pixels.truncate(10 * needed["decoded pixels"])  # of other images too
    there = check_disk(plan)
    assert there.there == needed["decoded pixels"]
    assert "lies there already; " in there.outcome


class Peak(threading.Thread):
    """The most bytes that folders held while it ran, as far as it saw."""

    def __init__(self, *folders):
        super().__init__(daemon=True)
        self.folders, self.most, self.over = folders, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.02):
            self.look()

    def look(self):
        self.most = max(self.most, sum(map(disk._bytes_in, self.folders)))


class Noting:
    """A runner that notes the disk estimate."""

    needed = None

    def expect(self, pieces):
        """Nothing is counted."""

    def __call__(self, stage, what, work):
        done = work(lambda *_: None)
        if stage == "disk":
            self.needed = dict(done.needed)
        return done


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_a_run_takes_less_than_estimated_and_more_than_a_fifth(small_study, tmp_path, method, monkeypatch):
    often = [
        "finetune.steps=4", "finetune.checkpointing_steps=1", "classifier.steps=4", "classifier.validate_every=1",
        "coding=mixed",
    ]  # fmt: skip
    study = load_study(
        small_study[0], [*small_study[1:], *often, f"output_dir={tmp_path}", f"finetune.method={method}"]
    )
    run, peak = Noting(), Peak(study.folder, tmp_path / "cache")
    peak.start()
    run_study(study, run)
    peak.over.set()
    peak.join()
    peak.look()
    assert peak.most < sum(run.needed.values()) < 5 * peak.most

    def kept(*folders):
        return sum(disk._bytes_in(folder) for folder in folders)

    taken = {
        "adapters": kept(study.folder / "finetune"),
        "synthetic images": kept(study.folder / "images"),
        "classifiers": kept(study.folder / "arm"),
        "autoencoded images": kept(study.folder / "autoencoded"),
        "probe": kept(*study.folder.glob("probe-*")),
        "decoded pixels": kept(*(tmp_path / "cache").glob("pixels-*")),
    }
    for kind, size in taken.items():
        assert size <= run.needed[kind], (kind, size, run.needed[kind])
    small = kept(study.folder) - sum(taken[kind] for kind in taken if kind != "decoded pixels")
    assert small < run.needed["tables and report"]
    assert not [*study.folder.rglob("checkpoint*"), *study.folder.rglob("*.partial"), *study.folder.rglob("*.tmp")]

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=20 * MIB))
    run_study(study, run)  # what is finished is not refused, however full the disk
    assert set(run.needed) == {"tables and report"}
    more = dataclasses.replace(study, finetune=dataclasses.replace(study.finetune, steps=5))
    with pytest.raises(InputError, match="this run takes"):  # artefacts of other settings stay, and are no room
        run_study(more, run)
    shutil.rmtree(study.folder)


@pytest.mark.slow
def test_nothing_is_trained_where_the_disk_is_full(small_study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert main([*small_study, f"output_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: output_dir={tmp_path}: this run takes at most ")
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("finetune"))
