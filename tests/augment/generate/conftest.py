import numpy as np
import pytest

CODES = ("df", "mel", "nv")


def drawn(folder, seed, images):
    """Phantoms of three classes as the gate takes photographs, near-duplicates in one group."""
    from augment.generate.select import Photographs
    from data.phantoms.table import PhantomConfig
    from data.pixels import PixelConfig, load_pixels
    from data.sources.load import DataConfig, load_manifest
    from data.splits.duplicates import leakage_groups

    phantom = PhantomConfig(images=images, seed=seed, codes=CODES, balanced=True)
    manifest = load_manifest(DataConfig(phantom=phantom), folder)
    pixels = load_pixels(manifest, PixelConfig(size=64))
    manifest, _ = leakage_groups(manifest, pixels)
    columns = (manifest.table[name].to_numpy(str) for name in ("label", "group_id", "lesion_id"))
    labels, groups, lesions = columns
    return Photographs(pixels=pixels, labels=labels, groups=groups, lesions=lesions)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """120 phantoms that stand for a train part."""
    return drawn(tmp_path_factory.mktemp("phantoms"), seed=600_000, images=120)


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """90 phantoms of other lesions."""
    return drawn(tmp_path_factory.mktemp("phantoms"), seed=600_001, images=90)


@pytest.fixture(scope="session")
def vae():
    """The embedded base's autoencoder."""
    from augment.base.config import BaseConfig
    from augment.base.load import load_base

    return load_base(BaseConfig(source="tiny")).vae


@pytest.fixture
def rng():
    return np.random.default_rng(0)
