"""The embedded start of classifiers in the package: an EfficientNet-B0 that has seen drawings only."""

from pathlib import Path

from data.errors import BaseError

PHANTOMS = "phantoms"  # as `classifier.weights`
ARCHITECTURE = "efficientnet_b0"
FOLDER = Path(__file__).parent / "start"
WEIGHTS, RECORD = "model.safetensors", "training.json"


def weights_file(architecture: str = ARCHITECTURE) -> Path:
    """The file of the weights. Raises BaseError for another architecture."""
    if architecture != ARCHITECTURE:
        raise BaseError(f"classifier.weights: {PHANTOMS} are those of {ARCHITECTURE}; set classifier.model to it")
    return FOLDER / WEIGHTS
