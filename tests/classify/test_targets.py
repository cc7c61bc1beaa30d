"""A soft label's loss is that of its two classes by their shares; hard labels cost what they did."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from classify.targets import SoftLabels, Targets, soft_labels

CLASSES = np.array([0, 2, 1, 0])
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.0])
OUTPUTS = torch.tensor([[2.0, 0.0, -1.0], [0.3, 0.1, 1.2], [0.0, 0.0, 0.0], [-1.0, 2.0, 0.5]])
SOFT = SoftLabels(classes=np.array([1, 0, 0, 2]), shares=np.array([0.0, 0.25, 0.0, 1.0]))
CPU = torch.device("cpu")


ROWS = np.arange(4)


def of(soft, rows=ROWS):
    return Targets.of(CLASSES, WEIGHTS[rows], soft, rows, CPU)


def test_hard_labels_cost_weighted_cross_entropy():
    each = functional.cross_entropy(OUTPUTS, torch.from_numpy(CLASSES), reduction="none", label_smoothing=0.1)
    assert of(None).loss(OUTPUTS, 0.1) == (each * torch.tensor(WEIGHTS, dtype=torch.float32)).mean()


def test_a_soft_label_costs_its_classes_by_their_shares():
    log = -OUTPUTS.log_softmax(dim=1)
    wanted = [log[0, 0], 0.5 * (0.75 * log[1, 2] + 0.25 * log[1, 0]), 2 * log[2, 1], log[3, 2]]
    assert float(of(SOFT).loss(OUTPUTS, 0)) == pytest.approx(float(sum(wanted)) / 4)


@pytest.mark.parametrize("soft", [None, SOFT])
def test_flipped_targets_are_those_of_the_rows_in_reverse(soft):
    flipped, reverse = of(soft).flip(), of(soft, np.arange(4)[::-1].copy())
    assert float(flipped.loss(OUTPUTS, 0.05)) == float(reverse.loss(OUTPUTS, 0.05))


def test_the_columns_of_edited_images_become_soft_labels_and_other_rows_stay_hard():
    table = pd.DataFrame({"source_label": ["", "nv", "mel"], "source_weight": ["", "0.29", "0.0"]})
    found = soft_labels(table, ("df", "mel", "nv"))
    np.testing.assert_array_equal(found.shares, [0, 0.29, 0])
    assert found.classes[1] == 2
    assert soft_labels(table.assign(source_weight=""), ("df", "mel", "nv")) is None
    assert soft_labels(table[["source_label"]], ("df", "mel", "nv")) is None
