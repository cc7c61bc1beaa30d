"""Does a ControlNet follow the masks of lesions? Trained on phantoms, measured on phantoms of other patients.

With the right masks the held-out loss has to be below 0.9 times that without a condition, with masks of other images
above it, and lesions of generated images have to overlap with their masks by an IoU that is at least 0.2 higher than
with masks of other images.

    python benchmarks/controlnet.py [--condition mask] [--out runs/controlnet]

The figures and a sheet, rows of masks and of the images that follow them, are written to --out.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from measure import log, machine
from PIL import Image
from transformers.utils import logging as transformers_logging

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.conditions.images import ConditionImages
from augment.conditions.lesion import lesion_mask
from augment.conditions.table import CONDITIONS
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from augment.finetune.examples import ClassExamples, encode_posteriors
from augment.finetune.held_out import held_out_loss
from augment.finetune.loop import train
from augment.finetune.trainer import ClassTrainer
from augment.generate.mark import stamped
from augment.methods.contract import Trainable
from augment.methods.controlnet import ControlNetConfig
from augment.prompts import class_prompt
from data.errors import exit_code
from data.manifest import PART
from data.phantoms.table import PhantomConfig
from data.pixels import PixelConfig, load_pixels
from data.sources.load import DataConfig, load_manifest
from data.store import write_json

TRAINED, HELD_OUT, IMAGES = 200, 8, 32  # phantoms, those held out of each class, images generated
_LOWER, _GAP = 0.9, 0.2  # the bars


@dataclass(frozen=True, kw_only=True)
class Found:
    """Held-out losses without a condition, with the right and with others; IoU with the right and with others."""

    without: float
    right: float
    wrong: float
    overlap: float
    overlap_of_others: float
    steps: int
    seconds: float

    @property
    def passes(self) -> bool:
        """Whether the bars are met."""
        follows = self.overlap - self.overlap_of_others >= _GAP
        return self.right < _LOWER * self.without and self.wrong > self.without and follows


def measure(pipe: StableDiffusionPipeline, size: int, config: ControlNetConfig, out: Path) -> Found:
    """Train a ControlNet on the phantoms of all classes, and measure it on others."""
    phantoms = PhantomConfig(images=TRAINED, balanced=True, test_lesions=HELD_OUT)
    both = load_manifest(DataConfig(source="phantom", phantom=phantoms), out / "data")
    parts = [both.where((both.table[PART] == "test") == is_test) for is_test in (False, True)]
    (few, own), (others, given) = (
        (pixels, config.condition_source.images(pixels, part, PixelConfig(size=size)))
        for part in parts
        for pixels in [load_pixels(part, PixelConfig(size=size))]
    )
    means, stds = encode_posteriors(pipe, few, dihedral=config.dihedral)
    prompts = (class_prompt(), class_prompt(), "")
    examples = ClassExamples("all", 0, prompts, means, stds, torch.empty(0, *means.shape[2:]), conditions=own)
    trainer = ClassTrainer(pipe, config.trainable(pipe, pipe.device), examples, config, out, "")
    start = time.monotonic()
    list(train([trainer], on_step=_log_step))
    seconds = time.monotonic() - start
    trainer.trainable.bind([trainer.parameters])
    latents = encode_posteriors(pipe, others, dihedral=False)[0][:, 0]
    rows = list(range(len(latents)))
    shuffled = [*rows[len(rows) // 3 :], *rows[: len(rows) // 3]]
    embeds = encode_prompt(trainer.trainable.pipe, class_prompt())
    losses = [
        held_out_loss(
            trainer.trainable, embeds, latents, None if order is None else given.turned(order, [0] * len(order))
        )
        for order in (None, rows, shuffled)
    ]
    images = _images(pipe, trainer.trainable, given, rows[:: len(rows) // IMAGES + 1])
    followed = given.pixels[rows[:: len(rows) // IMAGES + 1]]
    _write_sheet(followed, images, out / "sheet.png")
    masks = np.stack([lesion_mask(image) for image in images]) > 0
    wanted = np.stack([lesion_mask(image) for image in others[rows[:: len(rows) // IMAGES + 1]]]) > 0
    return Found(
        without=losses[0],
        right=losses[1],
        wrong=losses[2],
        overlap=_overlap(masks, wanted),
        overlap_of_others=_overlap(masks, np.roll(wanted, len(wanted) // 3, axis=0)),
        steps=config.steps,
        seconds=seconds,
    )


def _log_step(trainer: ClassTrainer) -> None:
    if len(trainer.losses) % 25 == 0:
        log(f"step {len(trainer.losses)}: {np.mean(trainer.losses[-25:]):.4f}")


def _images(
    pipe: StableDiffusionPipeline, trainable: Trainable, given: ConditionImages, rows: Sequence[int]
) -> np.ndarray:
    """Generated images, one for each of these condition images."""
    with torch.no_grad(), devices.autocast(pipe.device):
        embeds = [encode_prompt(trainable.pipe, words) for words in (class_prompt(), "")]
        images = PromptedSeeds(
            prompt_embeds=embeds[0],
            negative_embeds=embeds[1],
            seeds=range(len(rows)),
            conditions=given,
            condition_index=[(row, 0) for row in rows],
        )
        return decode(pipe, sample_batch(trainable.pipe, images, SamplerConfig(batch_size=len(rows))))


def _overlap(ones: np.ndarray, others: np.ndarray) -> float:
    """Mean intersection over union of masks."""
    both, either = ((ones & others).sum((1, 2)), (ones | others).sum((1, 2)))
    return float(np.mean(both / np.maximum(either, 1)))


def _write_sheet(conditions: np.ndarray, images: np.ndarray, path: Path) -> None:
    """Rows of eight condition images, and below each the image that follows it, with the mark of a synthetic one."""
    rows = [
        np.concatenate(tiles[start : start + 8], axis=1)
        for start in range(0, len(images) - 7, 8)
        for tiles in (list(conditions), [stamped(image) for image in images])
    ]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(path)


def text(found: Found, condition: str) -> str:
    """The figures as Markdown."""
    losses = "/".join(f"{loss:.3f}" for loss in (found.without, found.right, found.wrong))
    overlaps = "/".join(f"{overlap:.2f}" for overlap in (found.overlap, found.overlap_of_others))
    cells = (condition, str(found.steps), f"{found.seconds:.0f}", losses, overlaps, "yes" if found.passes else "no")
    columns = ("condition", "steps", "seconds", "loss without/right/wrong", "IoU right/others", "passes")
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), cells))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="controlnet", description="Whether a ControlNet follows its condition.")
    parser.add_argument("--condition", choices=list(CONDITIONS), default="mask")
    parser.add_argument("--steps", type=int, default=274)
    parser.add_argument("--out", type=Path, default=Path("runs/controlnet"), help="for images and figures")
    options = parser.parse_args(arguments)
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    config = ControlNetConfig(
        condition=options.condition,
        steps=options.steps,
        learning_rate=1e-3,
        batch_size=8,
        preview_every=0,
        checkpointing_steps=10**6,
    )
    return exit_code(lambda: _run(config, options.out))


def _run(config: ControlNetConfig, out: Path) -> int:
    pipe = devices.to_device(load_base(BaseConfig()), devices.default_device(), torch.float32)
    for part in (pipe.unet, pipe.text_encoder, pipe.vae):
        part.requires_grad_(requires_grad=False)
    found = measure(pipe, pipe.unet.config.sample_size * pipe.vae_scale_factor, config, out)
    about = f"{TRAINED} phantoms, batch {config.batch_size}, learning rate {config.learning_rate:g}; {machine()}"
    print(f"{about}\n\n{text(found, config.condition)}")
    write_json(out / "controlnet.json", {"about": about, **asdict(found), "passes": found.passes})
    return 0 if found.passes else 1


if __name__ == "__main__":
    sys.exit(main())
