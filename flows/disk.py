"""What a run will take of the disk, said before anything is trained; a run that cannot fit is refused.

Kept when a run is done: the study's own base, an adapter a class (LoRA's factors, or DreamBooth's UNet in 16 bits),
synthetic images, a classifier an arm and seed, tables and report; and, for all runs of a folder, decoded pixels.
Checkpoints, which hold weights and optimiser state in 32 bits, go when their class, base or classifier is finished;
weights with an update merged in are never written. Artifacts of other settings stay until someone deletes the run.

Only what is not finished is counted. Room is what is free and what lies there of this very work: partial folders of
the steps that are left, and pixels decoded at the sizes that they ask for.

It is an estimate from above. Not counted: images of phantoms, which are there by then, what a hub keeps outside `runs`,
and what is compiled for a GPU (`runs/cache/compiled`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from augment.param_count import learned, parts_of
from data.errors import InputError
from data.store import finished, partial_of
from flows.record import EDGE, THUMBS
from flows.steps import Done, Step
from flows.study import StudyConfig

_STRIP = 128  # pixels of one image of a preview, at most
_KIB, _MIB = 2**10, 2**20


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the need follows from, beside the config."""

    images: int  # real ones
    classes: int
    drawn: Mapping[str, int]  # synthetic ones, by class
    given: int = 0  # made elsewhere
    classifier: int  # bytes of one classifier's weights
    learned: int = 0  # numbers that one class learns
    denoiser: int = 0  # numbers of the study's own base: UNet and text encoder
    autoencoder: int = 0  # and the rest
    latent: int = 0  # numbers of one image's latents, for a base of the study's own


@dataclass(frozen=True, kw_only=True)
class Left:
    """What of a run is not finished."""

    base: bool = False  # the study's own
    adapters: int = 0  # of classes
    drawn: int = 0  # synthetic images, of classes whose images are not all there
    folders: int = 0  # of images made elsewhere, not looked over yet
    classifiers: int = 0  # of arms and seeds
    careless: int = 0  # those of random splits, which are not kept

    @classmethod
    def of(cls, steps: Sequence[Step], drawn: Mapping[str, int]) -> Left:
        """Count the steps of each stage; `drawn` are the images of each class."""
        stages = [step.stage for step in steps]
        return cls(
            base="base" in stages,
            adapters=stages.count("fine-tune"),
            drawn=sum(drawn[step.what] for step in steps if step.stage == "images"),
            folders=stages.count("folder"),
            classifiers=stages.count("arm"),
            careless=stages.count("random split"),
        )


@dataclass(frozen=True, kw_only=True)
class Room(Done):
    """That the run fits."""

    need: Mapping[str, int]  # bytes, by kind
    there: int  # bytes of it that lie there already
    free: int  # bytes

    @property
    def outcome(self) -> str:
        """Say the need and the room, in one line."""
        return f"{told(self.need, self.there)}; {_in_words(self.free)} free in {self.folder}"


def room(config: StudyConfig, sizes: Sizes, steps: Sequence[Step]) -> Room:
    """Look whether the rest of the run fits, of which these are the steps. Raises InputError."""
    folder = Path(config.runs)
    unmade = [step for step in steps if not finished(step.target, step.inputs)]
    left = Left.of(unmade, sizes.drawn)
    needed, free = need(config, sizes, left), shutil.disk_usage(folder).free
    begun = sum(_bytes_in(partial_of(step.target)) for step in unmade)
    cached = sum(min(n, _bytes_in(folder / "cache" / name)) for name, n in _decoded(config, sizes, left).items())
    there = min(begun + cached, sum(needed.values()))
    if sum(needed.values()) > free + there:
        raise InputError(
            f"runs={config.runs}: this run takes {told(needed, there)}, and {_in_words(free)} is free there; "
            "free some, or set runs= to a folder on a larger disk"
        )
    return Room(stage="disk", what="", seconds=0.0, reused=False, folder=folder, need=needed, there=there, free=free)


def sizes_of(
    config: StudyConfig, images: int, classes: int, drawn: Mapping[str, int], given: int, classifier: nn.Module
) -> Sizes:
    """Gather the sizes of what the run will train; `classifier` is one like those, whatever its classes."""
    weights = sum(t.numel() * t.element_size() for t in classifier.state_dict().values())
    sizes = {"images": images, "classes": classes, "given": given, "classifier": weights}
    if not any(drawn.values()):
        return Sizes(drawn={}, **sizes)
    parts = parts_of(config.base, config.pixels.size)
    sizes["learned"] = learned(parts, config.finetune)
    if config.base.own is not None:
        sizes["denoiser"], sizes["autoencoder"] = parts.numbers("unet", "text_encoder"), parts.numbers("vae")
        sizes["latent"] = parts.latent(config.pixels.size)
    return Sizes(drawn=drawn, **sizes)


def need(config: StudyConfig, sizes: Sizes, left: Left) -> dict[str, int]:
    """The bytes of each kind, at most; checkpoints are those of the stage that keeps most on its way."""
    models = left.classifiers + min(1, left.careless)
    stages = (
        _base_checkpoint(config, sizes) if left.base else 0,
        _class_checkpoints(config, sizes, left.adapters),
        _arm_checkpoint(config, sizes) if models else 0,
    )
    kinds = {
        "base": 2 * (sizes.denoiser + sizes.autoencoder) + _MIB if left.base else 0,
        "adapters": left.adapters * _adapter(config, sizes),
        "synthetic images": left.drawn * _drawn_image(config),
        "decoded pixels": sum(_decoded(config, sizes, left).values()),
        "classifiers": models * (sizes.classifier + _MIB // 2 + _named(sizes)),
        "tables and report": _tables(config, sizes),
        "checkpoints on the way": max(stages),
    }
    return {kind: size for kind, size in kinds.items() if size}


def told(needed: Mapping[str, int], there: int = 0) -> str:
    """Say a need in words, the largest kinds first, and how much of it lies there already."""
    kinds = sorted(needed.items(), key=lambda kind: -kind[1])
    by_kind = ", ".join(f"{kind} {_in_words(size)}" for kind, size in kinds)
    begun = f", of which {_in_words(there)} lies there already" if there else ""
    return f"at most {_in_words(sum(needed.values()))} by estimate ({by_kind}){begun}"


def _adapter(config: StudyConfig, sizes: Sizes) -> int:
    """Weights, previews and the table of losses of one class."""
    tuning = config.finetune
    weights = sizes.learned * (2 if tuning.method == "dreambooth" else 4)
    strips = tuning.steps // tuning.preview_every + 1 if tuning.preview_every else 0
    preview = tuning.preview.batch_size * min(_STRIP, config.pixels.size) ** 2 * 3
    return weights + strips * preview + 64 * tuning.steps + _MIB // 4


def _drawn_image(config: StudyConfig) -> int:
    """One image, its block's rest, and its rows; a JPEG of pure noise takes 0.86 of the pixels at quality 95."""
    pixels = config.pixels.size**2 * 3
    loose = config.generate.format == "jpg" and config.generate.quality > 95  # noqa: PLR2004 - see above
    return pixels * 3 // 2 + 6 * _KIB if loose else pixels + 6 * _KIB


def _decoded(config: StudyConfig, sizes: Sizes, left: Left) -> dict[str, int]:
    """Each cache that is still asked for: at the study's size, and at 64 pixels, where copies are looked for."""
    real, drawn = sizes.images + sizes.given, sum(sizes.drawn.values())
    asked = {
        config.pixels.size: real + drawn if left.base or left.folders or left.classifiers or left.careless else 0,
        **({64: real} if left.folders and config.pixels.size != 64 else {}),  # noqa: PLR2004 - see above
    }
    return {f"pixels-{size}-{config.pixels.geometry}": n * (size**2 * 3 + 65) for size, n in asked.items()}


def _named(sizes: Sizes) -> int:
    """One arm's predictions, and the ids of what it was trained on."""
    return (sizes.images + sum(sizes.drawn.values()) + sizes.given) * (300 + 25 * sizes.classes)


def _tables(config: StudyConfig, sizes: Sizes) -> int:
    """Split, ledgers, contents, thumbnails and the report that holds them once more."""
    rows = sizes.images + sizes.given + sum(sizes.drawn.values())
    thumbs = (2 + len(config.folder_arms)) * sizes.classes * THUMBS * (EDGE**2 * 3)
    return rows * 2 * _KIB + 2 * thumbs + 2 * _MIB


def _base_checkpoint(config: StudyConfig, sizes: Sizes) -> int:
    """Weights, their average and two moments of the denoiser; latents of all images and their mirror images."""
    own = config.base.own
    denoiser = 4 * 4 * sizes.denoiser
    autoencoder = (3 + 1) * 4 * sizes.autoencoder if own and own.autoencoder else 0
    return 2 * (denoiser + autoencoder) + 2 * 2 * 4 * sizes.images * sizes.latent + _MIB


def _class_checkpoints(config: StudyConfig, sizes: Sizes, adapters: int) -> int:
    """Weights and two moments of each class in training, and of one once more while it is written anew."""
    saves = (config.finetune.steps - 1) // config.finetune.checkpoint_every
    training = adapters if config.finetune.together else min(1, adapters)
    return _files(saves, training) * (3 * 4 * sizes.learned + _MIB)


def _arm_checkpoint(config: StudyConfig, sizes: Sizes) -> int:
    """Weights, their average, the best so far and two moments of one classifier."""
    saves = (config.classifier.steps - 1) // config.classifier.validate_every
    return _files(saves, 1) * (5 * sizes.classifier + _MIB)


def _files(saves: int, training: int) -> int:
    """How many checkpoints lie there at a time: a new one is written beside the old, then moved."""
    return 0 if not saves or not training else training + (1 if saves > 1 else 0)


def _bytes_in(folder: Path) -> int:
    """What lies there now; what another run moves away meanwhile is passed over, folders too."""
    found = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += (Path(inside) / name).stat().st_size
    return found


def _in_words(size: int) -> str:
    """Decimal units, as disks are sold, with two digits."""
    for unit, bytes_ in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}" if size < 10 * bytes_ else f"{size / bytes_:.0f} {unit}"
    return f"{size / 1000:.0f} kB"
