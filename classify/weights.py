"""The weights that classifiers are initialised from: their identity, their provenance, and the record of a trained one.

A classifier that this program trained has `training.json` beside it, with its provenance and that of the choice of its
checkpoint; weights of any other origin have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classify import embedded
from classify.embedded import PHANTOMS
from classify.lite0 import LITE0_PACKAGE, lite0_file
from classify.model import WEIGHTS, trained_on
from data.manifest import Manifest
from data.splits.provenance import Provenance
from data.splits.split import Split
from data.store import file_sha256, read_json, write_json

RECORD = "training.json"


def weights_identity(source: str) -> str:
    """SHA-256 of weights that are on disk, else their source. Raises BaseError for an absent package."""
    if source in (LITE0_PACKAGE, PHANTOMS):
        return file_sha256(lite0_file() if source == LITE0_PACKAGE else embedded.weights_file())
    path = Path(source) / WEIGHTS if Path(source).is_dir() else Path(source)
    return file_sha256(path) if path.is_file() else source


def weights_provenance(source: str, architecture: str) -> Provenance | None:
    """Provenance of the weights; None: there are none, training starts from scratch."""
    data = trained_on(source, architecture)
    if data == "nothing":
        return None
    return Provenance() if data else Provenance.from_record(_record(source).get("provenance", {}))


def weights_name(source: str, architecture: str) -> str:
    """The weights by what they were trained on, where that is known, else by their source."""
    return trained_on(source, architecture) or source


def refuse_weights(source: str, split: Split) -> None:
    """Raise DataError for weights trained on images of the validation or test part, or chosen by the test part."""
    record = _record(source)
    split.refuse_seen(Provenance.from_record(record.get("provenance", {})), f"classifier.weights {source}")
    chosen_by = Provenance.from_record(record.get("chosen_by", {}))
    split.refuse_seen(chosen_by, f"the choice of classifier.weights {source}", parts=("test",))


def write_model_provenance(
    model: Path, *, provenance: Provenance, train: Manifest, validation: Manifest, weights: str
) -> None:
    """Write a classifier's provenance along its lineage, and the images that its checkpoint was chosen by, beside it.

    `train` are its real training images; `weights` is the source that it was initialised from.
    """
    chosen_by = Provenance.of(validation)
    if before := _record(weights).get("chosen_by"):
        chosen_by |= Provenance.from_record(before)
    record = {"images": len(train), "by_class": train.counts(), "provenance": provenance.to_record()}
    write_json(model / RECORD, {**record, "chosen_by": chosen_by.to_record()})


def _record(source: str) -> dict[str, Any]:
    """The record beside a classifier that this program trained; empty for weights of any other origin."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent if path.name == WEIGHTS else None
    try:
        return dict(read_json(folder / RECORD)) if folder else {}
    except (OSError, ValueError, TypeError):  # none, or another program's
        return {}
