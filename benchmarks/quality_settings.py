"""The settings that are compared, and one class's images under one of them."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.synthesize import images_step

from augment.generate.run import GenerateConfig
from data.config import parse, to_dict
from data.errors import ConfigError
from data.manifest import Manifest
from data.progress import Progress
from data.store import write_json
from flows.steps import Step
from flows.study import StudyConfig

SPEED = "speed.json"  # inside the images' artifact
STEPS = {"all": (50, 20, 16, 10, 6), "first half": (20, 10), "none": (20, 10)}  # the first is the reference
GUIDANCE = {"all": 1.0, "first half": 0.5, "none": 0.0}  # share of the steps
_TRAINED_ON = {"all": (50, 20, 10, 6), "first half": (20,), "none": (20,)}  # a classifier takes longer than the images


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is changed in a study's `generate`."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True  # a classifier is trained on its images
    needs: str | None = None  # what the study's `generate` must name for it

    def of(self, config: GenerateConfig) -> GenerateConfig:
        """Give the config with the changes. Raises ConfigError for one that it refuses, or that lacks something."""
        if self.needs and not getattr(config, self.needs):
            raise ConfigError(f"generate, {self.name}: generate.{self.needs} names no weights")
        return parse(GenerateConfig, {**to_dict(config), **self.changes}, f"generate, {self.name}")


def settings() -> list[Setting]:
    """The reference first: the most steps, guided throughout. Distilled parts are the study's own, where it has any."""
    plain = {"few_step": None, "taesd": None}
    ladder = [
        Setting(
            name=f"{steps} steps, guidance in {share}",
            changes={**plain, "preset": "quality", "steps": steps, "guidance_end": end},
            trained=steps in _TRAINED_ON[share],
        )
        for share, end in GUIDANCE.items()
        for steps in STEPS[share]
    ]
    fast = [
        Setting(
            name=f"fast, guidance in {share}",
            changes={**plain, "preset": "fast", "steps": None, "guidance_end": GUIDANCE[share]},
            trained=share == "all",
        )
        for share in ("all", "first half")
    ]
    half = Setting(
        name="20 steps, guidance in all, 16 bits", changes={**plain, "preset": "quality", "precision": "fast"}
    )
    own = dict.fromkeys(("steps", "guidance_scale", "guidance_end"))  # what the preset says
    few_step = Setting(name="few-step", changes={**own, "preset": "few-step", "taesd": None})
    taesd = Setting(name="TAESD", changes={**own, "preset": "quality", "few_step": None}, needs="taesd")
    return [*ladder, *fast, half, few_step, taesd]


def drawing(config: StudyConfig, setting: Setting, label: str, count: int, tuned: Step, real: Manifest) -> Step:
    """Draw a class under a setting, as the study does, and note how fast. Raises ConfigError."""
    changed = dataclasses.replace(config, generate=setting.of(config.generate))
    step = images_step(changed, label, count, tuned, real)
    return dataclasses.replace(step, what=f"{label}, {setting.name}", make=_timed(step.make))


def _timed(make: Callable[[Path, Progress], None]) -> Callable[[Path, Progress], None]:
    """Note images a second from the first batch's end to the last's: without loading, compiling and warming up."""

    def made(folder: Path, watch: Progress) -> None:
        told: list[tuple[float, int]] = []

        def clocked(done: int, total: int, note: str = "") -> None:
            told.append((time.perf_counter(), done))
            watch(done, total, note)

        make(folder, clocked)
        (begun, first), (ended, last) = (told[0], told[-1]) if told else ((0.0, 0), (0.0, 0))
        rate = (last - first) / (ended - begun) if last > first else None
        write_json(folder / SPEED, {"images_per_second": rate})

    return made
