"""All that the guard knows by name of the program that it guards; what is renamed there is renamed here, nowhere else.

`STUDIES` are the micro studies' settings, `run` starts one, `PLACES` says where in a run's folder its artefacts lie,
and the readers of CSV and JSON files are told columns and keys. The names that artefacts bear in `reference.json` stand
in `PLACES` too: they stay as they are, whatever a file is called.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ELSEWHERE = "GUARD_ELSEWHERE"  # the environment variable that leads to the images of the arm made elsewhere

COMMON = """
data: {source: phantom, phantom: {images: 84, width: 80, height: 60, balanced: true}}
split: {rare: [df, vasc], shots: 3}
fill_to: 12
"""

STUDIES = {
    "lora": """
pixels: {size: 64}
base: {source: tiny}
prompts: {site: localization, age: age, sex: sex}
finetune: {method: lora, steps: 3, batch_size: 2, learning_rate: 0.002, lr_warmup_steps: 1, preview_every: 3,
  preview: {steps: 2, batch_size: 2}}
generate: {steps: 3, guidance_scale: 2.0}
classifier: {model: test_efficientnet, steps: 6, batch_size: 16, validate_every: 2, ema_decay: 0.5, augment_device: cpu}
arms: [real, oversampled, synthetic, {folder: $GUARD_ELSEWHERE, name: theirs}]
random_split: true
seeds: [0, 1]
""",
    "dreambooth": """
study_seeds: [1]
pixels: {size: 32, geometry: squash}
split: {limit_real_to_shots: true, test_size: 0.25}
base: {source: tiny}
finetune: {method: dreambooth, steps: 3, batch_size: 2, learning_rate: 0.001, lr_warmup_steps: 1, num_class_images: 3,
  text_encoder: true, caption_dropout: 0.3, min_snr_gamma: 5, preview_every: 0}
generate: {preset: fast, steps: 4, guidance_scale: 3.0, format: png, negative_prompt: hair}
classifier: {model: test_efficientnet, steps: 4, batch_size: 8, validate_every: 2, sampling: 1.0,
  augment_device: device}
seeds: [0]
""",
    "own-base": """
study_seeds: [2]
pixels: {size: 32}
base:
  source: pretrain
  pretrain:
    init_from: scratch
    model: {image_size: 32, vae_channels: [8, 16, 16], unet_channels: [16, 32], text_width: 32, text_layers: 1,
      prompt_tokens: 32}
    autoencoder: {steps: 3, batch_size: 2}
    denoiser: {steps: 3, batch_size: 4, ema_decay: 0.5}
prompts: {modality: photo, site: localization, templates: {dx_type: "seen by {}"}}
finetune: {method: lora, steps: 2, batch_size: 2, learning_rate: 0.01, lr_warmup_steps: 1, rank: 4, dihedral: false,
  preview_every: 0}
generate: {steps: 2}
classifier: {model: test_efficientnet, steps: 2, batch_size: 8, validate_every: 2}
arms: [real, synthetic]
embed_real_images: false
seeds: [3]
""",
}


def config_of(name: str, runs: Path) -> dict[str, Any]:
    """The config of one micro study, as its YAML file would hold it."""
    common, own = yaml.safe_load(COMMON), yaml.safe_load(STUDIES[name])
    return {**common, **own, "split": common["split"] | own.get("split", {}), "name": name, "output_dir": str(runs)}


def run(config: Path) -> tuple[Path, str]:
    """Run a study, and give its folder and the sentence that answers it."""
    from flows.pipeline import run_study
    from flows.study import load_study

    study = load_study(config)
    return study.folder, run_study(study, _Quiet()).answer


class _Quiet:
    """A runner that shows nothing."""

    def expect(self, pieces: int) -> None:
        """Nothing is counted."""

    def __call__(self, stage: str, what: str, work: Any) -> Any:
        """Run one piece of work."""
        return work(lambda *_: None)


def phantoms(runs: Path) -> list[Path]:
    """The drawn images that the studies of a folder share."""
    return sorted((runs / "data").glob("phantom-*/images/*"))


def draw_elsewhere(folder: Path) -> None:
    """Draw phantoms of another seed, a folder a class, as if another program had made them."""
    from data.phantoms.table import PhantomConfig, write_phantoms

    drawn = folder.with_name("drawn")
    write_phantoms(drawn, PhantomConfig(images=16, width=64, height=64, seed=7, codes=("df", "vasc"), balanced=True))
    for row in (drawn / "metadata.csv").read_text(encoding="utf-8").splitlines()[1:]:
        _, image, label, *_ = row.split(",")
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / "images" / f"{image}.jpg", folder / label)


# An artefact's name in the reference, the files of a run's folder that it is read from, and how: `figures` are numbers
# that follow from floating-point arithmetic, `exact` the columns that do not.
DIGEST = "[0-9a-f]{12}"
PLACES: tuple[tuple[str, str, str, dict[str, list[str]]], ...] = (  # name, files, reader, columns
    (
        "{} part",
        rf"split-{DIGEST}/(train|validation|test)\.csv",
        "losses",
        {"exact": ["image_id", "label", "group_id"]},
    ),
    ("record of the split", rf"split-{DIGEST}/leakage\.json", "record", {}),
    ("ledger", r"provenance\.json", "record", {}),
    ("base's {}", rf"base-{DIGEST}/(\w+)/\w+\.safetensors", "tensors", {}),
    ("record of the base", rf"base-{DIGEST}/training\.json", "record", {}),
    ("adapter of {}", rf"finetune/(\w+)-{DIGEST}/.*\.safetensors", "tensors", {}),
    ("record of the adapter of {}", rf"finetune/(\w+)-{DIGEST}/adapter\.json", "record", {}),
    ("losses of {}", rf"finetune/(\w+)-{DIGEST}/loss\.csv", "losses", {"exact": ["step", "lr"], "figures": ["loss"]}),
    ("previews of {}", rf"finetune/(\w+)-{DIGEST}/previews/.*", "images", {}),
    ("images of {}", rf"images/(\w+)-{DIGEST}/images/[^.].*", "images", {}),
    (
        "prompts of {}",
        rf"images/(\w+)-{DIGEST}/metadata\.csv",
        "losses",
        {"exact": ["file_name", "label", "prompt", "seed", "negative_prompt", "sampler"]},
    ),
    ("record of the images of {}", rf"images/(\w+)-{DIGEST}/generation\.json", "record", {}),
    ("images of arm {}", rf"external/([\w-]+)-{DIGEST}/external\.json", "record", {}),
    ("classifier {}", rf"arm/([\w-]+)-{DIGEST}/.*\.safetensors", "tensors", {}),
    ("record of classifier {}", rf"arm/([\w-]+)-{DIGEST}/arm\.json", "judged", {}),
    ("what classifier {} was taught", rf"arm/([\w-]+)-{DIGEST}/model/training\.json", "record", {}),
    ("predictions of {}", rf"arm/([\w-]+)-{DIGEST}/predictions\.csv", "learnt", {"exact": ["image"], "figures": ["*"]}),
    (
        "training of {}",
        rf"arm/([\w-]+)-{DIGEST}/history\.csv",
        "learnt",
        {"exact": ["step"], "figures": ["loss"], "judged": ["validation_balanced_accuracy"]},
    ),
    ("random split {}", rf"random-split/(\w+)-{DIGEST}/random_split\.json", "judged", {}),
    (
        "training on random split {}",
        rf"random-split/(\w+)-{DIGEST}/history\.csv",
        "learnt",
        {"exact": ["step"], "figures": ["loss"], "judged": ["validation_balanced_accuracy"]},
    ),
    ("{} images that the report may show", r"thumbs/(\w+)/.*\.jpg", "images", {}),
    ("summary", r"summary\.json", "judged", {}),
)

# Keys of JSON records under which no result lies: times, places, versions, settings and digests of all of these.
IDLE_KEYS = frozenset(
    """started finished seconds timings versions torch machine config pixels prompts base start gallery sha256 key
    recipe weights adapter attributes folder digest""".split()
)
ID = r"PH[A-Z]_\d+|theirs:.*|synthetic-.*"  # ids of images, lesions, patients and groups, among a record's words


def main_figures(summary: Path) -> dict[str, list[float | None]]:
    """What a study reports first: each arm's balanced accuracy and the differences, with their intervals."""
    said = json.loads(summary.read_text(encoding="utf-8"))
    scores = {f"balanced accuracy of {arm}": score for arm, score in said["balanced_accuracy"].items()}
    scores |= {f"{each['first']} less {each['second']}": each for each in said["differences"]}
    if said["random_split"]:
        scores["balanced accuracy of a random split"] = said["random_split"]["balanced_accuracy"]
    return {name: [score["mean"], score["low"], score["high"]] for name, score in scores.items()}


@contextlib.contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """Let the configs find the images made elsewhere."""
    os.environ[ELSEWHERE] = str(folder)
    try:
        yield
    finally:
        del os.environ[ELSEWHERE]
