"""What an artefact depends on, as plain JSON, whose digest names its folder.

Digests cover config, seeds, the images' bytes, the base and the libraries that matter; not what only changes speed
(batch size of sampling, device, threads), and not the settings of later stages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from data import config as configs

# Raise a stage's number when its code makes other results from the same inputs.
STAGE_VERSIONS = {
    "split": 1,
    "base": 1,
    "fine-tune": 1,
    "images": 2,
    "fidelity": 1,
    "external": 1,
    "autoencoded": 2,
    "probe": 1,
    "gate": 2,
    "arm": 2,
    "random split": 2,
}
_DIFFUSION = ("torch", "diffusers", "transformers")
_CLASSIFIER = ("torch", "timm", "albumentations")
LIBRARIES = {
    "split": ("numpy", "pandas", "scikit-learn"),
    "base": _DIFFUSION,
    "fine-tune": (*_DIFFUSION, "peft"),
    "images": (*_DIFFUSION, "peft", "pillow"),
    "fidelity": ("torch", "timm", "diffusers", "scipy"),
    "external": ("numpy", "pandas", "opencv-python-headless", "pillow"),
    "autoencoded": (*_DIFFUSION, "pillow"),
    "probe": (*_DIFFUSION, "pillow"),
    "gate": ("torch", "timm", "numpy", "scipy", "scikit-learn", "opencv-python-headless", "pillow"),
    "arm": _CLASSIFIER,
    "random split": _CLASSIFIER,
}


def inputs(stage: str, **depends: Any) -> Mapping[str, Any]:  # noqa: ANN401 - plain JSON of any shape
    """These inputs of a stage, with its version and its libraries' versions."""
    libraries = {name: version(name) for name in LIBRARIES[stage]}
    return {"stage": stage, "version": STAGE_VERSIONS[stage], "libraries": libraries, **depends}


def settings(config: object, *without: str) -> dict[str, Any]:
    """A stage's config as plain JSON, less the fields that do not change its result."""
    unknown = set(without) - {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    if unknown:
        raise KeyError(f"{type(config).__name__} has no {sorted(unknown)}")
    return {name: value for name, value in configs.to_dict(config).items() if name not in without}
