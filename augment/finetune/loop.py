"""The steps of one class or of many in one batch.

A class's batch, loss, gradient, clip and optimiser are its own, so it learns what it would learn alone, within
rounding; it may be further on than the others, end before them or fail without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from augment import device
from augment.diffusion import objective
from augment.diffusion.samplers import solver
from augment.finetune.config import Progress
from augment.finetune.examples import Batch
from augment.finetune.trainer import Training
from data.errors import TrainingError

log = logging.getLogger(__name__)

Finished = Callable[[Training], None]


@dataclass(frozen=True)
class Made:
    """What became of one step of a group."""

    losses: dict[Training, float] = field(default_factory=dict)  # of those that made it
    faults: dict[Training, str] = field(default_factory=dict)  # what is to be said of those that failed
    fits: bool = True  # whether the device's memory held them all; if not, the others have yet to make it


def train(
    trainings: Sequence[Training], finished: Finished, progress: Progress | None = None, at_once: int | None = None
) -> None:
    """Train each class to its last step, at most `at_once` in one batch, and call `finished` with it.

    Where an accelerator's memory does not hold so many, half as many are tried. A class whose loss is not a
    number stops alone; the TrainingError that names it comes after the others' end.
    """
    waiting, failed = list(trainings), list[str]()
    while waiting:
        group = waiting[:at_once]
        if ended := [training for training in group if training.done]:
            finished(ended[0])
            waiting.remove(ended[0])
            continue
        made = step(group)
        if not made.fits:
            log.warning("%d classes in one batch do not fit into memory; trying %d", len(group), len(group) // 2)
            at_once = len(group) // 2
            _make_room(group)
        for training, loss in made.losses.items():
            _keep(training, loss, progress)
        waiting = [training for training in waiting if training not in made.faults]
        failed += made.faults.values()
    if failed:
        raise TrainingError("; ".join(failed))


def step(group: Sequence[Training]) -> Made:
    """Make one step of each class. Raises torch.OutOfMemoryError where not even one class's fits."""
    started, made = time.monotonic(), Made()
    try:
        for training, (loss, norm) in zip(group, _gradients(group), strict=True):
            try:
                training.learn(loss, norm)
            except TrainingError as fault:
                made.faults[training] = str(fault)
            else:
                made.losses[training] = loss
    except torch.OutOfMemoryError:
        if len(group) == 1:
            raise
        made = Made(made.losses, made.faults, fits=False)
    for training in made.losses:
        training.seconds += (time.monotonic() - started) / len(group)
    return made


def _keep(training: Training, loss: float, progress: Progress | None) -> None:
    started = time.monotonic()
    training.keep()
    training.seconds += time.monotonic() - started
    if progress is not None:
        progress(training.lesson.label, len(training.losses), training.config.steps, loss)


def _gradients(group: Sequence[Training]) -> list[list[float]]:
    """Each class's loss and its gradient's norm, the gradient clipped; the device is asked for all in one go."""
    losses = _backward(group)
    norms = torch.stack([training.clip() for training in group])
    found: list[list[float]] = torch.stack([losses, norms]).T.tolist()
    return found


def _backward(group: Sequence[Training]) -> Tensor:
    """Each class's loss at its next step, its gradient added up from the parts that a batch is computed in."""
    batches, parts = [training.batch() for training in group], group[0].config.accumulate
    losses = []
    for part in range(parts):
        found = class_losses(group, [batch.part(part, parts) for batch in batches])
        torch.autograd.backward(found.sum())
        losses.append(found.detach())
    return torch.stack(losses).sum(dim=0)


def class_losses(group: Sequence[Training], batches: Sequence[Batch]) -> Tensor:
    """Each class's loss, from one pass of the UNet over all their samples."""
    first = group[0]
    where, kind = first.where, first.base.scheduler.config.prediction_type
    clean, noise, weights, timesteps = (
        torch.cat([getattr(batch, name) for batch in batches]).to(where, non_blocking=True)
        for name in ("clean", "noise", "weights", "timesteps")
    )
    alphas = solver(first.base).alphas_cumprod.to(where)[timesteps]
    with device.autocast(where):
        told = [one.embeddings()[batch.prompts.to(where)] for one, batch in zip(group, batches, strict=True)]
        if first.stack is not None:
            first.stack.bear([training.parameters["factors"] for training in group])
        given = objective.noised(clean, noise, alphas)
        said = first.denoise(given, timesteps, torch.cat(told), return_dict=False)[0]
    error: Tensor = (said.float() - objective.target(clean, noise, alphas, kind)).square().mean(dim=(1, 2, 3))
    weighted = error * weights * objective.min_snr_weights(alphas, kind, first.config.min_snr_gamma)
    return weighted.view(len(group), -1).sum(dim=1)


def _make_room(group: Sequence[Training]) -> None:
    for training in group:
        training.forget()
    device.free_memory()
