"""Which step of a fine-tune is kept: a later one has to be better than the kept one by more than one standard error.

Every so many steps a class draws images, always of the same seeds, with its present adapter. Their kernel distance to
photographs of the class that it is not trained on is measured. So the kept step is within one standard error of the
best one, and of steps that noise alone tells apart the earliest is kept: the one-standard-error rule (Breiman et al.
1984, section 3.4.3), step by step, with the standard error of the paired difference. One set of weights is kept, no
more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from torch import Tensor

from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from augment.fidelity import FEWEST_DISTANCE, Figure, compare_distance, scale_of
from data.errors import DataError
from data.manifest import Manifest
from data.oom import with_oom_backoff

Features = Callable[[UInt8[np.ndarray, "n h w 3"]], Float[np.ndarray, "n width"]]

FEWEST_HELD_OUT = 8  # photographs; with fewer the last step is kept
SAMPLER = SamplerConfig(steps=10, batch_size=32)  # of the images that are drawn for the choice
COLUMNS = ("step", "kernel_distance", "standard_error", "less", "less_error", "kept")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What steps are chosen by: features, and photographs of each class that its adapter is not trained on."""

    features: Features
    features_name: str
    features_identity: str  # of their weights
    held_out: Mapping[str, Manifest]  # by class, one photograph a lesion
    origin: str  # of the photographs, in words
    reasons: Mapping[str, str] = field(default_factory=dict)  # by class without them: why its last step is kept

    def key_parts(self, label: str) -> tuple[object, ...]:
        """What a class's adapter depends on besides its shots and settings."""
        held_out = self.held_out.get(label)
        return () if held_out is None else (self.features_identity, held_out.digest())

    def refuse_shared(self, shots: Mapping[str, Manifest]) -> None:
        """Raise DataError for a class that would be trained on a leakage group that chooses its step."""
        for label, held_out in self.held_out.items():
            trained_on = set(shots[label].table["group_id"]) if label in shots else set()
            shared = sorted(trained_on & set(held_out.table["group_id"]))
            if shared:
                raise DataError(
                    f"{label}: {len(shared)} leakage groups would both train the adapter and choose its step, first "
                    f"{shared[:3]}; hold other photographs out"
                )
            if len(held_out) < FEWEST_DISTANCE:
                raise DataError(f"{label}: {len(held_out)} photographs are too few to choose a step by")


@dataclass(frozen=True, kw_only=True)
class Point:
    """The figure of one step; `less` is its difference to the step that was kept until then, 0 for the first."""

    step: int
    kernel_distance: float
    standard_error: float
    less: float
    less_error: float
    kept: bool  # from here on, until a later one is


class StepChoice:
    """The choice of one class's step so far; its state is in the checkpoint."""

    def __init__(
        self, real: Float[np.ndarray, "n width"], features: Features, every: int, patience: int | None = None
    ) -> None:
        """`real` are the features of the held-out photographs."""
        self.features, self._every, self._patience = features, every, patience
        self._scale = scale_of(real)
        self._real = real / self._scale
        self.points: list[Point] = []
        self.parameters: dict[str, Tensor] = {}  # of the kept step, on the CPU
        self._kept: Figure | None = None

    def is_due(self, step: int, last: int) -> bool:
        """Whether the adapter is measured after this step."""
        return step % self._every == 0 or step == last

    @property
    def step(self) -> int | None:
        """The kept step; None before the first measurement."""
        return next((point.step for point in reversed(self.points) if point.kept), None)

    @property
    def stopped(self) -> bool:
        """Whether as many measurements as `patience` have passed since the kept step."""
        since = sum(point.step > (self.step or 0) for point in self.points)
        return self._patience is not None and since >= self._patience

    def add(self, step: int, images: UInt8[np.ndarray, "n h w 3"], parameters: Mapping[str, Tensor]) -> None:
        """Measure the images of a step, and keep its parameters if they are better by more than the noise."""
        figure = compare_distance(self._real, self.features(images) / self._scale)
        less = figure if self._kept is None else figure.less(self._kept)
        kept = self._kept is None or less.value < -less.error
        known = self._kept is not None
        point = Point(
            step=step,
            kernel_distance=figure.value,
            standard_error=figure.error,
            less=less.value if known else 0.0,
            less_error=less.error if known else 0.0,
            kept=kept,
        )
        self.points.append(point)
        if kept:
            self._kept = figure
            self.parameters = {name: value.detach().to("cpu", copy=True) for name, value in parameters.items()}

    def state_dict(self) -> dict[str, Any]:
        """The points, and figure and parameters of the kept step."""
        kept = None if self._kept is None else (self._kept.value, torch.from_numpy(self._kept.halves))
        return {"points": [asdict(point) for point in self.points], "kept": kept, "parameters": self.parameters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.points = [Point(**point) for point in state["points"]]
        self.parameters = dict(state["parameters"])
        self._kept = None if state["kept"] is None else Figure(value=state["kept"][0], halves=state["kept"][1].numpy())

    def table(self) -> str:
        """The points as CSV."""
        rows = [
            f"{p.step},{p.kernel_distance:.6g},{p.standard_error:.6g},{p.less:.6g},{p.less_error:.6g},{int(p.kept)}"
            for p in self.points
        ]
        return "\n".join([",".join(COLUMNS), *rows]) + "\n"


def drawn_latents(pipe: StableDiffusionPipeline, images: PromptedSeeds, size: int) -> Float[Tensor, "n c h w"]:
    """Latents of these images with few steps, so many at a time as the device's memory holds."""

    def sampled(rows: slice) -> Tensor:
        part = images.part(rows)
        sampler = SamplerConfig(steps=SAMPLER.steps, guidance_scale=SAMPLER.guidance_scale, batch_size=len(part))
        return sample_batch(pipe, part, sampler, size)

    return torch.cat(with_oom_backoff(sampled, len(images), SAMPLER.batch_size)[0])
