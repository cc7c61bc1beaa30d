"""A Stable Diffusion of a few ten thousand weights, and a handful of images to teach it."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from augment.base.config import BaseConfig
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from data.manifest import Manifest

SIZE = 32  # pixels


@pytest.fixture(scope="session")
def pipe():
    config = TinyModelConfig(
        image_size=SIZE,
        latent_channels=8,
        vae_channels=(8, 16, 16, 16),
        unet_channels=(16, 32),
        text_width=32,
        text_layers=1,
    )
    torch.set_num_threads(1)
    made = build_tiny_model(config, seed=3)
    generator = torch.Generator().manual_seed(4)
    for part in (made.unet, made.vae, made.text_encoder):
        part.requires_grad_(requires_grad=False).eval()
        for weights in part.parameters():
            if not weights.any():  # a fresh base's blocks do nothing yet, not even listen to the prompt
                weights.copy_(0.1 * torch.randn(weights.shape, generator=generator))
    return made


@pytest.fixture(scope="session")
def base(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    pipe.save_pretrained(folder)
    return BaseConfig(source=str(folder))


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """Five lesions of each of two classes."""
    folder = tmp_path_factory.mktemp("shots")
    numbers = np.random.default_rng(0)
    rows = []
    for label in ("df", "vasc"):
        for index in range(5):
            name = f"{label}-{index}.png"
            Image.fromarray(numbers.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / name)
            ids = {"image_id": name, "group_id": f"g-{name}", "lesion_id": f"l-{name}", "patient_id": "p"}
            rows.append({**ids, "root": "real", "path": name, "label": label, "source": "real", "lineage": ""})
    manifest = Manifest(pd.DataFrame(rows), {"real": folder})
    return {label: manifest.of(label) for label in manifest.labels}
