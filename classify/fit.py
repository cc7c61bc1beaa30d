"""The training loop over arrays: the same optimiser steps whatever the table, each class weighing the same in the loss.

A run is a row of blocks that end in a validation. All that is drawn in a block (order of the images, views, dropout)
follows from the seed and the block's number, so a run that resumes from a block's checkpoint gives the same bytes.
"""

import copy
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor, nn
from torch.nn import functional

from classify.metrics import balanced_accuracy
from classify.model import build, device, logits, normalise
from classify.sampling import draws, learning_rate_share, loss_weights
from classify.stand_in import ARCHITECTURE, STAND_IN
from data.config import STRICT
from data.errors import TrainingError
from data.pixels import train_augmentation

CHECKPOINT = "checkpoint.pt"
_BETAS = (0.9, 0.99)  # a second moment short enough for a run of a hundred steps
_AVERAGE_WARMUP = 10  # steps until the average of the weights forgets the start half as fast as it ever will

log = logging.getLogger(__name__)
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierConfig:
    """How one classifier is trained. The defaults learn from scratch in four thousand small images."""

    model: str = "efficientnet_b0"  # of timm
    weights: str = "none"  # "pretrained" (from the hub), "stand-in" (from a package), a file or a model folder
    steps: Positive = 128  # of the optimiser, in every arm
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3  # at its highest
    warmup: Share = 0.15  # share of the steps in which it rises; then it falls along a cosine
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Share = 0.05
    drop_rate: Share = 0.1  # dropout before the last layer
    clip: Annotated[float, Field(gt=0)] = 1.0  # norm of the gradient, at most
    sampling: Annotated[float, Field(ge=0, le=1)] = 0.5  # 0: classes evened out by weights alone, 1: by drawing alone
    average: Share = 0.98  # decay of the running average of the weights, which is what is judged; 0 = none
    validate_every: Positive = 32  # steps
    threads: Positive | None = None  # of the processor; None = as torch finds it

    def __post_init__(self) -> None:
        """Refuse weights of another network by name; those in files are looked at when they are read."""
        if self.weights == STAND_IN and self.model != ARCHITECTURE:
            raise ValueError(f"weights: {STAND_IN} are those of {ARCHITECTURE}; set model: {ARCHITECTURE}")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images as pixels, with their classes as numbers."""

    pixels: UInt8[np.ndarray, "n size size 3"]
    classes: Int[np.ndarray, " n"]


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
    """The network as it was at the step that validation chose, and the way there."""

    network: nn.Module
    best_step: int
    history: tuple[Validation, ...]


def fit(
    train: Labelled,
    validation: Labelled,
    n_classes: int,
    config: ClassifierConfig,
    *,
    seed: int,
    working: Path | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Fitted:
    """Train one network; the earliest step with the highest validation balanced accuracy is kept.

    With a working folder, goes on from the checkpoint in it. `progress` is told step, steps and loss.
    Raises TrainingError where the loss is no number; the last checkpoint stays.
    """
    with _threads(config.threads), _own_randomness():
        run = _Run(n_classes, config, seed)
        best, history = _Best(), list[Validation]()
        if working is not None and (working / CHECKPOINT).exists():
            best, history = run.resume(working / CHECKPOINT)
        rows = draws(train.classes, n_classes, config.steps * config.batch_size, config.sampling, seed)
        rows = rows.reshape(config.steps, config.batch_size)
        weights = loss_weights(train.classes, n_classes, config.sampling)
        while run.step < config.steps:
            block = range(run.step, min(config.steps, run.step + config.validate_every))
            loss = run.block(train, rows[block.start : block.stop], weights, progress)
            history.append(Validation(step=run.step, loss=loss, balanced_accuracy=run.validate(validation, n_classes)))
            if history[-1].balanced_accuracy > best.score:
                kept = {name: value.cpu().clone() for name, value in run.judged.state_dict().items()}
                best = _Best(step=run.step, score=history[-1].balanced_accuracy, weights=kept)
            if working is not None and run.step < config.steps:
                run.keep(working / CHECKPOINT, best, history)
        run.judged.load_state_dict(best.weights)
        return Fitted(network=run.judged.eval(), best_step=best.step, history=tuple(history))


class _Run:
    """What changes while a network is trained."""

    def __init__(self, n_classes: int, config: ClassifierConfig, seed: int) -> None:
        self.config, self.seed, self.step, self.on = config, seed, 0, device()
        network = build(config.weights, n_classes, architecture=config.model, drop_rate=config.drop_rate, seed=seed)
        self.network = network.to(self.on)
        self.judged = copy.deepcopy(self.network) if config.average else self.network
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]  # biases and normalisation
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=True)

    def block(
        self,
        train: Labelled,
        rows: Int[np.ndarray, "steps batch"],
        weights: Float[np.ndarray, " k"],
        progress: Callable[[int, int, float], None] | None,
    ) -> float:
        """Take the steps up to the next validation and give their mean loss."""
        drawn = np.random.SeedSequence([self.seed, 1, self.step]).generate_state(2)
        torch.manual_seed(int(drawn[0]))
        view = train_augmentation(train.pixels.shape[1], int(drawn[1]))
        by_class = torch.tensor(weights, dtype=torch.float32, device=self.on)
        self.network.train()
        losses = []
        for batch in rows:
            images = np.stack([view(train.pixels[row]) for row in batch])
            classes = torch.from_numpy(train.classes[batch]).to(self.on)
            losses.append(self._update(images, classes, by_class))
            if progress is not None:
                progress(self.step, self.config.steps, losses[-1])
        return float(np.mean(losses))

    def validate(self, validation: Labelled, n_classes: int) -> float:
        """Give the balanced accuracy of what is judged: the averaged weights."""
        judged = logits(self.judged, validation.pixels)
        if not torch.isfinite(judged).all():
            raise TrainingError(f"the network's outputs are no numbers after step {self.step}; {_MEND}")
        return balanced_accuracy(validation.classes, judged.argmax(dim=1).numpy(), n_classes)

    def keep(self, path: Path, best: _Best, history: list[Validation]) -> None:
        """Write the checkpoint whole or not at all."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "judged": self.judged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": vars(best),
            "history": [asdict(row) for row in history],
        }
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def resume(self, path: Path) -> tuple[_Best, list[Validation]]:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, map_location=self.on, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.judged.load_state_dict(state["judged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        log.info("going on from step %d of %d", self.step, self.config.steps)
        return _Best(**state["best"]), [Validation(**row) for row in state["history"]]

    def _update(self, images: UInt8[np.ndarray, "n h w 3"], classes: Int[Tensor, " n"], by_class: Tensor) -> float:
        """Take one step of the optimiser and give its loss."""
        share = learning_rate_share(self.step, self.config.steps, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share
        # Never on a processor: depthwise convolutions run at half the speed there in 16 bits, with AMX too.
        with torch.autocast(self.on.type, torch.bfloat16, enabled=self.on.type == "cuda"):
            outputs = self.network(normalise(images, self.network))
        each = functional.cross_entropy(
            outputs.float(), classes, reduction="none", label_smoothing=self.config.label_smoothing
        )
        loss = (each * by_class[classes]).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {self.step + 1} of {self.config.steps}; {_MEND}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        return value

    def _average(self) -> None:
        """Move what is judged towards the trained weights, the normalisation's statistics with them."""
        if self.judged is self.network:
            return
        decay = min(self.config.average, self.step / (self.step + _AVERAGE_WARMUP))
        pairs = zip(self.judged.state_dict().values(), self.network.state_dict().values(), strict=True)
        for averaged, value in pairs:
            if averaged.is_floating_point():
                averaged.lerp_(value, 1 - decay)
            else:
                averaged.copy_(value)


_MEND = "lower classifier.learning_rate; the last good checkpoint is kept"


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
