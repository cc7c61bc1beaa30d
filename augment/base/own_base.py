"""A study's own base: a tiny model that is trained on the study's train part before anything is fine-tuned."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline

from augment.base.config import BaseConfig, OwnBaseConfig
from augment.base.identity import base_identity
from augment.base.load import build_own_base, load_base
from augment.base.param_count import BaseParts
from augment.base.provenance import BaseRecord
from augment.base.train import TrainingImages, TrainingStages, class_weights, save_base, train_base, training_prompts
from augment.context import Context
from augment.diffusion.sample import require_size
from data.config import to_dict
from data.errors import BaseError, ConfigError
from data.manifest import Manifest
from data.pixels import load_pixels
from data.progress import Progress

_MIB = 2**20
_SPEED_ONLY = {"autoencoder": {"compile", "checkpointing_steps"}, "denoiser": {"checkpointing_steps"}}


def pretrain_own(
    *, base: BaseConfig, part: Manifest, context: Context, out: Path, progress: Progress | None = None
) -> None:
    """Train a study's own base on a part of its images and write it to `out`, a diffusers folder like any other.

    Its training.json has the provenance of this part and of the base that it is continued from. An interrupted call
    is resumed from `out`. Raises ConfigError for model sizes that cannot be built, TrainingError.
    """
    own, parent = base.own, base.parent
    if own is None:
        raise ValueError(f"the base {base.source} is not the study's own to train")
    pipe = _initial_pipe(own, parent, context)
    pixels = load_pixels(part, context.pixels, context.cache)
    dropout = {"class_dropout": own.class_dropout, "attribute_dropout": own.attribute_dropout}
    prompts = training_prompts(part, context.prompts, **dropout, seed=context.seed)
    weights = class_weights(part, own.class_balance) if own.class_balance else None
    checkpoints = out / "checkpoint"
    train_base(
        pipe=pipe,
        images=TrainingImages(pixels=pixels, prompts=prompts, weights=weights),
        stages=TrainingStages(autoencoder=own.autoencoder, denoiser=own.denoiser),
        folder=checkpoints,
        seed=context.seed,
        progress=progress or _silent,
    )
    details = {
        "config": own.to_dict(),
        "init_from": base_identity(base)["init_from"],
        "pixels": to_dict(context.pixels),
        "prompts": context.prompts.result_settings(),
        "seed": context.seed,
    }
    save_base(pipe, pixels, dataclasses.replace(BaseRecord.of(part, parent), details=details), out)
    shutil.rmtree(checkpoints)


def own_base_settings(own: OwnBaseConfig) -> dict[str, Any]:
    """The settings that the weights depend on, as plain JSON; without the images and the parent base."""
    settings = own.to_dict()
    del settings["classes"], settings["init_from"]
    for stage, ignored in _SPEED_ONLY.items():
        if settings[stage] is not None:
            settings[stage] = {name: value for name, value in settings[stage].items() if name not in ignored}
    return settings


def own_base_part(own: OwnBaseConfig, train: Manifest, rare: Collection[str]) -> Manifest:
    """The images of the train part that a study's own base is trained on. Raises ConfigError if there are none.

    Without `classes` in its config these are the images of all but the rare classes.
    """
    unknown = sorted(set(own.classes) - set(train.labels))
    if unknown:
        raise ConfigError(
            f"base.pretrain.classes names {unknown[0]!r}, which no image has; labels: {', '.join(train.labels)}"
        )
    classes = own.classes or [label for label in train.labels if label not in rare]
    if not classes:
        raise ConfigError(
            "split.rare holds every class, so none is left to train the base on; name some in base.pretrain.classes"
        )
    return train.where(train.table["label"].isin(classes))


def own_base_bytes(parts: BaseParts) -> int:
    """Bytes that a finished base takes on disk, at most: 16-bit weights, configs and tokenizer."""
    return 2 * parts.param_count("unet", "text_encoder", "vae") + _MIB


def own_base_checkpoint_bytes(own: OwnBaseConfig, parts: BaseParts, images: int, size: int) -> int:
    """Bytes on disk during the training, at most: two checkpoints of each network, and the latents.

    The denoiser's has weights, their EMA and two moments; latents have mean and deviation, of mirror images too.
    """
    denoiser = 4 * 4 * parts.param_count("unet", "text_encoder")
    autoencoder = (3 + 1) * 4 * parts.param_count("vae") if own.autoencoder else 0
    return 2 * (denoiser + autoencoder) + 2 * 2 * 4 * images * parts.latent_size(size) + _MIB


def _initial_pipe(own: OwnBaseConfig, parent: BaseConfig | None, context: Context) -> StableDiffusionPipeline:
    """The pipeline that the training begins with, configured for images of the study's size."""
    size = context.pixels.size
    if parent is None:
        pipe = build_own_base(own, size, context.seed)
    else:
        pipe = load_base(parent)
        if pipe.vae.config.scaling_factor != 1:
            raise BaseError(f"base.pretrain.init_from: {parent.source} is no tiny model; use it as base.source instead")
    require_size(pipe, size)
    pipe.unet.register_to_config(sample_size=size // pipe.vae_scale_factor)
    pipe.vae.register_to_config(sample_size=size)
    return pipe


def _silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""
