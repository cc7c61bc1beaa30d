import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from classify.model import Classifier, build, load, logits, normalise, save, trained_on
from data.errors import BaseError, InputError
from data.pixels import PixelConfig

pytestmark = pytest.mark.numerical

SMALL = "test_efficientnet"  # timm's own, of 0.4 million parameters
LABELS = ("bcc", "df", "mel")


@pytest.fixture
def classifier():
    network = build("none", 3, architecture=SMALL, seed=3).eval()
    return Classifier(network=network, labels=LABELS, pixels=PixelConfig(size=32, geometry="pad"))


@pytest.fixture
def kept(classifier, tmp_path):
    save(classifier, tmp_path / "model")
    return tmp_path / "model"


def images(n=4, size=32):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_a_saved_classifier_predicts_as_before(classifier, kept):
    again = load(kept)
    assert (again.labels, again.pixels) == (LABELS, classifier.pixels)
    torch.testing.assert_close(logits(again.network, images()), logits(classifier.network, images()), rtol=0, atol=0)


def test_timm_itself_loads_the_folder_and_gives_the_same_logits(classifier, kept):
    theirs = timm.create_model(f"local-dir:{kept}", pretrained=True).eval()
    setup = timm.data.resolve_data_config({}, model=theirs)
    assert tuple(setup["input_size"]) == (3, 32, 32)
    assert (setup["crop_mode"], setup["crop_pct"]) == ("border", 1.0)
    assert list(theirs.pretrained_cfg["label_names"]) == list(LABELS)
    raw = torch.from_numpy(images()).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(setup[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        theirs_logits = theirs((raw - mean) / deviation)
    torch.testing.assert_close(theirs_logits, logits(classifier.network, images()), rtol=1e-4, atol=1e-5)


def test_efficientnet_b0_is_kept_and_loaded_by_timm(tmp_path):
    network = build("none", 3, seed=0)
    save(Classifier(network=network, labels=LABELS, pixels=PixelConfig(size=32)), tmp_path)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    raw = normalise(images(2), network)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(raw), logits(network, images(2)), rtol=1e-4, atol=1e-5)


def test_a_network_of_another_normalisation_keeps_it(tmp_path):
    network = build("none", 3, architecture="tf_efficientnet_lite0", seed=0).eval()
    assert network.pretrained_cfg["mean"] == network.pretrained_cfg["std"] == (0.5, 0.5, 0.5)
    assert normalise(np.full((1, 2, 2, 3), 255, np.uint8), network).unique().tolist() == [1.0]
    save(Classifier(network=network, labels=LABELS, pixels=PixelConfig(size=32)), tmp_path)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    setup = timm.data.resolve_data_config({}, model=theirs)
    raw = torch.from_numpy(images()).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(setup[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    ours = logits(network, images())
    with torch.inference_mode():
        torch.testing.assert_close(theirs((raw - mean) / deviation), ours, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits(load(tmp_path).network, images()), ours, rtol=0, atol=0)


def test_a_kept_classifier_is_read_with_the_normalisation_that_it_was_kept_with(kept):
    config = json.loads((kept / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.25, 0.25, 0.25], "std": [0.75, 0.75, 0.75]}
    (kept / "config.json").write_text(json.dumps(config))
    assert normalise(np.full((1, 1, 1, 3), 255, np.uint8), load(kept).network).unique().tolist() == [1.0]


def test_the_same_seed_draws_the_same_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again = (build("none", 3, architecture=SMALL, seed=7).state_dict() for _ in range(2))
    assert torch.rand(1) == expected
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = build("none", 3, architecture=SMALL, seed=8).state_dict()
    assert not torch.equal(first["conv_stem.weight"], other["conv_stem.weight"])


@pytest.mark.parametrize("form", ["safetensors", "pth", "folder"])
def test_weights_of_other_classes_fill_all_but_the_last_layer(form, kept, tmp_path):
    weights = load_file(kept / "model.safetensors")
    if form == "pth":
        torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    source = {"safetensors": kept / "model.safetensors", "pth": tmp_path / "weights.pth", "folder": kept}[form]
    network = build(source, 5, architecture=SMALL, seed=0).state_dict()
    assert torch.equal(network["conv_stem.weight"], weights["conv_stem.weight"])
    assert network["classifier.weight"].shape[0] == 5
    same = build(source, 3, architecture=SMALL, seed=0).state_dict()
    assert torch.equal(same["classifier.weight"], weights["classifier.weight"])


def changed(kept, change):
    weights = load_file(kept / "model.safetensors")
    change(weights)
    save_file(weights, kept / "model.safetensors")
    return kept / "model.safetensors"


def test_weights_that_are_no_numbers_are_refused(kept):
    path = changed(kept, lambda weights: weights["bn1.weight"].fill_(float("nan")))
    with pytest.raises(BaseError, match=r"bn1.weight holds values that are not finite"):
        build(path, 3, architecture=SMALL)


def test_weights_of_another_network_are_refused(kept):
    with pytest.raises(BaseError, match="made for another network"):
        build(kept, 3)
    path = changed(kept, lambda weights: weights.update({"bn1.weight": torch.ones(99)}))
    with pytest.raises(BaseError, match=r"bn1.weight is \(99,\), wanted"):
        build(path, 3, architecture=SMALL)


def test_a_kept_classifier_needs_its_own_last_layer(kept):
    changed(kept, lambda weights: weights.update({"classifier.weight": torch.ones(2, 2)}))
    with pytest.raises(BaseError, match=r"classifier.weight is"):
        load(kept)


def test_unreadable_weights_are_refused_in_one_line(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00\x01")
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "cut.safetensors", "text.pth", "list.pth", "none.safetensors"):
        with pytest.raises(BaseError) as fault:
            build(tmp_path / name, 3, architecture=SMALL)
        assert name in str(fault.value)
        assert "\n" not in str(fault.value)


def test_pretrained_weights_that_cannot_be_fetched_name_the_way_out(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to the hub")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(BaseError, match=r"cannot be fetched .*no route to the hub.*or to none"):
        build("pretrained", 3)


def test_an_unknown_architecture_is_refused():
    for weights in ("none", "pretrained"):
        with pytest.raises(BaseError, match=r"timm makes no 'efficientnet_b00'; did you mean 'efficientnet_b0'\?"):
            build(weights, 3, architecture="efficientnet_b00")


def test_a_folder_that_is_no_model_is_refused(tmp_path, kept):
    with pytest.raises(InputError, match=r"holds no config.json"):
        load(tmp_path)
    config = json.loads((kept / "config.json").read_text())
    del config["pixels"]
    (kept / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="lacks 'pixels'"):
        load(kept)


def test_judging_leaves_the_mode_of_the_network_as_it_was(classifier):
    classifier.network.train()
    logits(classifier.network, images())
    assert classifier.network.training
    together, alone = logits(classifier.network, images()), logits(classifier.network, images(), batch_size=1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved(classifier, monkeypatch):
    network, tried = classifier.network, []
    expected = logits(network, images(5), batch_size=2)
    real = network.forward

    def forward(given):
        tried.append(len(given))
        if len(given) > 2:
            raise torch.OutOfMemoryError
        return real(given)

    monkeypatch.setattr(network, "forward", forward)
    assert torch.equal(logits(network, images(5)), expected)
    assert tried == [5, 2, 2, 1]


def test_judging_that_fails_leaves_the_mode_of_the_network_as_it_was_too(classifier, monkeypatch):
    def forward(_given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(classifier.network, "forward", forward)
    classifier.network.train()
    with pytest.raises(torch.OutOfMemoryError):
        logits(classifier.network, images())
    assert classifier.network.training


@pytest.mark.parametrize(("size", "batch"), [(32, 32), (256, 16), (5000, 1)])
def test_large_images_are_evaluated_few_at_a_time_on_a_cpu(classifier, monkeypatch, size, batch):
    tried = []

    def with_oom_backoff(_work, n, chunk):
        tried.append((n, chunk))
        return [torch.zeros(1, 3)], chunk

    monkeypatch.setattr("classify.model.with_oom_backoff", with_oom_backoff)
    logits(classifier.network, np.broadcast_to(np.uint8(0), (200, size, size, 3)))
    assert tried == [(200, batch)]


@pytest.mark.parametrize(
    ("weights", "architecture", "seen"),
    [
        ("none", "efficientnet_b0", "nothing"),
        ("pretrained", "efficientnet_b0", "ImageNet-1k"),
        ("lite0-package", "tf_efficientnet_lite0", "ImageNet-1k"),
        ("pretrained", "tf_efficientnet_b0", None),  # by a teacher that saw a data set of its own
        ("pretrained", "convnext_base", None),
        ("mine.safetensors", "efficientnet_b0", None),
    ],
)
def test_what_the_first_weights_have_seen_is_known_for_imagenet_alone(weights, architecture, seen):
    assert trained_on(weights, architecture) == seen


@pytest.mark.parametrize("elsewhere", ["hf-hub:owner/name", "hf_hub:owner/name", "local-dir:/etc"])
def test_a_kept_classifier_asks_no_hub_and_reads_no_other_folder(kept, elsewhere, monkeypatch):
    config = json.loads((kept / "config.json").read_text(encoding="utf-8"))
    (kept / "config.json").write_text(json.dumps({**config, "architecture": elsewhere}), encoding="utf-8")
    monkeypatch.setattr(timm, "create_model", None)
    with pytest.raises(InputError, match=r"config\.json: names a model elsewhere, '.*'; it was not written by this"):
        load(kept)
