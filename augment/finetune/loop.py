"""The steps of one class, or of many in one batch.

Batch, loss, gradient, clipping and optimizer are each class's own, so its adapter is that of training it alone, within
rounding; classes may be at different steps, and one may finish or fail without the others.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from augment import device as devices
from augment.diffusion import objective
from augment.diffusion.conditioning import Conditioning
from augment.diffusion.samplers import alphas_cumprod
from augment.finetune.examples import Batch
from augment.finetune.trainer import ClassTrainer
from data.errors import TrainingError
from data.store import derive_seed

log = logging.getLogger(__name__)

OnStep = Callable[[ClassTrainer], None]  # after each step of each class, whose last loss is trainer.losses[-1]


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of one step of a group of classes."""

    losses: dict[ClassTrainer, float] = field(default_factory=dict)  # of the classes that made the step
    failures: dict[ClassTrainer, str] = field(default_factory=dict)  # error messages of those that failed
    fits: bool = True  # False: the device's memory did not hold them all, so the others have not made the step


def train(
    trainers: Sequence[ClassTrainer], *, max_classes: int | None = None, on_step: OnStep = lambda _trainer: None
) -> Iterator[ClassTrainer]:
    """Train each class to its last step or an early stop, `max_classes` in one batch; yields each that is done.

    A class stops early by its choice of the kept step, or by request. All trainers share one trainable; prompts of the
    classes in one batch have as many chunks. Where an accelerator's memory does not hold so many classes, half as many
    are tried. A class whose loss is not finite stops alone; the TrainingError that names it is raised after the others
    are done.
    """
    waiting, failures = list(trainers), list[str]()
    while waiting:
        group = [trainer for trainer in waiting if trainer.n_chunks == waiting[0].n_chunks][:max_classes]
        if done := [trainer for trainer in group if trainer.done]:
            waiting.remove(done[0])
            yield done[0]
            continue
        outcome = step(group)
        if not outcome.fits:
            max_classes = len(group) // 2
            log.warning("%d classes in one batch do not fit into memory; trying %d", len(group), max_classes)
            _free_memory(group)
        for trainer in outcome.losses:
            _after_step(trainer, on_step)
        waiting = [trainer for trainer in waiting if trainer not in outcome.failures]
        failures += outcome.failures.values()
    if failures:
        raise TrainingError("; ".join(failures))


def step(group: Sequence[ClassTrainer]) -> StepOutcome:
    """Make one step of each class. Raises torch.OutOfMemoryError where not even one class fits."""
    start, outcome = time.monotonic(), StepOutcome()
    try:
        for trainer, (loss, grad_norm) in zip(group, _clipped_gradients(group), strict=True):
            try:
                trainer.optimizer_step(loss, grad_norm)
            except TrainingError as error:
                outcome.failures[trainer] = str(error)
            else:
                outcome.losses[trainer] = loss
    except torch.OutOfMemoryError:
        if len(group) == 1:
            raise
        outcome = StepOutcome(outcome.losses, outcome.failures, fits=False)
    for trainer in outcome.losses:
        trainer.seconds += (time.monotonic() - start) / len(group)
    return outcome


def class_losses(group: Sequence[ClassTrainer], batches: Sequence[Batch]) -> Float[Tensor, " classes"]:
    """Each class's loss, from one pass of the UNet over all their samples."""
    trainable, config, device = group[0].trainable, group[0].config, group[0].device
    kind = trainable.pipe.scheduler.config.prediction_type
    latents, noise, loss_weights, timesteps = (
        torch.cat([getattr(batch, name) for batch in batches]).to(device, non_blocking=True)
        for name in ("latents", "noise", "loss_weights", "timesteps")
    )
    alphas = alphas_cumprod(trainable.pipe).to(device)[timesteps]
    with devices.autocast(device):
        trainable.bind([trainer.parameters for trainer in group])
        embeds = [
            trainer.prompt_embeds()[batch.prompt_index.to(device)]
            for trainer, batch in zip(group, batches, strict=True)
        ]
        noisy = objective.noised(latents, noise, alphas)
        conditioning = Conditioning(torch.cat(embeds), _condition(batches, device))
        noise_pred = trainable.denoise(noisy, timesteps, conditioning)
    error: Tensor = (noise_pred - objective.target(latents, noise, alphas, kind)).square().mean(dim=(1, 2, 3))
    weighted = error * loss_weights * objective.min_snr_weights(alphas, kind, config.min_snr_gamma)
    return weighted.view(len(group), -1).sum(dim=1)


def _condition(batches: Sequence[Batch], device: torch.device) -> Float[Tensor, "n 3 H W"] | None:
    """The batches' condition images; either all batches have some or none has."""
    found = [batch.condition for batch in batches if batch.condition is not None]
    return torch.cat(found).to(device, non_blocking=True) if found else None


def _clipped_gradients(group: Sequence[ClassTrainer]) -> list[list[float]]:
    """Each class's loss and the norm of its gradient before clipping, copied from the device at once."""
    losses = _backward(group)
    norms = torch.stack([trainer.clip_grad_norm() for trainer in group])
    values: list[list[float]] = torch.stack([losses, norms]).T.tolist()
    return values


def _backward(group: Sequence[ClassTrainer]) -> Float[Tensor, " classes"]:
    """Each class's loss at its next step; its gradient is accumulated over the batch's parts."""
    batches, parts = [trainer.batch() for trainer in group], group[0].config.gradient_accumulation_steps
    losses = []
    for part in range(parts):
        with _own_random_numbers(group[0]):
            part_losses = class_losses(group, [batch.part(part, parts) for batch in batches])
            torch.autograd.backward(part_losses.sum())
        losses.append(part_losses.detach())
    return torch.stack(losses).sum(dim=0)


@contextlib.contextmanager
def _own_random_numbers(trainer: ClassTrainer) -> Iterator[None]:
    """Where the forward pass draws, as dropout does: numbers that follow from the class's seed and its step."""
    if not trainer.config.draws_in_forward:
        yield
        return
    with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
        torch.manual_seed(derive_seed(trainer.examples.seed, "forward", len(trainer.losses)))
        yield


def _after_step(trainer: ClassTrainer, on_step: OnStep) -> None:
    start = time.monotonic()
    trainer.take_request()
    trainer.measure_held_out()
    trainer.select_step()
    trainer.save_checkpoint()
    trainer.save_preview()
    trainer.seconds += time.monotonic() - start
    on_step(trainer)


def _free_memory(group: Sequence[ClassTrainer]) -> None:
    for trainer in group:
        trainer.zero_grad()
    devices.free_memory()
