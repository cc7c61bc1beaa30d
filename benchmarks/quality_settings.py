"""The settings of the sampler that are compared, and the generation of images with its rate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from augment.generate.config import GenerateConfig
from data.config import parse, to_dict
from data.errors import ConfigError
from data.progress import Progress
from data.store import read_json, write_json
from flows.execute import make_artefact
from flows.plan import Plan
from flows.stages import images
from flows.steps import Step

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
    needs: str | None = None  # key of `generate` that has to be set for it

    def applied_to(self, config: GenerateConfig) -> GenerateConfig:
        """The config with the changes. Raises ConfigError for an invalid one, and for one that lacks `needs`."""
        if self.needs and not getattr(config, self.needs):
            raise ConfigError(f"generate, {self.name}: generate.{self.needs} names no weights; set it")
        return parse(GenerateConfig, {**to_dict(config), **self.changes}, f"generate, {self.name}")


def settings() -> list[Setting]:
    """The reference first: most steps, guidance in all. Distilled parts are the study's own, where it names some."""
    undistilled = {"few_step": None, "taesd": None}
    quality = [
        Setting(
            name=f"{steps} steps, guidance in {share}",
            changes={**undistilled, "preset": "quality", "steps": steps, "guidance_end": end},
            trained=steps in _TRAINED_ON[share],
        )
        for share, end in GUIDANCE.items()
        for steps in STEPS[share]
    ]
    fast = [
        Setting(
            name=f"fast, guidance in {share}",
            changes={**undistilled, "preset": "fast", "steps": None, "guidance_end": GUIDANCE[share]},
            trained=share == "all",
        )
        for share in ("all", "first half")
    ]
    half = Setting(
        name="20 steps, guidance in all, 16 bits", changes={**undistilled, "preset": "quality", "precision": "fast"}
    )
    own = dict.fromkeys(("steps", "guidance_scale", "guidance_end"))  # the preset's
    few_step = Setting(name="few-step", changes={**own, "preset": "few-step", "taesd": None})
    taesd = Setting(name="TAESD", changes={**own, "preset": "quality", "few_step": None}, needs="taesd")
    return [*quality, *fast, half, few_step, taesd]


class RateProgress:
    """A `Progress` that measures the rate, and passes each call on."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._calls = progress, list[tuple[float, int]]()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Note the time."""
        self._calls.append((time.perf_counter(), done))
        self._progress(done, total, note)

    @property
    def images_per_second(self) -> float | None:
        """From the first batch's end to the last's, so without loading and compiling; None for a single batch."""
        (start, first), (end, last) = (self._calls[0], self._calls[-1]) if self._calls else ((0.0, 0), (0.0, 0))
        return (last - first) / (end - start) if last > first else None


def generate_timed(plan: Plan, step: Step, progress: Progress) -> None:
    """Make an images step as the study does, and keep its rate in the artifact."""
    rate = RateProgress(progress)
    make_artefact(
        step,
        lambda folder: (
            images.make(plan, step, folder, rate),
            write_json(folder / SPEED, {"images_per_second": rate.images_per_second}),
        ),
    )


def images_per_second(step: Step) -> float | None:
    """The rate that `generate_timed` kept."""
    rate: float | None = read_json(step.target / SPEED)["images_per_second"]
    return rate
