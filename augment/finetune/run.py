"""Teach a base the rare classes, each from a handful of images, whichever the method.

Takes a list of classes and makes one adapter each, all in one batch where the method allows it. Everything drawn at
random for a class follows from the seed and its label, so its adapter is the same, within rounding, whichever others
are trained beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment import device
from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.diffusion.sample import SamplerConfig, encode, require_size, sample_latents
from augment.finetune.config import FinetuneConfig, Progress, decisive
from augment.finetune.examples import Lesson, posteriors, seed_for
from augment.finetune.loop import train
from augment.finetune.optimizers import refuse_optimizer
from augment.finetune.trainer import Training
from augment.methods import RECORD
from augment.methods.batched_lora import Stack
from augment.methods.lora import Lora
from augment.prompts import DEFAULT, PromptConfig, attributes_of, class_prompt, instance_prompt, prompt_for
from data.config import to_dict
from data.errors import DataError, TrainingError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.splits.provenance import Provenance
from data.store import digest, read_json

__all__ = ["FinetuneConfig", "Finished", "Progress", "finetune"]

Finished = Callable[[str, float], None]  # label, seconds


def finetune(
    base: BaseConfig,
    shots: Mapping[str, Manifest],
    pixels: PixelConfig,
    config: FinetuneConfig,
    out: Mapping[str, Path],
    seed: int,
    progress: Progress | None = None,
    wording: PromptConfig = DEFAULT,
    finished: Finished = lambda _label, _seconds: None,
) -> None:
    """Write an adapter for each class of `shots` into its folder of `out`.

    Where `wording` names columns, an image's prompt tells what the table knows of them. `finished` is called with
    each class whose adapter is written, and its share of the seconds spent, while the others may go on.

    A folder holds the weights, adapter.json (written last), loss.csv and previews/; while training
    also checkpoint/, from which an interrupted call goes on. A class that is finished is left alone.
    Raises TrainingError for a loss that is not a number, once the other classes are done.
    """
    lacking = sorted(label for label, manifest in shots.items() if not len(manifest))
    if lacking:
        raise DataError(f"no images to learn {', '.join(lacking)} from; give 5 to 20 a class or leave it out")
    identity = base_identity(base)
    keys = {
        label: digest(
            identity,
            manifest.digest(),
            label,
            pixels,
            decisive(config),
            seed,
            *([] if wording == DEFAULT else [wording]),
        )
        for label, manifest in shots.items()
    }
    missing = [label for label in shots if not _is_finished(out[label], keys[label])]
    for label in shots:
        if label not in missing:
            finished(label, read_json(out[label] / RECORD)["seconds"])
    if not missing:
        return
    refuse_optimizer(config, device.default_device())
    started = time.monotonic()
    where = device.default_device()
    pipe = device.to_device(load_base(base), where, torch.float32)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(requires_grad=False)
    require_size(pipe, pixels.size)
    prior = _prior_latents(pipe, config, class_prompt(wording), pixels.size, seed)
    _settle(pipe, config, where)  # before the UNet is copied: two of them would not fit a small card
    stack = Stack(pipe, Lora(rank=config.rank, conv=config.conv), where) if config.together else None
    shared = (time.monotonic() - started) / len(missing)

    def opened(label: str) -> Training:
        started = time.monotonic()
        _settle(pipe, config, where, "vae")
        lesson = _lesson(pipe, label, shots[label], pixels, config, seed, prior, wording)
        _settle(pipe, config, where, "text_encoder", *(() if stack else ("unet",)))
        training = Training(pipe, lesson, config, out[label], keys[label], stack)
        training.seconds = shared + time.monotonic() - started
        return training

    def ended(training: Training) -> None:
        label = training.lesson.label
        record = {
            "base": identity,
            "shots": Provenance.of(shots[label]).to_record(),
            "pixels": to_dict(pixels),
            "seed": seed,
        }
        training.finish({**record, "together": missing if stack else [label], "seconds": round(training.seconds, 2)})
        finished(label, training.seconds)

    def opened_all(labels: Sequence[str]) -> list[Training]:
        trainings = [opened(label) for label in labels]
        _settle(pipe, config, where)
        return trainings

    groups = [missing] if stack else [[label] for label in missing]
    _train_all(groups, opened_all, ended, progress, config.classes_at_once)


def _settle(pipe: StableDiffusionPipeline, config: FinetuneConfig, where: torch.device, *needed: str) -> None:
    """Where parts of the base are to wait elsewhere: keep these alone on the device."""
    if config.offload:
        device.to_device_only(pipe, where, *needed)


def _train_all(
    groups: Sequence[Sequence[str]],
    opened: Callable[[Sequence[str]], list[Training]],
    ended: Callable[[Training], None],
    progress: Progress | None,
    at_once: int | None,
) -> None:
    """Train one group after another, whether or not an earlier one failed."""
    faults = []
    for labels in groups:
        try:
            train(opened(labels), ended, progress, at_once)
        except TrainingError as fault:
            faults.append(str(fault))
    if faults:
        raise TrainingError("; ".join(faults))


def _lesson(
    pipe: StableDiffusionPipeline,
    label: str,
    shots: Manifest,
    pixels: PixelConfig,
    config: FinetuneConfig,
    seed: int,
    prior: Tensor,
    wording: PromptConfig,
) -> Lesson:
    prompt = instance_prompt(label, config.token, wording) if config.token else prompt_for(label, wording)
    images = load_pixels(shots, pixels)
    means, deviations = posteriors(pipe, images, flips=config.flips, chunk=config.coded_at_once)
    own = [known.added_to(prompt) for known in attributes_of(shots, wording)]
    prompts = tuple(dict.fromkeys([prompt, class_prompt(wording), "", *own]))
    told = torch.tensor([prompts.index(each) for each in own])
    return Lesson(label, seed_for(seed, label), prompts, means, deviations, prior, told)


def _prior_latents(pipe: StableDiffusionPipeline, config: FinetuneConfig, prompt: str, size: int, seed: int) -> Tensor:
    """Lesions as the base itself imagines them, kept as latents: nothing is decoded to be encoded again."""
    edge = size // pipe.vae_scale_factor
    if config.method != "dreambooth" or not config.prior_images or not config.prior_weight:
        return torch.empty(0, pipe.unet.config.in_channels, edge, edge)
    seeds = [seed_for(seed, "prior", index) for index in range(config.prior_images)]
    sampler = SamplerConfig(batch_size=min(config.prior_images, 32))
    latents = sample_latents(pipe, encode(pipe, prompt), encode(pipe, ""), seeds, sampler, size)
    return latents.float().cpu().clone()


def _is_finished(folder: Path, key: str) -> bool:
    try:
        return bool(read_json(folder / RECORD)["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False
