"""The loss of photographs that a fine-tune is not trained on, always at the same noise and timesteps.

So it is comparable from step to step: it rises where a class learns its shots by heart. Nothing of the training depends
on it, and it draws no number that the training would.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from augment import device as devices
from augment.diffusion import objective
from augment.diffusion.conditioning import Conditioning, unet_denoise
from augment.diffusion.samplers import alphas_cumprod
from augment.finetune.examples import INSTANCE
from augment.methods.contract import Trainable
from augment.methods.record import HeldOutRecord
from data.errors import DataError
from data.manifest import Manifest
from data.oom import with_oom_backoff
from data.splits.provenance import Provenance

if TYPE_CHECKING:
    from augment.finetune.trainer import ClassTrainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Photographs of each class that its adapter is not trained on, whose loss stands beside the training's."""

    photographs: Mapping[str, Manifest]  # by class
    origin: str  # of them, in words
    reasons: Mapping[str, str] = field(default_factory=dict)  # by class without them: why

    def refuse_shared(self, shots: Mapping[str, Manifest]) -> None:
        """Raise DataError for a class that would be trained on a leakage group whose loss is held out."""
        for label, few in shots.items():
            held_out = self.photographs.get(label)
            shared = [] if held_out is None else sorted({*few.table["group_id"]} & {*held_out.table["group_id"]})
            if shared:
                raise DataError(
                    f"{label}: {len(shared)} leakage groups would both train the adapter and be held out, first "
                    f"{shared[:3]}; hold other photographs out"
                )


@dataclass(eq=False, kw_only=True)
class HeldOutLoss:
    """One class's held-out loss so far; the points are in its checkpoint."""

    every: int  # steps
    latents: Float[Tensor, "n c h w"] | None = None  # of the photographs, on the CPU; None: the class has none
    condition: Float[Tensor, "n 3 H W"] | None = None  # their condition images, for a ControlNet
    origin: str = ""
    reason: str = ""  # why there are none
    provenance: Provenance = field(default_factory=Provenance)  # of the photographs
    points: list[tuple[int, float]] = field(default_factory=list)  # step and loss

    def measure(self, trainer: ClassTrainer) -> bool:
        """Whether the loss after the present step was due and is known; if it cannot be computed, warn and go on."""
        step, config = len(trainer.losses), trainer.config
        if self.latents is None or (step % self.every and not trainer.done):
            return False
        try:
            trainer.trainable.bind([trainer.parameters])
            with torch.no_grad():
                embeds = trainer.prompt_embeds()[INSTANCE : INSTANCE + 1]
            loss = held_out_loss(
                trainer.trainable,
                embeds,
                self.latents,
                self.condition,
                batch_size=config.batch_size,
                min_snr_gamma=config.min_snr_gamma,
            )
        except torch.OutOfMemoryError:
            loss = math.nan
            devices.free_memory()
        if not math.isfinite(loss):
            _log.warning("%s: no held-out loss of step %d: not finite, or no memory", trainer.examples.label, step)
            return False
        self.points.append((step, loss))
        return True

    def table(self) -> str:
        """The points as CSV."""
        return "\n".join(["step,loss", *(f"{step},{loss:.6g}" for step, loss in self.points)]) + "\n"

    def record(self) -> HeldOutRecord:
        """What the adapter's record says of it."""
        if self.latents is None or not self.points:
            return HeldOutRecord(reason=self.reason or "it could not be computed while the class was trained")
        return HeldOutRecord(
            loss=self.points[-1][1], photographs=len(self.latents), origin=self.origin, seen=self.provenance
        )


@torch.no_grad()
def held_out_loss(
    trainable: Trainable,
    prompt_embeds: Float[Tensor, "1 tokens width"],
    latents: Float[Tensor, "n c h w"],
    condition: Float[Tensor, "n 3 H W"] | None = None,
    *,
    batch_size: int | None = None,
    min_snr_gamma: float | None = None,
) -> float:
    """The mean loss of latents with the bound parameters, each at one of evenly spread timesteps.

    Noise and timesteps are always the same, and layers such as dropout are as in sampling. `batch_size` latents, or
    all, are computed at a time. Raises torch.OutOfMemoryError where not even one fits.
    """
    generator, pipe = torch.Generator().manual_seed(0), trainable.pipe
    device, kind, alphas = pipe.unet.device, pipe.scheduler.config.prediction_type, alphas_cumprod(pipe)
    timesteps = objective.stratified_timesteps(len(latents), len(alphas), generator)
    noise = torch.randn(latents.shape, generator=generator)
    alphas = alphas[timesteps]
    noisy, target = objective.noised(latents, noise, alphas), objective.target(latents, noise, alphas, kind)

    def errors(rows: slice) -> Float[Tensor, " n"]:
        sample = noisy[rows].to(device)
        embeds = prompt_embeds.to(device).expand(len(sample), -1, -1)
        conditioning = Conditioning(embeds, None if condition is None else condition[rows].to(device))
        with devices.autocast(device), _evaluating(pipe.unet):
            predicted = unet_denoise(pipe.unet)(sample, timesteps[rows].to(device), conditioning)
        return (predicted.cpu() - target[rows]).square().mean(dim=(1, 2, 3))

    found = torch.cat(with_oom_backoff(errors, len(latents), batch_size or len(latents))[0])
    return float((found * objective.min_snr_weights(alphas, kind, min_snr_gamma)).mean())


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module's layers as in sampling; those that were in training are so again afterwards."""
    training = [each for each in module.modules() if each.training]
    for each in training:
        each.training = False
    try:
        yield
    finally:
        for each in training:
            each.training = True
