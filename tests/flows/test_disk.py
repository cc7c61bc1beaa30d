import dataclasses
import shutil
import threading
from types import SimpleNamespace

import pytest
import torch

from augment.base.config import BaseConfig
from augment.finetune.run import FinetuneConfig
from classify.config import ClassifierConfig
from data.errors import BaseError, InputError
from data.pixels import PixelConfig
from data.store import partial_of
from flows import disk
from flows.augment_and_evaluate import main
from flows.disk import Left, Sizes, need, room, told
from flows.pipeline import run_study
from flows.steps import Step
from flows.study import StudyConfig, load_study

MIB = 2**20


# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


ALL = Left(adapters=2, drawn=150, classifiers=6)  # of a study that has not begun


def sizes(**more):
    given = {"images": 1000, "classes": 7, "drawn": {"df": 100, "vasc": 50}, "classifier": 20_000_000}
    return Sizes(**{**given, "learned": 1_000_000, **more})


def study(**more):
    return StudyConfig(arms=("real", "synthetic"), seeds=(0, 1, 2), **more)


def test_decoded_pixels_are_kept_at_the_studys_size_and_at_64():
    large, small = 512 * 512 * 3 + 65, 64 * 64 * 3 + 65
    both = need(study(pixels=PixelConfig(size=512)), sizes(given=10), Left(folders=1, classifiers=1))["decoded pixels"]
    assert both == 1010 * small + 1160 * large
    assert need(study(pixels=PixelConfig(size=512)), sizes(), ALL)["decoded pixels"] == 1150 * large  # split by then
    assert need(study(), sizes(), ALL)["decoded pixels"] == 1150 * small


def test_adapters_are_in_32_bits_for_lora_and_in_16_for_dreambooth():
    for method, width in (("lora", 4), ("dreambooth", 2)):
        config = study(finetune=FinetuneConfig(method=method, steps=10, preview_every=0))
        assert need(config, sizes(), ALL)["adapters"] == 2 * (width * 1_000_000 + 640 + MIB // 4)


def test_checkpoints_are_of_all_classes_together_or_of_the_one_in_training():
    tuning = {"steps": 300, "checkpoint_every": 100, "rank": 4}
    quiet = ClassifierConfig(steps=8, validate_every=8)
    config = study(finetune=FinetuneConfig(**tuning), classifier=quiet)
    one = 12 * 1_000_000 + MIB
    assert need(config, sizes(), ALL)["checkpoints on the way"] == 3 * one  # two, and a third that is being written
    config = study(finetune=FinetuneConfig(method="dreambooth", **tuning), classifier=quiet)
    assert need(config, sizes(), ALL)["checkpoints on the way"] == 2 * one
    config = study(finetune=FinetuneConfig(steps=100, checkpoint_every=100), classifier=quiet)
    assert "checkpoints on the way" not in need(config, sizes(), ALL)
    config = study(classifier=ClassifierConfig(steps=9, validate_every=8))
    assert need(config, sizes(drawn={}), Left(classifiers=3))["checkpoints on the way"] == 5 * 20_000_000 + MIB


def test_a_base_of_the_studys_own_is_counted_with_its_latents():
    config = study(base=BaseConfig(source="pretrain"))
    own = Left(base=True, adapters=2, drawn=150, classifiers=6)
    found = need(config, sizes(denoiser=1_000_000, autoencoder=100_000, latent=2048), own)
    assert found["base"] == 2_200_000 + MIB
    assert found["checkpoints on the way"] >= 16_000_000 + 16 * 1000 * 2048


def test_a_study_without_synthetic_images_needs_nothing_for_them():
    assert not {"adapters", "synthetic images", "base"} & set(need(study(), sizes(drawn={}), Left(classifiers=3)))
    assert disk.sizes_of(study(), 9, 2, {"df": 0}, 0, torch.nn.Linear(1, 1)) == sizes(
        images=9, classes=2, drawn={}, classifier=8, learned=0
    )


def test_the_need_is_one_line_with_the_largest_first():
    said = told({"adapters": 4_500_000, "decoded pixels": 7_900_000_000})
    assert said == "at most 7.9 GB by estimate (decoded pixels 7.9 GB, adapters 4.5 MB)"


def step(folder, stage, what, number=0):
    def make(partial, watch):
        (partial / "weights").write_bytes(bytes(1000))

    return Step(stage=stage, what=what, folder=folder / stage / what, inputs={"number": number}, make=make, heavy=False)


@pytest.fixture
def planned(tmp_path):
    """A study in a folder of runs, and the steps that are before it."""
    config = study(runs=str(tmp_path))
    arms = [step(config.folder, "arm", f"{arm}-{seed}") for arm in config.arms for seed in config.seeds]
    classes = [step(config.folder, stage, label) for label in ("df", "vasc") for stage in ("fine-tune", "images")]
    return config, [*classes, *arms]


def free(monkeypatch, size):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=size))


def test_a_run_that_cannot_fit_is_refused_in_one_line(planned, tmp_path, monkeypatch):
    config, steps = planned
    needed = sum(need(config, sizes(), ALL).values())
    free(monkeypatch, needed - 1)
    with pytest.raises(InputError, match=rf"^runs={tmp_path}: this run takes at most \d+ MB .* set runs= to .*disk$"):
        room(config, sizes(), steps)
    free(monkeypatch, needed)
    fits = room(config, sizes(), steps)
    assert fits.outcome.endswith(f"free in {tmp_path}")
    assert "\n" not in fits.outcome
    assert fits.there == 0


def test_what_is_finished_needs_nothing_more(planned, monkeypatch):
    config, steps = planned
    free(monkeypatch, 10**12)
    for made, kind in (("fine-tune", "adapters"), ("images", "synthetic images"), ("arm", "classifiers")):
        assert kind in room(config, sizes(), steps).need
        for each in steps:
            if each.stage == made:
                each(lambda *_: None)
        assert kind not in room(config, sizes(), steps).need
    free(monkeypatch, 30 * MIB)  # a full disk
    assert set(room(config, sizes(), steps).need) == {"tables and report"}


def test_room_is_what_lies_there_of_this_very_work(planned, monkeypatch):
    config, steps = planned
    needed = need(config, sizes(), ALL)
    free(monkeypatch, sum(needed.values()) - 1)
    other = config.folder / "arm" / "real-0-0123456789ab"  # of other settings: it stays
    other.mkdir(parents=True)
    (other / "weights").write_bytes(bytes(1000))
    cache = config.folder.parent / "cache"
    for name in ("pixels-512-crop", "pixels-64-squash", "compiled"):
        (cache / name).mkdir(parents=True)
        (cache / name / "pixels.bin").write_bytes(bytes(1000))
    with pytest.raises(InputError, match="this run takes"):
        room(config, sizes(), steps)

    begun = partial_of(steps[0].target)
    begun.mkdir(parents=True)
    (begun / "checkpoint").write_bytes(b"x")
    assert room(config, sizes(), steps).there == 1
    shutil.rmtree(begun)
    (cache / "pixels-64-crop").mkdir()
    with (cache / "pixels-64-crop" / "pixels.bin").open("wb") as pixels:
        pixels.truncate(10 * needed["decoded pixels"])  # of other images too
    there = room(config, sizes(), steps)
    assert there.there == needed["decoded pixels"]
    assert "of which 14 MB lies there already; " in there.outcome


def test_a_base_that_is_not_there_is_no_want_of_disk():
    with pytest.raises(BaseError, match=r"^base\.source: /nowhere: no such file or folder"):
        disk.sizes_of(study(base=BaseConfig(source="/nowhere")), 9, 2, {"df": 1}, 0, torch.nn.Linear(1, 1))


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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_a_run_takes_less_than_is_said_and_more_than_a_fifth(small_study, tmp_path, method, monkeypatch):
    often = ["finetune.steps=4", "finetune.checkpoint_every=1", "classifier.steps=4", "classifier.validate_every=1"]
    config = load_study(small_study[0], [*small_study[1:], *often, f"runs={tmp_path}", f"finetune.method={method}"])
    found = {}

    def conduct(stage, what, work):
        done = work(lambda *_: None)
        if stage == "disk":
            found.clear()
            found.update(done.need)
        return done

    peak = Peak(config.folder, tmp_path / "cache")
    peak.start()
    run_study(config, conduct)
    peak.over.set()
    peak.join()
    peak.look()
    assert peak.most < sum(found.values()) < 5 * peak.most

    def kept(*folders):
        return sum(disk._bytes_in(folder) for folder in folders)

    taken = {
        "adapters": kept(config.folder / "finetune"),
        "synthetic images": kept(config.folder / "images"),
        "classifiers": kept(config.folder / "arm"),
        "decoded pixels": kept(*(tmp_path / "cache").glob("pixels-*")),
    }
    for kind, size in taken.items():
        assert size <= found[kind], (kind, size, found[kind])
    assert kept(config.folder) - sum(taken[kind] for kind in list(taken)[:3]) < found["tables and report"]
    assert not [*config.folder.rglob("checkpoint*"), *config.folder.rglob("*.partial"), *config.folder.rglob("*.tmp")]

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=20 * MIB))
    run_study(config, conduct)  # what is finished is not refused, however full the disk
    assert set(found) == {"tables and report"}
    more = dataclasses.replace(config, finetune=dataclasses.replace(config.finetune, steps=5))
    with pytest.raises(InputError, match="this run takes"):  # artifacts of other settings stay, and are no room
        run_study(more, conduct)
    shutil.rmtree(config.folder)


@pytest.mark.slow
def test_nothing_is_trained_where_the_disk_is_full(small_study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert main([*small_study, f"runs={tmp_path}"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: runs={tmp_path}: this run takes at most ")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.rglob("finetune"))
