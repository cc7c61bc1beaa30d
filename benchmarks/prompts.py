"""Does emphasis move images, by its weight? The projection on the class's direction, and images of equal seeds.

    python benchmarks/prompts.py [--base tiny] [--word melanoma] [--out runs/prompts]

The prompt is `dermoscopy of a (WORD:weight)`. Its embedding is projected on the direction from *skin lesion* to the
word, where 0 is the first and 1 the second; images differ from those at weight 1 by so many grey levels. Last a prompt
that is longer than the text encoder: what its last word changes, which is nothing where the rest is cut off. Figures
and a sheet, one row a weight, are written to --out.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.conditioning import encode_prompt
from augment.diffusion.decode import decode
from augment.diffusion.prompt_chunks import count_chunks
from augment.diffusion.sample import PromptedSeeds, SamplerConfig, sample_batch
from augment.generate.mark import stamped
from data.errors import exit_code
from data.store import write_json

WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
SEEDS = 8
SAMPLER = SamplerConfig(steps=20, guidance_scale=3.0, batch_size=SEEDS)
LONG = "dermoscopy of a {}, " + "round, brown, on pale skin, " * 4 + "with a {} border"


@dataclass(frozen=True)
class Row:
    """One weight."""

    weight: float
    projection: float  # 0: skin lesion, 1: the word at weight 1
    difference: float  # root mean square of the images' difference to those at weight 1, in grey levels


def measure(pipe: StableDiffusionPipeline, word: str) -> tuple[list[Row], dict[float, np.ndarray]]:
    """The rows, and the images of each weight."""
    plain, other = (encode_prompt(pipe, f"dermoscopy of a {words}") for words in (word, "skin lesion"))
    direction, images = plain - other, dict[float, np.ndarray]()
    embeds = {weight: encode_prompt(pipe, f"dermoscopy of a ({word}:{weight})") for weight in WEIGHTS}
    for weight, own in embeds.items():
        images[weight] = _images(pipe, own)
    rows = [
        Row(
            weight,
            float(((own - other) * direction).sum() / direction.square().sum()),
            float(np.sqrt(np.mean((images[weight].astype(float) - images[1.0]) ** 2))),
        )
        for weight, own in embeds.items()
    ]
    return rows, images


def last_word(pipe: StableDiffusionPipeline, word: str) -> tuple[int, float]:
    """Chunks of a long prompt, and how far its last word moves the embedding, as a share of its norm."""
    smooth, ragged = (LONG.format(word, border) for border in ("smooth", "ragged"))
    first, second = (encode_prompt(pipe, prompt) for prompt in (smooth, ragged))
    return count_chunks(pipe, [smooth]), float((first - second).norm() / first.norm())


def _images(pipe: StableDiffusionPipeline, embeds: Float[Tensor, "1 tokens width"]) -> np.ndarray:
    prompted = PromptedSeeds(prompt_embeds=embeds, negative_embeds=encode_prompt(pipe, ""), seeds=range(SEEDS))
    with torch.inference_mode():
        return decode(pipe, sample_batch(pipe, prompted, SAMPLER))


def _write_sheet(images: dict[float, np.ndarray], path: Path) -> None:
    """A row a weight; each image bears the mark of a synthetic one."""
    rows = [np.concatenate([stamped(image) for image in own], axis=1) for own in images.values()]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.LANCZOS).save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code: 1 where the projection does not rise, or a last word is cut off."""
    parser = argparse.ArgumentParser(prog="prompts", description="Emphasis in prompts, and prompts of any length.")
    parser.add_argument("--base", default="tiny", help="base.source of a study (default: tiny)")
    parser.add_argument("--word", default="melanoma", help="a class that the base knows (default: melanoma)")
    parser.add_argument("--out", type=Path, default=Path("runs/prompts"), help="for the sheet and figures")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(load_base(BaseConfig(source=options.base)), options.word, options.out))


def _run(pipe: StableDiffusionPipeline, word: str, out: Path) -> int:
    rows, images = measure(pipe, word)
    chunks, moved = last_word(pipe, word)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "prompts.json", {"rows": [asdict(row) for row in rows], "chunks": chunks, "last_word": moved})
    _write_sheet(images, out / "sheet.png")
    print("| weight | projection on the class | grey levels from weight 1 |\n|---|---|---|")
    for row in rows:
        print(f"| {row.weight:g} | {row.projection:.2f} | {row.difference:.1f} |")
    print(f"\nA prompt of {chunks} chunks: its last word moves the embedding by {100 * moved:.2f} % of its norm.")
    found = [row.projection for row in rows]
    return 0 if found == sorted(found) and moved > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
