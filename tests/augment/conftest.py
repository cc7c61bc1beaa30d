"""A Stable Diffusion of a few ten thousand weights, and a handful of images to teach it."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from augment.base.config import BaseConfig
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.methods.record import AdapterRecord
from augment.methods.weights import with_parts
from data.config import to_dict
from data.manifest import Manifest
from data.splits.provenance import Provenance

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
    return _lesions(tmp_path_factory.mktemp("shots"), "", 5)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory):
    """Eight other lesions of each of the two classes."""
    return _lesions(tmp_path_factory.mktemp("held-out"), "held-out-", 8)


def _lesions(folder, prefix, count):
    numbers = np.random.default_rng(len(prefix))
    rows = []
    for label in ("df", "vasc"):
        for index in range(count):
            name = f"{prefix}{label}-{index}.png"
            Image.fromarray(numbers.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / name)
            ids = {"image_id": name, "group_id": f"g-{name}", "lesion_id": f"l-{name}", "patient_id": "p"}
            rows.append({**ids, "root": "real", "path": name, "label": label, "source": "real", "lineage": ""})
    manifest = Manifest(pd.DataFrame(rows), {"real": folder})
    return {label: manifest.of(label) for label in manifest.labels}


@pytest.fixture(scope="session")
def with_adapter():
    """A copy of a float32 pipeline with a saved class's weights merged, by the adapter's contract alone."""

    def merged(pipe, adapter):
        parts = ("unet", "text_encoder")
        made = with_parts(pipe, **{part: copy.deepcopy(getattr(pipe, part)) for part in (*parts, "tokenizer")})
        adapter.install(made)
        state = {f"{part}.{path}": value for part in parts for path, value in getattr(made, part).state_dict().items()}
        for name, value in adapter.merge({name: state[name] for name in adapter.target_weights(made)}).items():
            state[name].copy_(value)  # state_dict's tensors share the module's memory
        return made

    return merged


@pytest.fixture(scope="session")
def write_adapter_record():
    """Writes the record of an adapter of these settings, for this base."""

    def write(folder, config, base):
        AdapterRecord(
            method=config.method,
            display_name=config.display_name,
            label="df",
            prompt="dermoscopy of a dermatofibroma",
            negative_prompt="",
            token=config.token,
            steps=config.steps,
            final_loss=0.1,
            config=to_dict(config),
            key="k",
            weights="weights.safetensors",
            sha256="0" * 64,
            base=base,
            provenance=Provenance(image_ids=frozenset({"a.png"})),
            pixels={"size": SIZE},
            seed=0,
            trained_with=["df"],
            seconds=1.5,
        ).write(folder)

    return write
