"""From a class's few images to its synthetic ones: fine-tune the base, draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.base import base_identity
from augment.finetune import finetune
from augment.generate import generate, synthetic_manifest
from augment.prompts import attributes_of
from data.manifest import Manifest
from data.seen import SeenIds
from data.splits import Split
from data.store import digest, read_json
from flows.prepare import Images
from flows.steps import Step, Watch
from flows.study import StudyConfig, inputs, settings

ROOT = "synthetic"  # name of the run folder as a root of paths


def finetune_step(config: StudyConfig, images: Images, label: str, shots: Manifest) -> Step:
    """Teach the base one class."""
    depends = inputs(
        "fine-tune",
        label=label,
        shots=images.identity_of(shots),
        pixels=settings(config.pixels),
        base=base_identity(config.base),
        finetune=settings(config.finetune, "checkpoint_every"),
        seed=config.study_seed,
        **_prompts(config),
    )

    def make(folder: Path, watch: Watch) -> None:
        finetune(
            config.base,
            {label: shots},
            config.pixels,
            config.finetune,
            {label: folder},
            config.study_seed,
            lambda _, step, steps, loss: watch(step, steps, f"loss {loss:.3f}"),
            config.prompts,
        )

    return Step(stage="fine-tune", what=label, folder=config.folder / "finetune" / label, inputs=depends, make=make)


def images_step(config: StudyConfig, label: str, count: int, tuned: Step, real: Manifest | None = None) -> Step:
    """Draw a class's synthetic images with its fine-tuned base; prompts tell what the `real` ones are known by."""
    known = attributes_of(real, config.prompts) if real is not None and config.prompts else []
    depends = inputs(
        "images",
        label=label,
        count=count,
        adapter=tuned.digest,
        size=config.pixels.size,
        generate=config.generate.recipe(),
        seed=config.study_seed,
        **({"attributes": digest(known)} if known else {}),
    )

    def make(folder: Path, watch: Watch) -> None:
        prompt = read_json(tuned.target / "adapter.json")["prompt"]
        size, seed = config.pixels.size, config.study_seed
        generate(config.base, tuned.target, label, prompt, count, seed, config.generate, folder, size, watch, known)

    return Step(stage="images", what=label, folder=config.folder / "images" / label, inputs=depends, make=make)


def _prompts(config: StudyConfig) -> dict[str, Any]:
    """Give what prompts tell, where they tell more than the diagnosis."""
    return {"prompts": settings(config.prompts)} if config.prompts else {}


def seen_by_generator(folder: Path) -> tuple[SeenIds, bool]:
    """Tell what the generator of a folder's images has seen, and whether that is all: its base may have seen more."""
    seen = read_json(folder / "generation.json")["seen"]
    return SeenIds.told(seen), seen.get("base") != "unknown"


def refuse_leaks(split: Split, drawn: Mapping[str, Step]) -> None:
    """Raise DataError for synthetic images whose generator has seen what the classifier is judged by."""
    for step in drawn.values():
        seen, _ = seen_by_generator(step.target)
        split.refuse_seen(seen, f"the generator of {step.target}")


def read_synthetic(config: StudyConfig, drawn: Mapping[str, Step]) -> Manifest:
    """Gather the synthetic images of all classes."""
    roots = {ROOT: config.folder}
    return Manifest.concat(*(synthetic_manifest(step.target, ROOT, roots) for step in drawn.values()))
