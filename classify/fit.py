"""The training loop over arrays: the same optimiser steps whatever the table, each class weighing the same in the loss.

Images are photographs, coded photographs or synthetic; `classify.mix` says how often each is shown.

A run is a sequence of blocks of steps, each of which ends in a validation. All random numbers of a block (augmentation,
dropout) follow from the seed and the block's first step, so a run that resumes from a checkpoint gives the same bytes.
"""

import copy
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from classify.augmented_batches import AugmentedBatches, augmented_batches
from classify.config import ClassifierConfig
from classify.device import autocast, compiles, default_device, steps_behind
from classify.ema import EMA
from classify.metrics import balanced_accuracy
from classify.mix import KINDS, Coding, cells_of, phases, shares
from classify.mixup import Mixed, mix
from classify.model import build, logits
from classify.sampling import draws, learning_rate_share
from classify.targets import SoftLabels, Targets
from data.errors import TrainingError
from data.progress import Progress
from data.training_state import load_state, save_state

CHECKPOINT = "checkpoint.pt"
PHASES = 1_000_003  # by which the seeds of a training's phases differ
_BETAS = (0.9, 0.99)  # a second moment short enough for a run of a hundred steps

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pixels of images, their class numbers, and what kind of image each is."""

    pixels: UInt8[np.ndarray, "n size size 3"]
    classes: Int[np.ndarray, " n"]
    kinds: Int[np.ndarray, " n"] | None = None  # of `classify.mix`; None: photographs
    soft: SoftLabels | None = None  # None: every image is of one class


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One row of a run's history."""

    step: int
    loss: float  # mean since the row before
    balanced_accuracy: float  # of the validation part


@dataclass(kw_only=True)
class _Best:
    step: int = 0
    score: float = -1.0
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The network that is kept, at which step, and the history."""

    network: nn.Module
    best_step: int  # whose network is kept
    history: tuple[Validation, ...]


def fit(
    train: Labelled,
    validation: Labelled,
    n_classes: int,
    config: ClassifierConfig,
    *,
    seed: int,
    coding: Coding = "none",
    working: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train one network; kept is the last, or by `config.checkpoint` the earliest with the highest validation score.

    With a working folder, continues from the checkpoint in it. `progress` gets step, steps and the loss.
    Raises TrainingError for a loss that is not finite; the last checkpoint is kept.
    """
    with _threads(config.threads), _own_randomness():
        run = Run(n_classes, config, seed)
        batches = augmented_batches(
            train.pixels, run.network, config.augment_device, config.augmentation, compiled=run.compiled
        )
        best, history = (_Best(), []) if working is None else run.resume(working / CHECKPOINT)
        schedule = schedule_of(train, n_classes, config, coding, seed)
        while run.step < config.steps:
            block = range(run.step, min(config.steps, run.step + config.validate_every))
            loss = run.block(train, schedule, block, batches, progress)
            history.append(Validation(step=run.step, loss=loss, balanced_accuracy=run.validate(validation, n_classes)))
            if config.checkpoint == "last" or history[-1].balanced_accuracy > best.score:
                kept = {name: value.cpu().clone() for name, value in run.averaged.state_dict().items()}
                best = _Best(step=run.step, score=history[-1].balanced_accuracy, weights=kept)
            if working is not None and run.step < config.steps:
                run.keep(working / CHECKPOINT, best, history)
        run.averaged.load_state_dict(best.weights)
        return Fitted(network=run.averaged.eval(), best_step=best.step, history=tuple(history))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What each step of a training shows, fixed before it begins."""

    rows: Int[np.ndarray, "steps batch"]
    weights: Float[np.ndarray, "steps batch"]  # of each row's loss


def schedule_of(train: Labelled, n_classes: int, config: ClassifierConfig, coding: Coding, seed: int) -> Schedule:
    """Rows and their loss weights, phase by phase."""
    kinds = np.zeros_like(train.classes) if train.kinds is None else train.kinds
    cells = cells_of(train.classes, kinds)
    counts = np.bincount(cells, minlength=n_classes * KINDS).reshape(n_classes, KINDS)
    rows, weights = [], []
    for number, phase in enumerate(phases(config, coding)):
        shown = shares(
            counts,
            sampling=config.sampling,
            decoded=phase.decoded,
            drawn=phase.drawn,
            loss=config.synthetic_loss,
        )
        chosen = draws(cells, shown.chance, phase.steps * config.batch_size, seed + PHASES * number)
        rows.append(chosen.reshape(phase.steps, config.batch_size))
        weights.append(shown.weights[cells[rows[-1]]])
    return Schedule(rows=np.concatenate(rows), weights=np.concatenate(weights))


class Run:
    """The state of a training: network, averaged network, optimizer and step."""

    def __init__(self, n_classes: int, config: ClassifierConfig, seed: int) -> None:
        self.config, self.seed, self.step, self.device = config, seed, 0, default_device()
        network = build(config.weights, n_classes, architecture=config.model, drop_rate=config.drop_rate, seed=seed)
        self.network = network.to(self.device)
        self.averaged = copy.deepcopy(self.network) if config.ema_decay else self.network
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]  # biases and normalisation
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=True)
        self._ema = EMA(self.averaged, self.network, config.ema_decay)
        self.compiled = compiles(self.device, config.steps)
        if self.compiled:
            self.network.compile(fullgraph=True)  # the next seed's network finds what was compiled for this one

    def block(
        self,
        train: Labelled,
        schedule: Schedule,
        steps: range,
        batches: AugmentedBatches,
        progress: Progress | None = None,
    ) -> float:
        """Mean loss of these steps, up to the next validation, which are made here. Raises TrainingError."""
        seeds = np.random.SeedSequence([self.seed, 1, self.step]).generate_state(3)
        torch.manual_seed(int(seeds[0]))
        batch_of, rng = batches.seeded(int(seeds[1])), np.random.default_rng(int(seeds[2]))
        self.network.train()
        waiting, losses = list[Tensor](), list[float]()
        for rows, weights in zip(
            schedule.rows[steps.start : steps.stop], schedule.weights[steps.start : steps.stop], strict=True
        ):
            mixed = mix(batch_of(rows), self.config.mixup, self.config.cutmix, rng)
            waiting.append(self.update(mixed, Targets.of(train.classes, weights, train.soft, rows, self.device)))
            if len(waiting) > steps_behind(self.device):
                losses.append(self._read(waiting, progress))
        while waiting:
            losses.append(self._read(waiting, progress))
        return float(np.mean(losses))

    def validate(self, validation: Labelled, n_classes: int) -> float:
        """Balanced accuracy of the averaged network on the validation part."""
        outputs = logits(self.averaged, validation.pixels)
        if not torch.isfinite(outputs).all():
            raise TrainingError(f"the network's outputs are no numbers after step {self.step}; {_FIX}")
        return balanced_accuracy(validation.classes, outputs.argmax(dim=1).numpy(), n_classes)

    def keep(self, path: Path, best: _Best, history: list[Validation]) -> None:
        """Write the checkpoint."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": vars(best),
            "history": [asdict(row) for row in history],
        }
        save_state(path, state)

    def resume(self, path: Path) -> tuple[_Best, list[Validation]]:
        """Load a checkpoint, if a whole one is there; returns the best state so far and the history."""
        state = load_state(path)
        if state is None:
            return _Best(), []
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        log.info("continuing from step %d of %d", self.step, self.config.steps)
        return _Best(**state["best"]), [Validation(**row) for row in state["history"]]

    def update(self, mixed: Mixed, targets: Targets) -> Float[Tensor, ""]:
        """Make one optimizer step; returns its loss, on the device."""
        share = learning_rate_share(self.step, self.config.steps, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share
        with autocast(self.device):
            outputs = self.network(mixed.images)
        smoothing = self.config.label_smoothing
        loss = mixed.share * targets.loss(outputs, smoothing)
        if mixed.share < 1:
            loss = loss + (1 - mixed.share) * targets.flip().loss(outputs, smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_grad)
        self.optimizer.step()
        self.step += 1
        self._ema.update(self.step)
        return loss.detach()

    def _read(self, waiting: list[Tensor], progress: Progress | None) -> float:
        """The oldest loss that is not read yet; waits for the device if it has not computed it."""
        step, value = self.step - len(waiting) + 1, float(waiting.pop(0))
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {step} of {self.config.steps}; {_FIX}")
        if progress is not None:
            progress(step, self.config.steps, f"loss {value:.3f}")
        return value


_FIX = "lower classifier.learning_rate; the last good checkpoint is kept"


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Leave torch's global generators as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
