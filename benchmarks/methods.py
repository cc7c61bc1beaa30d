"""Do textual inversion and hypernetworks learn what they can, and no more? One row a method, on phantoms.

Textual inversion has to close at least 80 % of the gap between the losses of the word that it starts as and of the
class's own name. Images whose colours are swapped are its negative control: no word of a frozen base draws them. A
hypernetwork has to learn those: a loss at least 35 % lower, and a mean colour at least 35 % of the way.

    python benchmarks/methods.py [--out runs/methods]

All losses are of phantoms of other patients, at the same noise and timesteps. The figures are written to --out.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from measure import log, machine
from transformers.utils import logging as transformers_logging

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import SamplerConfig, sample_latents
from augment.finetune.examples import INSTANCE, ClassExamples, encode_posteriors
from augment.finetune.held_out import held_out_loss
from augment.finetune.loop import train
from augment.finetune.trainer import ClassTrainer
from augment.methods.contract import FinetuneSettings, Trainable
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.textual_inversion import TextualInversionConfig
from augment.prompts import class_prompt, prompt_for, token_prompt
from data.errors import exit_code
from data.manifest import PART, Manifest
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.store import write_json

LABEL, SHOTS, HELD_OUT, IMAGES = "bcc", 12, 64, 32
SETTINGS = {"batch_size": 8, "preview_every": 0, "checkpointing_steps": 10**6}
INVERSION = TextualInversionConfig(steps=100, learning_rate=0.02, vectors=2, init_word="lesion", **SETTINGS)
HYPERNETWORK = HypernetworkConfig(steps=120, learning_rate=3e-3, **SETTINGS)
_GAP, _LOWER, _WAY = 0.80, 0.35, 0.35  # the bars


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training: held-out losses, and how far the mean colour of the generated images went."""

    method: str
    images: str  # that it was trained and measured on
    before: float  # loss at the start
    after: float
    own_name: float | None = None  # loss of the base with the class's own name; None: says nothing here
    colours: tuple[list[float], list[float], list[float]] | None = None  # mean red, green, blue: before, after, aim

    @property
    def lower(self) -> float:
        """By which share the loss is lower."""
        return 1 - self.after / self.before

    @property
    def gap(self) -> float | None:
        """Share of the gap to the class's own name that was closed; NaN where there is none."""
        if self.own_name is None:
            return None
        gap = self.before - self.own_name
        return (self.before - self.after) / gap if gap else math.nan

    @property
    def way(self) -> float | None:
        """Share of the way from the colour before to the aim, along the straight line between them."""
        if self.colours is None:
            return None
        before, after, aim = map(np.array, self.colours)
        return float((after - before) @ (aim - before) / ((aim - before) @ (aim - before)))

    @property
    def passes(self) -> bool:
        """Whether it is as it has to be; the negative control is where its loss stays within 5 %."""
        if self.gap is not None:
            return self.gap >= _GAP
        return abs(self.lower) < 0.05 if self.way is None else self.lower >= _LOWER and self.way >= _WAY  # noqa: PLR2004


def measure(pipe: StableDiffusionPipeline, size: int, out: Path) -> list[Row]:
    """Train all three and measure each."""
    shots, held_out = (load_pixels(part, PixelConfig(size=size)) for part in _phantoms(out / "data"))
    rows = []
    for config, swaps in ((INVERSION, False), (INVERSION, True), (HYPERNETWORK, True)):
        log(f"{config.display_name}{', swapped colours' if swaps else ''}")
        few, others = (pixels[..., ::-1].copy() if swaps else pixels for pixels in (shots, held_out))
        rows.append(_trained(pipe, config, few, others, out / f"{config.method}-{swaps}", swaps=swaps))
    return rows


def _phantoms(folder: Path) -> tuple[Manifest, Manifest]:
    """Phantoms of the class to train on, and others of other patients."""
    drawn = PhantomConfig(images=4 * SHOTS, codes=(LABEL, "nv"), balanced=True, test_lesions=HELD_OUT)
    phantoms = load_manifest(DataConfig(source="phantom", phantom=drawn), folder).of(LABEL)
    is_test = phantoms.table[PART] == "test"
    others = phantoms.where(~is_test)
    return others.first(SHOTS), phantoms.where(is_test)


def _trained(
    pipe: StableDiffusionPipeline,
    config: FinetuneSettings,
    shots: np.ndarray,
    held_out: np.ndarray,
    out: Path,
    *,
    swaps: bool,
) -> Row:
    """Train on the shots, and measure on the held-out images before and after."""
    trainer = ClassTrainer(pipe, config.trainable(pipe, pipe.device), _examples(pipe, config, shots), config, out, "")
    trainable, prompt = trainer.trainable, trainer.examples.prompts[INSTANCE]
    latents = encode_posteriors(pipe, held_out, dihedral=False)[0][:, 0]
    trainable.bind([trainer.parameters])
    before, own_name = (_held_out_loss(trainable, words, latents) for words in (prompt, prompt_for(LABEL)))
    draws = config.token is None  # an image of the swapped colours is drawn by what can learn them
    colour = _colour(pipe, trainable, prompt) if draws else []
    list(train([trainer]))
    trainable.bind([trainer.parameters])
    return Row(
        method=config.display_name,
        images="swapped colours" if swaps else "phantoms",
        before=before,
        after=_held_out_loss(trainable, prompt, latents),
        own_name=None if swaps else own_name,
        colours=(colour, _colour(pipe, trainable, prompt), _mean(held_out)) if draws else None,
    )


def _held_out_loss(trainable: Trainable, prompt: str, latents: torch.Tensor) -> float:
    return held_out_loss(trainable, encode_prompt(trainable.pipe, prompt), latents)


def _examples(pipe: StableDiffusionPipeline, config: FinetuneSettings, shots: np.ndarray) -> ClassExamples:
    prompts = (token_prompt(config.token) if config.token else prompt_for(LABEL), class_prompt(), "")
    means, stds = encode_posteriors(pipe, shots, dihedral=config.dihedral)
    return ClassExamples(LABEL, 0, prompts, means, stds, torch.empty(0, *means.shape[2:]))


def _colour(pipe: StableDiffusionPipeline, trainable: Trainable, prompt: str) -> list[float]:
    """Mean red, green and blue of generated images, always of the same seeds."""
    with devices.autocast(pipe.device):
        embeds = [encode_prompt(trainable.pipe, words) for words in (prompt, "")]
        latents = sample_latents(trainable.pipe, *embeds, range(IMAGES), SamplerConfig())
    return _mean(decode(pipe, latents))


def _mean(pixels: np.ndarray) -> list[float]:
    return [float(value) for value in pixels.mean(axis=(0, 1, 2))]


def table(rows: Sequence[Row]) -> str:
    """The figures as Markdown."""
    columns = ("method", "images", "loss before", "after", "own name", "lower", "gap closed", "colour's way", "passes")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        shares = ("-" if share is None else f"{share:.0%}" for share in (row.lower, row.gap, row.way))
        own = "-" if row.own_name is None else f"{row.own_name:.4f}"
        cells = (row.method, row.images, f"{row.before:.4f}", f"{row.after:.4f}", own, *shares)
        lines.append(f"| {' | '.join(cells)} | {'yes' if row.passes else 'no'} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="methods", description="What textual inversion and hypernetworks learn.")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"), help="for images and figures")
    options = parser.parse_args(arguments)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    return exit_code(lambda: _run(options.out))


def _run(out: Path) -> int:
    pipe = devices.to_device(load_base(BaseConfig()), devices.default_device(), torch.float32)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(requires_grad=False)
    rows = measure(pipe, pipe.unet.config.sample_size * pipe.vae_scale_factor, out)
    about = f"{SHOTS} phantoms of {LABEL}, losses of {HELD_OUT} others; {machine()}"
    print(f"{about}\n\n{table(rows)}")
    write_json(out / "methods.json", {"about": about, "rows": [asdict(row) for row in rows]})
    return 0 if all(row.passes for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
