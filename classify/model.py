"""The classifier: a timm network, its initial weights, and how it is saved with its labels and preprocessing.

It is saved as timm's own `local-dir:` folder, so `timm.create_model("local-dir:FOLDER", pretrained=True)` loads it
anywhere; `config.json` also holds our pixel path's settings, which say how an image becomes its input.
"""

import difflib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import timm
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from classify import embedded
from classify.embedded import PHANTOMS
from classify.lite0 import ARCHITECTURE, LITE0_PACKAGE, in_order, lite0_file
from data.coding import Coder
from data.config import parse, to_dict
from data.errors import BaseError, InputError
from data.oom import with_oom_backoff
from data.pixels import PixelConfig
from data.store import read_json, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_CROP_MODES: dict[str, Literal["center", "border", "squash"]] = {"crop": "center", "pad": "border", "squash": "squash"}
_IMAGENET_ALONE = re.compile(r"([a-z]+\d*_)?in1k")  # timm's tags: a recipe, then the data sets
# Images in one batch of evaluation, and pixels of all of them together.
_AT_ONCE = (128, 2**22)  # EfficientNet-B0 takes 1 GB for so many pixels by count, in float32: not measured
_AT_ONCE_CPU = (32, 2**20)  # larger batches leave a core's cache: 128 of 64 pixels take 1.1 to 1.8 times as long each
_WRAPPERS = ("state_dict", "model_ema", "model")  # under which torch files keep the weights


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with what it needs to classify an image."""

    network: nn.Module
    labels: tuple[str, ...]  # in the order of the logits
    pixels: PixelConfig
    coder: Coder | None = None  # through which every image goes before the network, where it was trained so
    temperature: float = 1.0  # logits are divided by it
    test_views: int = 1  # of each image, whose logits are averaged


def build(
    weights: str | Path, n_classes: int, *, architecture: str = "efficientnet_b0", drop_rate: float = 0.0, seed: int = 0
) -> nn.Module:
    """A network with `n_classes` logits. What the weights do not fill is initialised at random from the seed.

    `weights`: "none", "phantoms" (embedded), "pretrained" (timm's, from the hub), "lite0-package" (Lite0's, from a
    package), or a file or model folder of this architecture, whose head may be of other classes. Raises BaseError.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _create(architecture, n_classes, drop_rate, pretrained=str(weights) == "pretrained")
    if str(weights) == "none":
        _start_as_skips(network)
    elif str(weights) == PHANTOMS:
        path = embedded.weights_file(architecture)
        _fill(network, read_weights(path), path, any_head=True)
    elif str(weights) == LITE0_PACKAGE:
        _fill_from_lite0(network, architecture)
    elif str(weights) != "pretrained":
        path = Path(weights) / WEIGHTS if Path(weights).is_dir() else Path(weights)
        _fill(network, read_weights(path), path, any_head=True)
    return network.to(memory_format=torch.channels_last)


def trained_on(weights: str, architecture: str) -> str | None:
    """What initial weights were trained on: "nothing", "phantoms", "ImageNet-1k" or None, unknown."""
    if weights in ("none", PHANTOMS):
        return {"none": "nothing"}.get(weights, weights)
    own = timm.models.get_pretrained_cfg(architecture) if weights == "pretrained" else None
    return "ImageNet-1k" if weights == LITE0_PACKAGE or (own and _IMAGENET_ALONE.fullmatch(own.tag or "")) else None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file. Raises BaseError, also for a torch file that could run code."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise BaseError(
            f"{path}: no such weights; give a file, '{PHANTOMS}', 'pretrained', '{LITE0_PACKAGE}' or 'none'"
        ) from fault
    except (OSError, SafetensorError) as fault:
        raise BaseError(f"{path}: unreadable weights ({_line(fault)}); copy the file anew") from fault
    except Exception as fault:  # the unpickler raises whatever the bytes make it
        raise BaseError(
            f"{path}: neither safetensors nor a torch file of plain tensors ({type(fault).__name__}); "
            "give the weights as .safetensors"
        ) from fault
    for name in _WRAPPERS:
        if isinstance(kept, dict) and isinstance(kept.get(name), dict):
            kept = kept[name]
    if not isinstance(kept, dict) or not all(isinstance(value, Tensor) for value in kept.values()):
        raise BaseError(f"{path}: holds no table of weights; save the network's state_dict")
    return kept


def save(classifier: Classifier, folder: Path) -> None:
    """Write the weights, then `config.json`, which marks the folder as complete."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value.detach().cpu().contiguous() for name, value in classifier.network.state_dict().items()}
    save_file(kept, folder / WEIGHTS, {"format": "pt"})  # with more keys the bytes would vary
    if classifier.coder is not None:
        classifier.coder.save(folder)
    pixels, network = classifier.pixels, cast("Any", classifier.network)
    write_json(
        folder / CONFIG,
        {
            "architecture": network.pretrained_cfg["architecture"],
            "num_classes": len(classifier.labels),
            "num_features": network.num_features,
            "label_names": list(classifier.labels),
            "pretrained_cfg": {
                "input_size": [3, pixels.size, pixels.size],
                "fixed_input_size": False,
                "crop_pct": 1.0,
                "crop_mode": _CROP_MODES[pixels.geometry],
                "interpolation": "bilinear",  # of those that timm knows nearest to our pixel path's area resampling
                "mean": list(network.pretrained_cfg["mean"]),
                "std": list(network.pretrained_cfg["std"]),
                "num_classes": len(classifier.labels),
                "first_conv": network.pretrained_cfg["first_conv"],
                "classifier": network.pretrained_cfg["classifier"],
            },
            "pixels": to_dict(pixels),
            "temperature": classifier.temperature,
            "test_views": classifier.test_views,
        },
    )


def load(folder: Path) -> Classifier:
    """Read what `save` wrote, ready to predict. Raises InputError."""
    try:
        config = read_json(folder / CONFIG)
        architecture, labels = str(config["architecture"]), tuple(str(label) for label in config["label_names"])
        pixels = parse(PixelConfig, config["pixels"], f"{folder / CONFIG}: pixels")
        temperature, test_views = float(config["temperature"]), int(config["test_views"])
        normalised = {name: tuple(config["pretrained_cfg"][name]) for name in ("mean", "std")}
    except OSError as fault:
        raise InputError(f"{folder}: holds no {CONFIG}; give a run folder or a classifier's model folder") from fault
    except (KeyError, TypeError) as fault:
        raise InputError(f"{folder / CONFIG}: lacks {fault}; it was not written by this program") from fault
    if ":" in architecture:  # timm would ask a hub, or read another folder
        raise InputError(
            f"{folder / CONFIG}: names a model elsewhere, {architecture!r}; it was not written by this program: take "
            "a folder that was"
        )
    network = _create(architecture, len(labels), 0.0, pretrained=False, pretrained_cfg_overlay=normalised)
    _fill(network, read_weights(folder / WEIGHTS), folder / WEIGHTS, any_head=False)
    channels_last = network.to(memory_format=torch.channels_last)
    return Classifier(
        network=channels_last.eval(),
        labels=labels,
        pixels=pixels,
        coder=Coder.load(folder),
        temperature=temperature,
        test_views=test_views,
    )


def normalise(pixels: UInt8[np.ndarray, "n h w 3"], network: nn.Module) -> Float[Tensor, "n 3 h w"]:
    """Pixels as the network takes them: its own mean and deviation, on its device, channels last in memory."""
    device, own = next(network.parameters()).device, cast("Any", network).pretrained_cfg
    raw = torch.from_numpy(np.ascontiguousarray(pixels)).to(device, non_blocking=True).float().div_(255)
    mean, deviation = torch.tensor(own["mean"], device=device), torch.tensor(own["std"], device=device)
    return raw.sub_(mean).div_(deviation).permute(0, 3, 1, 2)  # a view: NHWC bytes are channels last


def logits(
    network: nn.Module, pixels: UInt8[np.ndarray, "n h w 3"], batch_size: int | None = None
) -> Float[Tensor, "n k"]:
    """Logits of images, in evaluation mode, batch by batch as `in_batches` does it."""
    return in_batches(network, network, pixels, batch_size)


def in_batches(
    network: nn.Module,
    function: Callable[[Float[Tensor, "n 3 h w"]], Tensor],
    pixels: UInt8[np.ndarray, "n h w 3"],
    batch_size: int | None = None,
) -> Float[Tensor, "n width"]:
    """Outputs of a function of the network for images, on the CPU, in evaluation mode; the mode is restored afterwards.

    A batch that does not fit the device's memory is halved; None starts with few large images or many small ones.
    """
    was_training, start = network.training, batch_size or _at_once(network, *pixels.shape[1:3])
    network.eval()
    try:
        with torch.inference_mode():
            parts, _ = with_oom_backoff(
                lambda part: function(normalise(pixels[part], network)).float().cpu(), len(pixels), start
            )
    finally:
        network.train(was_training)
    return torch.cat(parts)


def _at_once(network: nn.Module, height: int, width: int) -> int:
    images, pixels = _AT_ONCE_CPU if next(network.parameters()).device.type == "cpu" else _AT_ONCE
    return max(1, min(images, pixels // (height * width)))


def _create(architecture: str, n_classes: int, drop_rate: float, **how: Any) -> nn.Module:  # noqa: ANN401 - timm's
    if ":" not in architecture and not timm.is_model(architecture):  # with a colon it is a hub's or a folder's
        near = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give one of timm.list_models()"
        raise BaseError(f"timm makes no {architecture!r}; {hint}")
    try:
        return cast("nn.Module", timm.create_model(architecture, num_classes=n_classes, drop_rate=drop_rate, **how))
    except Exception as fault:  # timm and the hub's client raise whatever went wrong below them
        if how["pretrained"]:
            raise BaseError(
                f"pretrained weights of {architecture} cannot be fetched ({_line(fault)}); set classifier.weights to a "
                f".safetensors file, to {LITE0_PACKAGE} (with model: {ARCHITECTURE}), or to none"
            ) from fault
        raise BaseError(f"timm makes no {architecture!r} ({_line(fault)}); give one of timm.list_models()") from fault


def _fill_from_lite0(network: nn.Module, architecture: str) -> None:
    if architecture != ARCHITECTURE:
        raise BaseError(f"classifier.weights: {LITE0_PACKAGE} has those of {ARCHITECTURE}; set classifier.model to it")
    path = lite0_file()
    with torch.random.fork_rng(devices=[]):
        whole = _create(architecture, 1000, 0.0, pretrained=False).state_dict()  # ImageNet's classes
    _fill(network, in_order(read_weights(path), whole, path), path, any_head=True)


def _start_as_skips(network: nn.Module) -> None:
    """Initialise every residual block as its skip connection (Goyal et al. 2017, 5.1); a short run then learns more."""
    for block in network.modules():
        if getattr(block, "has_skip", False):
            last = [layer for layer in block.children() if isinstance(layer, nn.BatchNorm2d)][-1]
            nn.init.zeros_(last.weight)


def _fill(network: nn.Module, weights: dict[str, Tensor], path: Path, *, any_head: bool) -> None:
    """Load the weights after checking names, shapes and values; `any_head` leaves a last layer of other classes out."""
    wanted, head = network.state_dict(), cast("Any", network).pretrained_cfg["classifier"]
    heads = {f"{head}.weight", f"{head}.bias"}
    fits = all(name in weights and weights[name].shape == wanted[name].shape for name in heads)
    if any_head and not fits:
        weights = {name: value for name, value in weights.items() if name not in heads}
        wanted = {name: value for name, value in wanted.items() if name not in heads}
    missing = sorted(name for name in set(wanted) - set(weights) if not name.endswith("num_batches_tracked"))
    foreign = sorted(set(weights) - set(wanted))
    if missing or foreign:
        what = f"lacks {len(missing)} tensors, first {missing[0]}" if missing else f"has a foreign tensor {foreign[0]}"
        raise BaseError(f"{path}: made for another network ({what}); give weights of this architecture")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)}, wanted {tuple(wanted[name].shape)}"
            raise BaseError(f"{path}: {name} is {shapes}; give weights of this architecture")
        if not torch.isfinite(value).all():
            raise BaseError(f"{path}: {name} holds values that are not finite; training them failed, take others")
    network.load_state_dict(weights, strict=False)


def _line(fault: Exception) -> str:
    """The first line of an error, at most 160 characters."""
    text = next(iter(str(fault).splitlines()), "")[:160]
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__
