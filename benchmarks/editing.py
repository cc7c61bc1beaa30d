"""Do edits of photographs do what they say? Distances to the photograph, kept bytes, and the seam of inpainting.

Phantoms are edited with the embedded base at 64 px, each by the prompt of its own class. The distance to the photograph
must rise with the strength; bytes outside the feathered mask must be the photograph's; and neighbouring pixels on the
two sides of the mask's border must not differ by more than 1.3 times what other neighbours do.

    python benchmarks/editing.py [--images 14] [--out runs/editing]

The figures and a sheet of the images, editing.png, are written to --out.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, UInt8
from measure import log, machine
from PIL import Image

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.edit import Canvases, outpainted
from augment.generate.batches import generate_pixels
from augment.generate.config import GenerateConfig
from augment.generate.mark import EDITED, metadata, stamped
from augment.prompts import prompt_for
from data.coding import reconstruct
from data.errors import ConfigError, exit_code
from data.masks import grown, threshold_masks
from data.phantoms.draw import draw
from data.phantoms.looks import LOOKS
from data.store import write_json

SIZE, SEED = 64, 610_000  # pixels; of the phantoms, which no study draws
STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)
GROW = 4  # pixels: the default of generate.edit.grow_mask
SEAM = 1.3  # difference of neighbours across a mask's border, of that of all other neighbours
_CONFIG = GenerateConfig(guidance_scale=2.0, batch_size=14)
_COLUMNS = 7  # photographs on the sheet

Pixels = UInt8[np.ndarray, "n size size 3"]
Masks = Bool[np.ndarray, "n size size"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured."""

    autoencoder: float  # grey levels, root mean square to the photographs, of the autoencoder alone
    distances: tuple[float, ...]  # the same, by STRENGTHS
    inside: float  # the same of inpainting, within the mask and
    outside: float  # outside of it, before pixels are pasted back
    changed: int  # bytes outside the feather that are not the photograph's
    seams: tuple[float, ...]  # of the photographs, and of edits: as drawn, hard pasted, feathered
    outpaint_changed: int  # bytes of the smaller photograph, outside the feather, that are not its own

    def failures(self) -> list[str]:
        """The demands that are not met, in words."""
        failed = [] if sorted(self.distances) == list(self.distances) else ["the distance does not rise with strength"]
        failed += [f"{self.changed} bytes outside the feather changed"] if self.changed else []
        failed += [f"outpainting changed {self.outpaint_changed} kept bytes"] if self.outpaint_changed else []
        return failed + ([f"the seam is {self.seams[3]:.2f}"] if self.seams[3] > SEAM else [])


def phantoms(n: int) -> tuple[Pixels, list[str]]:
    """Photographs and their classes, in turn."""
    codes = [list(LOOKS)[number % len(LOOKS)] for number in range(n)]
    drawn = [
        draw(dx, np.random.default_rng([SEED, i, 1]), np.random.default_rng([SEED, i, 2]), SIZE, SIZE)
        for i, dx in enumerate(codes)
    ]
    return np.stack(drawn), codes


def rms(one: Pixels, other: Pixels, where: Masks | None = None) -> float:
    """Root mean square of the difference, in grey levels."""
    squares = np.square(one.astype(float) - other.astype(float)).mean(axis=-1)
    return float(np.sqrt(squares.mean() if where is None else squares[where].mean()))


def seam(images: Pixels, masks: Masks) -> float:
    """Mean difference of neighbours on the two sides of the masks' borders, as a multiple of that of all others."""
    grey = images.astype(float).mean(axis=-1)
    across, others = [], []
    for axis in (1, 2):
        steps, border = np.abs(np.diff(grey, axis=axis)), np.diff(masks, axis=axis)
        across.append(steps[border])
        others.append(steps[~border])
    return float(np.concatenate(across).mean() / np.concatenate(others).mean())


def changed_bytes(images: Pixels, canvases: Canvases) -> int:
    """Bytes where nothing is redrawn, by the feathered mask, that are not the photograph's."""
    kept = canvases.feathers[list(canvases.index)] == 0
    return int((images != canvases.photographs[list(canvases.index)])[kept].sum())


def edited(pipe: StableDiffusionPipeline, canvases: Canvases, codes: Sequence[str]) -> Pixels:
    """The edits of photographs by the prompts of these classes; the seeds are the photographs' numbers."""
    prompts, seeds = [prompt_for(code) for code in codes], [SEED + i for i in range(len(codes))]
    return np.concatenate(list(generate_pixels(pipe, prompts, seeds, _CONFIG, SIZE, canvases=canvases)))


def whole(photographs: Pixels, strength: float, masks: Masks | None = None, blur: float = 2.0) -> Canvases:
    """A canvas a photograph."""
    n = len(photographs)
    names = [f"phantom {i}" for i in range(n)]
    return Canvases(
        photographs=photographs, names=names, index=range(n), strengths=[strength] * n, redraw=masks, mask_blur=blur
    )


def measure(pipe: StableDiffusionPipeline, n: int) -> tuple[Figures, dict[str, Pixels]]:
    """The figures, and rows of images by what they show."""
    photographs, codes = phantoms(n)
    masks = grown(threshold_masks(list(photographs)), GROW)
    rows = {"photographs": photographs, "masks": np.repeat(masks[..., None], 3, axis=-1) * np.uint8(255)}
    distances = []
    for strength in STRENGTHS:
        log(f"image to image, strength {strength:g}")
        rows[f"img2img {strength:g}"] = edited(pipe, whole(photographs, strength), codes)
        distances.append(rms(rows[f"img2img {strength:g}"], photographs))
    log("inpainting and outpainting")
    everywhere = whole(photographs, 1.0, masks)
    feathered = edited(pipe, everywhere, codes)
    raw = _as_drawn(pipe, everywhere, codes)
    hard = whole(photographs, 1.0, masks, 0).paste(raw)
    rows |= {"inpaint lesion": feathered, "inpaint skin": edited(pipe, whole(photographs, 1.0, ~masks), codes)}
    padded = whole(*_outpainted(photographs))
    rows["outpaint"] = edited(pipe, padded, codes)
    rows["other class, 0.75"] = edited(pipe, whole(photographs, 0.75), [*codes[1:], codes[0]])
    figures = Figures(
        autoencoder=rms(reconstruct(pipe.vae, photographs), photographs),
        distances=tuple(distances),
        inside=rms(raw, photographs, masks),
        outside=rms(raw, photographs, ~masks),
        changed=changed_bytes(feathered, everywhere),
        seams=tuple(seam(images, masks) for images in (photographs, raw, hard, feathered)),
        outpaint_changed=changed_bytes(rows["outpaint"], padded),
    )
    return figures, rows


def _as_drawn(pipe: StableDiffusionPipeline, canvases: Canvases, codes: Sequence[str]) -> Pixels:
    """The edits before pixels are pasted back."""
    found: list[Pixels] = []

    class Unpasted(Canvases):
        def paste(self, drawn: Pixels) -> Pixels:
            found.append(drawn)
            return drawn

    edited(pipe, Unpasted(**{name: getattr(canvases, name) for name in Canvases.__dataclass_fields__}), codes)
    return np.concatenate(found)


def _outpainted(photographs: Pixels) -> tuple[Pixels, float, Masks]:
    padded, around = outpainted(photographs, 0.125)
    return padded, 1.0, around


def write_sheet(path: Path, rows: dict[str, Pixels]) -> None:
    """The first images of each row, enlarged; a row below another. Those that were edited bear the mark."""
    lines = []
    for name, images in rows.items():
        made = name not in {"photographs", "masks"}
        large = [cv2.resize(each, (128, 128), interpolation=cv2.INTER_CUBIC) for each in images[:_COLUMNS]]
        lines.append(np.concatenate([stamped(each) if made else each for each in large], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(path, **metadata("PNG", EDITED))


def table(found: Figures) -> str:
    """The figures as Markdown."""
    seams = [f"{each:.2f}" for each in found.seams]
    distances = [f"{each:.1f}" for each in (found.autoencoder, *found.distances)]
    lines = (
        f"| strength | autoencoder alone | {' | '.join(f'{each:g}' for each in STRENGTHS)} |",
        "|---" * (len(STRENGTHS) + 2) + "|",
        f"| grey levels to the photograph | {' | '.join(distances)} |",
        "",
        f"inpainted as drawn: {found.inside:.1f} grey levels inside the mask, {found.outside:.1f} outside",
        f"bytes outside the feather that changed: {found.changed}, of outpainting {found.outpaint_changed}",
        f"seam: photographs {seams[0]}, as drawn {seams[1]}, hard pasted {seams[2]}, feathered {seams[3]}",
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 1 if a demand is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=14, help="photographs (default: 14)")
    parser.add_argument("--out", type=Path, default=Path("runs/editing"))
    return exit_code(lambda: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    if options.images < 1:
        raise ConfigError("--images must be 1 or more")
    pipe = devices.to_device(load_base(BaseConfig()), devices.default_device(), torch.float32)
    found, rows = measure(pipe, options.images)
    write_json(options.out / "editing.json", {"machine": machine(), "images": options.images, **asdict(found)})
    write_sheet(options.out / "editing.png", rows)
    print(f"{options.images} phantoms of {SIZE} px; {machine()}\n\n{table(found)}")
    for failure in found.failures():
        print(f"not met: {failure}")
    return 1 if found.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
