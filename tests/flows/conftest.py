import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SMALL = (
    "data.phantom.images=84",
    "data.phantom.balanced=true",
    "data.phantom.test_lesions=0",
    "split.rare=[df]",
    "split.shots=4",
    "split.limit_real_to_shots=false",
    "fill_to=12",
    "finetune.steps=2",
    "finetune.batch_size=2",
    "finetune.preview_every=2",
    "generate.steps=2",
    "classifier.weights=none",
    "classifier.steps=2",
    "classifier.batch_size=8",
    "classifier.validate_every=2",
    "arms=[real, oversampled, synthetic]",
    "coding=none",
    "malignant=[]",
    "seeds=[0]",
)


def quiet(done, total, note=""):
    """Show no progress."""


class Plain:
    """A runner that shows nothing and notes the stages that it ran."""

    def __init__(self):
        self.stages, self.results = [], []

    def expect(self, pieces):
        """Nothing is counted."""

    def __call__(self, stage, what, work):
        """Run one piece of work."""
        self.stages.append(stage)
        self.results.append(work(quiet))
        return self.results[-1]


@pytest.fixture
def plain_runner():
    return Plain()


@pytest.fixture
def prepare_study(tmp_path):
    """Gives a study that is prepared, from its config and split: nothing was read, every image's bytes are its id."""
    from data.manifest import Manifest
    from flows.prepared import Images, Prepared
    from flows.steps import StepResult

    def prepared(study, split, contents=None):
        whole = Manifest.concat(*split.parts().values())
        done = {"stage": "", "what": "", "seconds": 0.0, "reused": True, "folder": study.folder / "split-0"}
        contents = contents or {image: image for image in whole.table["image_id"]}
        images = Images(**done, manifest=whole, contents=contents)
        return Prepared(study, images, split, StepResult(**done), 20_000_000)

    return prepared


@pytest.fixture
def write_adapter_record():
    """Writes the record of an adapter; each of its fields can be another."""
    from augment.methods.record import AdapterRecord
    from data.splits.provenance import Provenance

    def write(folder, **changes):
        given = {
            "method": "lora", "display_name": "LoRA", "label": "df", "prompt": "p", "negative_prompt": "",
            "token": None, "final_loss": 0.1, "config": {}, "key": "k", "weights": "w.safetensors", "sha256": "0" * 64,
            "base": {}, "provenance": Provenance(), "pixels": {}, "seed": 0, "trained_with": ["df"], "seconds": 2.0,
        }  # fmt: skip
        stopped = changes.get("stopped")
        AdapterRecord(**{"steps": stopped.step if stopped else 400, **given, **changes}).write(folder)

    return write


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    """The demo's config, and overrides that make it a study of seconds with a base of random weights."""
    from augment.base.tiny_model import TinyModelConfig, build_tiny_model

    base = tmp_path_factory.mktemp("base")
    build_tiny_model(TinyModelConfig(), seed=0).save_pretrained(base)
    runs = tmp_path_factory.mktemp("runs")
    return [str(REPOSITORY / "configs" / "demo.yaml"), f"base.source={base}", f"output_dir={runs}", *SMALL]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A Prefect server of this session's own; gives the environment that leads to it."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1"}
    program = str(Path(sys.executable).with_name("prefect"))
    command = [program, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        _wait_for(f"{url}/health", process, home / "server.log")
        yield environment
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(url, process, log):
    for _ in range(360):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - http only
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture
def make_split(tmp_path):
    """Gives a split of small noise images, so many of each class in each part; each image is a group of its own."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    from data.manifest import COLUMNS, Manifest
    from data.splits.split import Split

    def part(name, counts, drawn):
        ids = [f"{name}-{label}-{i}" for label, n in counts.items() for i in range(n)]
        folder, rng = tmp_path / "real", np.random.default_rng(len(name))
        if drawn:
            folder.mkdir(exist_ok=True)
            for image in ids:
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{image}.png")
        columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "group_id": ids, "path": [f"{i}.png" for i in ids]}
        labels = [image.split("-")[1] for image in ids]
        return Manifest(pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real"), {"r": folder})

    def split(drawn=True, **counts):
        counts = counts or {"nv": 6, "mel": 4, "df": 2}
        return Split(*(part(name, counts, drawn) for name in ("train", "validation", "test")))

    return split
