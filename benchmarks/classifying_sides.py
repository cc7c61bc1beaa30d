"""The two trainings that are compared: ours, and that of timm's train.py over a folder of JPEG files."""

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
from classify.device import default_device
from classify.fit import Labelled, Run, schedule_of
from classify.mixup import Mixed
from classify.targets import Targets
from data.manifest import Manifest

_STEPS = 4000  # of a run that is long enough to compile where compiling pays
_WORKERS = 4  # train.py's default; no more than there are cores


class Side(Protocol):
    """One training."""

    def turn(self, steps: int) -> float:
        """Make steps, and give their seconds."""

    def shares(self, steps: int) -> tuple[float, float]:
        """Make steps one by one, and give the seconds of their images and of the whole."""


class Ours:
    """What `classify.fit` does between two validations."""

    def __init__(self, train: Labelled, n_classes: int, config: ClassifierConfig, seed: int = 0) -> None:
        self.train, self.batch = train, config.batch_size
        self.run = Run(n_classes, config, seed)
        self.batches = augmented_batches(
            train.pixels, self.run.network, config.augment_device, compiled=self.run.compiled
        )
        self.schedule = schedule_of(train, n_classes, config, "none", seed)

    def turn(self, steps: int) -> float:
        """Make a block of steps."""
        start = time.perf_counter()
        self.run.block(self.train, self.schedule, range(self.run.step, self.run.step + steps), self.batches)
        _wait(self.run.device)
        return time.perf_counter() - start

    def shares(self, steps: int) -> tuple[float, float]:
        """Make steps, waiting for the device after the images and after the update."""
        batch_of = self.batches.seeded(0)
        data, start = 0.0, time.perf_counter()
        for step in range(self.run.step, self.run.step + steps):
            begun, rows = time.perf_counter(), self.schedule.rows[step]
            images = Mixed(images=batch_of(rows), share=1.0)
            _wait(self.run.device)
            data += time.perf_counter() - begun
            classes = torch.from_numpy(self.train.classes[rows]).to(self.run.device)
            weights = torch.tensor(self.schedule.weights[step], dtype=torch.float32, device=self.run.device)
            self.run.update(images, Targets(classes, weights))
            _wait(self.run.device)
        return data, time.perf_counter() - start


class Timm:
    """train.py's loop and its defaults for images, with timm's published hyperparameters for EfficientNet-B0.

    They are: rmsproptf with epsilon 0.001, weight decay 1e-5, dropout and drop path 0.2, EMA of the weights, mixed
    precision (on a GPU). RandAugment and random erasing are left out, as they would only take time.
    """

    def __init__(self, folder: Path, n_classes: int, model: str, size: int, batch: int) -> None:
        self.device = default_device()
        made: Any = timm.create_model(model, num_classes=n_classes, drop_rate=0.2, drop_path_rate=0.2)
        self.network = made.to(self.device).train()
        self.optimizer = create_optimizer_v2(
            self.network, opt="rmsproptf", lr=0.048 * batch / 768, weight_decay=1e-5, momentum=0.9, eps=0.001
        )
        self.ema = ModelEmaV3(self.network, decay=0.9999)
        self.loss, self.step = LabelSmoothingCrossEntropy(0.1), 0
        self.scaler = NativeScaler() if self.device.type == "cuda" else None
        data = resolve_data_config({"input_size": (3, size, size)}, model=self.network)
        self.loader = create_loader(
            create_dataset("", root=str(folder), split="train", is_training=True, batch_size=batch),
            input_size=data["input_size"],
            batch_size=batch,
            is_training=True,
            interpolation="random",
            mean=data["mean"],
            std=data["std"],
            num_workers=min(_WORKERS, os.cpu_count() or 1),
            pin_memory=self.device.type == "cuda",
            device=self.device,
        )
        self._batches = self._endless()

    def turn(self, steps: int) -> float:
        """Make steps as its training epoch does."""
        start = time.perf_counter()
        for _ in range(steps):
            self._update(*next(self._batches))
        _wait(self.device)
        return time.perf_counter() - start

    def shares(self, steps: int) -> tuple[float, float]:
        """Make steps, waiting for the loader and then for the device; the workers go on in the meantime."""
        data, start = 0.0, time.perf_counter()
        for _ in range(steps):
            begun = time.perf_counter()
            images, classes = next(self._batches)
            _wait(self.device)
            data += time.perf_counter() - begun
            self._update(images, classes)
            _wait(self.device)
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
        self.ema.update(self.network, step=self.step)

    def _autocast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.scaler is None else torch.autocast(self.device.type, torch.float16)

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader


def config_of(model: str, batch: int, augment_device: str) -> ClassifierConfig:
    """The config of a run of ours."""
    return ClassifierConfig(model=model, batch_size=batch, steps=_STEPS, augment_device=augment_device)  # type: ignore[arg-type]


def labelled(pixels: np.ndarray, images: Manifest) -> Labelled:
    """Pixels with their classes as numbers."""
    return Labelled(pixels=pixels, classes=np.array([images.labels.index(label) for label in images.table["label"]]))


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()
