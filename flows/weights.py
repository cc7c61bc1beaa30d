"""The classifiers' first weights: what identifies them, what they have seen, and what a trained one says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augment.base.train import TRAINING
from classify.lite0 import STAND_IN, stand_in_file
from classify.model import WEIGHTS
from data.manifest import Manifest
from data.splits.provenance import SeenIds
from data.splits.split import Split
from data.store import file_sha256, read_json, write_json


def weights_identity(source: str) -> str:
    """Identify pretrained weights by their bytes where they lie on disk. Raises BaseError for an absent stand-in."""
    if source == STAND_IN:
        return file_sha256(stand_in_file())
    path = Path(source) / WEIGHTS if Path(source).is_dir() else Path(source)
    return file_sha256(path) if path.is_file() else source


def weights_record(source: str) -> dict[str, Any]:
    """What a classifier that this program kept says of its training; empty for weights of any other origin."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent if path.name == WEIGHTS else None
    try:
        return dict(read_json(folder / TRAINING)) if folder else {}
    except (OSError, ValueError, TypeError):  # none, or another program's
        return {}


def refuse_weights(source: str, split: Split) -> None:
    """Raise DataError for weights that were trained on what judges these classifiers, or chosen by their test part."""
    record = weights_record(source)
    split.refuse_seen(SeenIds.told(record), f"classifier.weights {source}")
    chosen_by = SeenIds.told(record.get("chosen_by", {}))
    split.refuse_seen(chosen_by, f"the choice of classifier.weights {source}", judges=("test",))


def leave_record(model: Path, seen: SeenIds, train: Manifest, validation: Manifest, first: str, *, known: bool) -> None:
    """Write beside a classifier what it has `seen` along its lineage, and by which images its state was chosen.

    `first` are the weights that it began with; `known` is False where some of the lineage is not told by anyone.
    """
    chosen_by = SeenIds.of(validation) | SeenIds.told(weights_record(first).get("chosen_by", {}))
    ids = seen.record()
    write_json(
        model / TRAINING,
        {
            "images": len(train),
            "by_class": train.counts(),
            "groups": ids.pop("group_ids"),
            **ids,
            "chosen_by": chosen_by.record(),
            **({} if known else {"before": {"images": "unknown", "groups": "unknown"}}),
        },
    )
