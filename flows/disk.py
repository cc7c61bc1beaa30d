"""What a run will take of the disk, said before anything is trained; a run that cannot fit is refused.

Kept when a run is done: the study's own base, an adapter a class (LoRA's factors, or DreamBooth's UNet in 16 bits),
synthetic images, a classifier an arm and seed, tables and report; and, for all runs of a folder, decoded pixels.
Checkpoints, which hold weights and optimiser state in 32 bits, go when their class, base or classifier is finished;
weights with an update merged in are never written. Artifacts of other settings stay until someone deletes the run.

It is an estimate from above. Not counted: images of phantoms, which are there by then, what a hub keeps outside `runs`,
and what is compiled for a GPU (`runs/cache/compiled`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from augment.sizes import learned, parts_of
from data.errors import InputError
from flows.record import EDGE, THUMBS
from flows.steps import Done
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
class Room(Done):
    """That the run fits."""

    need: Mapping[str, int]  # bytes, by kind
    free: int  # bytes

    @property
    def outcome(self) -> str:
        """Say the need and the room, in one line."""
        return f"{told(self.need)}; {_in_words(self.free)} free in {self.folder}"


def room(config: StudyConfig, sizes: Sizes) -> Room:
    """Look whether the run fits; what lies there from before is counted as room. Raises InputError."""
    folder = Path(config.runs)
    needed, free = need(config, sizes), shutil.disk_usage(folder).free
    cached = min(_bytes_in(folder / "cache"), needed["decoded pixels"])
    if sum(needed.values()) > free + cached + _bytes_in(config.folder):
        raise InputError(
            f"runs={config.runs}: this run takes {told(needed)}, and {_in_words(free)} is free there; "
            "free some, or set runs= to a folder on a larger disk"
        )
    return Room(stage="disk", what="", seconds=0.0, reused=False, folder=folder, need=needed, free=free)


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


def need(config: StudyConfig, sizes: Sizes) -> dict[str, int]:
    """The bytes of each kind, at most; checkpoints are those of the stage that keeps most on its way."""
    stages = (_base_checkpoint(config, sizes), _class_checkpoints(config, sizes), _arm_checkpoint(config, sizes))
    kinds = {
        "base": 2 * (sizes.denoiser + sizes.autoencoder) + (_MIB if sizes.denoiser else 0),
        "adapters": _adapters(config, sizes),
        "synthetic images": sum(sizes.drawn.values()) * _drawn_image(config),
        "decoded pixels": _decoded(config, sizes),
        "classifiers": len(config.arms) * len(config.seeds) * (sizes.classifier + _MIB // 2 + _named(sizes)),
        "tables and report": _tables(config, sizes),
        "checkpoints on the way": max(stages),
    }
    return {kind: size for kind, size in kinds.items() if size}


def told(needed: Mapping[str, int]) -> str:
    """Say a need in words, the largest kinds first."""
    kinds = sorted(needed.items(), key=lambda kind: -kind[1])
    return (
        f"at most {_in_words(sum(needed.values()))} by estimate ({', '.join(f'{k} {_in_words(n)}' for k, n in kinds)})"
    )


def _adapters(config: StudyConfig, sizes: Sizes) -> int:
    """Weights, previews and the table of losses of each class that is learned."""
    tuning = config.finetune
    weights = sizes.learned * (2 if tuning.method == "dreambooth" else 4)
    strips = tuning.steps // tuning.preview_every + 1 if tuning.preview_every else 0
    preview = tuning.preview.batch_size * min(_STRIP, config.pixels.size) ** 2 * 3
    return _learning(sizes) * (weights + strips * preview + 64 * tuning.steps + _MIB // 4)


def _drawn_image(config: StudyConfig) -> int:
    """One image, its block's rest, and its rows; a JPEG of pure noise takes 0.86 of the pixels at quality 95."""
    pixels = config.pixels.size**2 * 3
    loose = config.generate.format == "jpg" and config.generate.quality > 95  # noqa: PLR2004 - see above
    return pixels * 3 // 2 + 6 * _KIB if loose else pixels + 6 * _KIB


def _decoded(config: StudyConfig, sizes: Sizes) -> int:
    """The cache at the study's size, and at the 64 pixels in which near-duplicates are looked for."""
    real, size = sizes.images + sizes.given, config.pixels.size
    small = 0 if size == 64 else real * (64**2 * 3 + 65)  # noqa: PLR2004 - see above
    return small + (real + sum(sizes.drawn.values())) * (size**2 * 3 + 65)


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
    if not sizes.denoiser:
        return 0
    own = config.base.own
    denoiser = 4 * 4 * sizes.denoiser
    autoencoder = (3 + 1) * 4 * sizes.autoencoder if own and own.autoencoder else 0
    return 2 * (denoiser + autoencoder) + 2 * 2 * 4 * sizes.images * sizes.latent + _MIB


def _class_checkpoints(config: StudyConfig, sizes: Sizes) -> int:
    """Weights and two moments of each class in training, and of one once more while it is written anew."""
    saves = (config.finetune.steps - 1) // config.finetune.checkpoint_every
    training = _learning(sizes) if config.finetune.together else min(1, _learning(sizes))
    return _files(saves, training) * (3 * 4 * sizes.learned + _MIB)


def _arm_checkpoint(config: StudyConfig, sizes: Sizes) -> int:
    """Weights, their average, the best so far and two moments of one classifier."""
    saves = (config.classifier.steps - 1) // config.classifier.validate_every
    return _files(saves, 1) * (5 * sizes.classifier + _MIB)


def _files(saves: int, training: int) -> int:
    """How many checkpoints lie there at a time: a new one is written beside the old, then moved."""
    return 0 if not saves or not training else training + (1 if saves > 1 else 0)


def _learning(sizes: Sizes) -> int:
    return sum(1 for count in sizes.drawn.values() if count)


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
