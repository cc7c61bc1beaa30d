"""What a batch's images are trained towards: a class with its loss weight, or two classes that share one label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CLASS, SHARE = "source_label", "source_weight"  # columns of edited images: of the photograph that they are made from


@dataclass(frozen=True, kw_only=True)
class SoftLabels:
    """A second class of each row and its share of the label; the share is 0 for a row of one class."""

    classes: Int[np.ndarray, " n"]
    shares: Float[np.ndarray, " n"]


def soft_labels(table: pd.DataFrame, labels: tuple[str, ...]) -> SoftLabels | None:
    """The soft labels of a table's edited images; None where no image has one."""
    if SHARE not in table:
        return None
    is_soft = (table[SHARE] != "").to_numpy()
    number = {label: k for k, label in enumerate(labels)}
    classes, shares = np.zeros(len(table), np.int64), np.zeros(len(table))
    classes[is_soft] = [number[label] for label in table[CLASS][is_soft]]
    shares[is_soft] = table[SHARE][is_soft].astype(float)
    return SoftLabels(classes=classes, shares=shares) if shares.any() else None


@dataclass(frozen=True)
class Targets:
    """The labels of a batch, on the network's device."""

    classes: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]
    others: Int[Tensor, " n"] | None = None  # second classes; None: every image has one class
    shares: Float[Tensor, " n"] | None = None  # theirs of the labels

    @staticmethod
    def of(
        classes: Int[np.ndarray, " n"],
        weights: Float[np.ndarray, " n"],
        soft: SoftLabels | None,
        rows: Int[np.ndarray, " batch"],
        device: torch.device,
    ) -> Targets:
        """Those of some rows, whose loss weights these are."""
        own = torch.from_numpy(classes[rows]).to(device)
        each = torch.tensor(weights, dtype=torch.float32, device=device)
        if soft is None:
            return Targets(own, each)
        shares = torch.tensor(soft.shares[rows], dtype=torch.float32, device=device)
        return Targets(own, each, torch.from_numpy(soft.classes[rows]).to(device), shares)

    def flip(self) -> Targets:
        """The same in reverse order, which a mixed batch is mixed with."""
        others, shares = (None if each is None else each.flip(0) for each in (self.others, self.shares))
        return Targets(self.classes.flip(0), self.weights.flip(0), others, shares)

    def loss(self, outputs: Float[Tensor, "n k"], smoothing: float) -> Float[Tensor, ""]:
        """Weighted mean cross-entropy; of a soft label it is that of its two classes by their shares."""
        each = _cross_entropy(outputs, self.classes, smoothing)
        if self.others is not None and self.shares is not None:
            each = (1 - self.shares) * each + self.shares * _cross_entropy(outputs, self.others, smoothing)
        return (each * self.weights).mean()


def _cross_entropy(outputs: Float[Tensor, "n k"], classes: Int[Tensor, " n"], smoothing: float) -> Float[Tensor, " n"]:
    return functional.cross_entropy(outputs.float(), classes, reduction="none", label_smoothing=smoothing)
