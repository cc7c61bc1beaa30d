"""From a class's few images to its synthetic ones: fine-tune the base, draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.base.config import base_identity
from augment.finetune.config import decisive
from augment.finetune.run import Progress, finetune
from augment.generate.pipeline import Wardrobe
from augment.generate.run import generate, synthetic_manifest
from augment.prompts import DEFAULT, attributes_of
from data.manifest import Manifest
from data.splits.provenance import SeenIds
from data.splits.split import Split
from data.store import digest, read_json
from flows.prepare import Images
from flows.steps import Complete, Step, Together, Watch
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
        finetune={name: value for name, value in decisive(config.finetune).items() if name != "checkpoint_every"},
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


def finetunes(config: StudyConfig, images: Images, shots: Mapping[str, Manifest]) -> list[Together]:
    """Teach the base these classes: all in one piece of work where one batch can hold them, else each in its own."""
    groups = [shots] if config.finetune.together else [{label: few} for label, few in shots.items()]
    return [finetune_together(config, images, group) for group in groups]


def finetune_together(config: StudyConfig, images: Images, shots: Mapping[str, Manifest]) -> Together:
    """Teach the base these classes in one piece of work; an artifact each.

    A class's seconds are its share: what was spent on one batch, or on all, is divided evenly.
    """
    steps = tuple(finetune_step(config, images, label, few) for label, few in shots.items())

    def make(folders: Mapping[str, Path], watch: Watch, complete: Complete) -> None:
        few = {label: shots[label] for label in folders}
        told = _told(watch, len(few))
        finetune(
            config.base, few, config.pixels, config.finetune, folders, config.study_seed, told, config.prompts, complete
        )

    return Together(steps=steps, make=make)


def _told(watch: Watch, classes: int) -> Progress:
    """Tell a watch of all classes' steps, and the last loss of each."""
    done, losses = dict[str, int](), dict[str, str]()

    def progress(label: str, step: int, steps: int, loss: float) -> None:
        done[label], losses[label] = step, f"{label} {loss:.3f}"
        watch(sum(done.values()), steps * classes, f"loss {', '.join(losses.values())}")

    return progress


def images_step(
    config: StudyConfig,
    label: str,
    count: int,
    tuned: Step,
    real: Manifest | None = None,
    wardrobe: Wardrobe | None = None,
) -> Step:
    """Draw a class's synthetic images with its fine-tuned base; prompts tell what the `real` ones are known by.

    Steps that share a `wardrobe` of the study's base load that once.
    """
    known = attributes_of(real, config.prompts) if real is not None and config.prompts.tells_columns else []
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
        size, seed, how = config.pixels.size, config.study_seed, config.generate
        generate(config.base, tuned.target, label, prompt, count, seed, how, folder, size, watch, known, wardrobe)

    return Step(stage="images", what=label, folder=config.folder / "images" / label, inputs=depends, make=make)


def _prompts(config: StudyConfig) -> dict[str, Any]:
    """Give how prompts are worded, where that is not as ever."""
    return {} if config.prompts == DEFAULT else {"prompts": settings(config.prompts)}


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
