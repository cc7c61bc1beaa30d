"""The two ways of training that are compared: ours, and that of timm's train.py over a folder of JPEG files."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, NativeScaler
from torch import Tensor

from classify.augmented_batches import augmented_batches
from classify.config import ClassifierConfig
from classify.device import device
from classify.fit import Labelled, Run
from classify.sampling import draws, loss_weights
from data.manifest import Manifest

_STEPS = 4000  # of the run that is imitated: long enough to compile where compiling pays
_WORKERS = 4  # train.py's default; no more than there are cores


class Side(Protocol):
    """One way of training."""

    def turn(self, steps: int) -> float:
        """Take steps and give the seconds."""

    def shares(self, steps: int) -> tuple[float, float]:
        """Take steps one by one and give the seconds that images took, and all."""


class Ours:
    """What `classify.fit` does between two validations."""

    def __init__(self, train: Labelled, n_classes: int, config: ClassifierConfig, seed: int = 0) -> None:
        self.train, self.batch = train, config.batch_size
        self.run = Run(n_classes, config, seed)
        self.views = augmented_batches(
            train.pixels, self.run.network, config.augment_device, compiled=self.run.compiled
        )
        self.weights = loss_weights(train.classes, n_classes, config.sampling)
        self._rows = draws(train.classes, n_classes, config.steps * self.batch, config.sampling, seed)
        self._rows = self._rows.reshape(-1, self.batch)

    def turn(self, steps: int) -> float:
        """Take a block of steps."""
        rows = self._rows[self.run.step : self.run.step + steps]
        start = time.perf_counter()
        self.run.block(self.train, rows, self.weights, self.views)
        _wait(self.run.on)
        return time.perf_counter() - start

    def shares(self, steps: int) -> tuple[float, float]:
        """Take steps, waiting for the device after each half."""
        view = self.views.seeded(0)
        by_class = torch.tensor(self.weights, dtype=torch.float32, device=self.run.on)
        data, start = 0.0, time.perf_counter()
        for rows in self._rows[self.run.step : self.run.step + steps]:
            begun = time.perf_counter()
            images = view(rows)
            _wait(self.run.on)
            data += time.perf_counter() - begun
            self.run.update(images, torch.from_numpy(self.train.classes[rows]).to(self.run.on), by_class)
            _wait(self.run.on)
        return data, time.perf_counter() - start


class Timm:
    """train.py's loop and its defaults for images, with the optimiser of its EfficientNet-B0 recipe.

    That recipe: rmsproptf with epsilon 0.001, weight decay 1e-5, dropout and drop path 0.2, averaged weights, mixed
    precision (on a GPU); RandAugment and random erasing, which would only cost it time, are left out.
    """

    def __init__(self, folder: Path, n_classes: int, model: str, size: int, batch: int) -> None:
        self.on = device()
        made: Any = timm.create_model(model, num_classes=n_classes, drop_rate=0.2, drop_path_rate=0.2)
        self.network = made.to(self.on).train()
        self.optimizer = create_optimizer_v2(
            self.network, opt="rmsproptf", lr=0.048 * batch / 768, weight_decay=1e-5, momentum=0.9, eps=0.001
        )
        self.average = ModelEmaV3(self.network, decay=0.9999)
        self.loss, self.step = LabelSmoothingCrossEntropy(0.1), 0
        self.scaler = NativeScaler() if self.on.type == "cuda" else None
        known = resolve_data_config({"input_size": (3, size, size)}, model=self.network)
        self.loader = create_loader(
            create_dataset("", root=str(folder), split="train", is_training=True, batch_size=batch),
            input_size=known["input_size"],
            batch_size=batch,
            is_training=True,
            interpolation="random",
            mean=known["mean"],
            std=known["std"],
            num_workers=min(_WORKERS, os.cpu_count() or 1),
            pin_memory=self.on.type == "cuda",
            device=self.on,
        )
        self._batches = self._endless()

    def turn(self, steps: int) -> float:
        """Take steps as its training epoch does."""
        start = time.perf_counter()
        for _ in range(steps):
            self._update(*next(self._batches))
        _wait(self.on)
        return time.perf_counter() - start

    def shares(self, steps: int) -> tuple[float, float]:
        """Take steps, waiting for the loader, then for the device; its workers go on meanwhile."""
        data, start = 0.0, time.perf_counter()
        for _ in range(steps):
            begun = time.perf_counter()
            images, classes = next(self._batches)
            _wait(self.on)
            data += time.perf_counter() - begun
            self._update(images, classes)
            _wait(self.on)
        return data, time.perf_counter() - start

    def _update(self, images: Tensor, classes: Tensor) -> None:
        with self._autocast():
            loss = self.loss(self.network(images), classes)
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler(loss, self.optimizer, parameters=self.network.parameters())
        self.step += 1
        self.average.update(self.network, step=self.step)

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.scaler is None else torch.autocast(self.on.type, torch.float16)

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader


def config_of(model: str, batch: int, augment_device: str) -> ClassifierConfig:
    """Imitate a run of ours."""
    return ClassifierConfig(model=model, batch_size=batch, steps=_STEPS, augment_device=augment_device)  # type: ignore[arg-type]


def labelled(pixels: np.ndarray, images: Manifest) -> Labelled:
    """Pair pixels with classes as numbers."""
    return Labelled(pixels=pixels, classes=np.array([images.labels.index(label) for label in images.table["label"]]))


def _wait(on: torch.device) -> None:
    if on.type != "cpu":
        torch.accelerator.synchronize()
