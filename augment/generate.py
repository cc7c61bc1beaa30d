"""Draw a class's images: a folder that `datasets` reads as an image folder, and a synthetic Manifest.

An image's seed follows from the study's seed, the label and its number, and images are written as
they are drawn, so an interrupted call goes on where it stopped. metadata.csv comes last.
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from diffusers import StableDiffusionPipeline
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from augment import device, sampler
from augment.base import BaseConfig, base_identity, known_in_full, load_base, seen_by
from augment.lesson import seed_for
from augment.methods import apply_adapter, read_record
from augment.prompts import Attributes
from augment.sampler import SamplerConfig
from data.config import STRICT, to_dict
from data.errors import DataError
from data.manifest import COLUMNS, Manifest, read_table
from data.store import digest, read_json, write_json, write_text

PLAN, METADATA = "generation.json", "metadata.csv"
_WRITERS = 4  # threads; compressing releases the lock
_COMPILE_FROM = 1000  # images; below, compiling takes longer than it saves

Progress = Callable[[int, int], None]  # images there, of how many


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateConfig:
    """How the synthetic images of one class are drawn and written."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 20  # denoiser calls an image, without guidance's
    guidance: Annotated[float, Field(ge=1, le=50)] = 2.0  # 1 = none
    guidance_until: Annotated[float, Field(ge=0, le=1)] = 1.0  # share of the steps, from the first, with guidance
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32  # images; the last batch is filled up to it
    decode_batch: Annotated[int, Field(ge=1, le=4096)] = 8  # images decoded at a time
    format: Literal["jpg", "png"] = "jpg"
    quality: Annotated[int, Field(ge=50, le=100)] = 95  # of a JPEG, without chroma subsampling
    negative_prompt: str = ""

    def sampling(self) -> SamplerConfig:
        """The part that the sampler reads."""
        return SamplerConfig(
            steps=self.steps, guidance=self.guidance, guidance_until=self.guidance_until, batch_size=self.batch_size
        )


def generate(
    base: BaseConfig,
    adapter: Path | None,
    label: str,
    prompt: str,
    count: int,
    seed: int,
    config: GenerateConfig,
    out: Path,
    size: int,
    progress: Progress | None = None,
    known: Sequence[Attributes] = (),
) -> Manifest:
    """Write `count` images of `size` pixels under out/images and metadata.csv; gives their Manifest.

    No adapter means the base as it is. `known` is what is known of each of the class's real images: an image's
    prompt tells what is known of one of them, drawn by its seed. Images that an interrupted call of the same
    inputs left are kept.
    """
    plan = _plan(base, adapter, label, prompt, seed, config, size, known)
    _claim(out, plan)
    names = [f"images/{label}-{index:06d}.{config.format}" for index in range(count)]
    seeds = [seed_for(seed, label, index) for index in range(count)]
    drawn = [known[seed_for(each, "attributes") % len(known)] if known else Attributes() for each in seeds]
    for surplus in {path.relative_to(out).as_posix() for path in (out / "images").iterdir()} - set(names):
        (out / surplus).unlink()
    missing = [index for index, name in enumerate(names) if not (out / name).is_file()]
    if missing:
        pipe = _ready(base, adapter, size, len(missing))
        prompts = [drawn[index].added_to(prompt) for index in missing] if known else prompt
        batches = _draw(pipe, prompts, [seeds[index] for index in missing], config, size)
        with _Writer(out, config) as writer:
            for images in batches:
                for image in images:
                    writer.add(names[missing[writer.added]], image)
                if progress is not None:
                    progress(count - len(missing) + writer.added, count)
    write_text(out / METADATA, _metadata(plan, names, seeds, drawn if known else None))
    return synthetic_manifest(out, "synthetic", {"synthetic": out})


def synthetic_manifest(folder: Path, root_name: str, roots: Mapping[str, Path]) -> Manifest:
    """The Manifest of a folder that `generate` finished. Each image is a leakage group of its own.

    `lineage` is `adapter digest:image seed`; metadata.csv, whose columns come along, holds the rest.
    """
    drawn = read_table(folder / METADATA)
    try:
        place = folder.relative_to(roots[root_name])
    except (KeyError, ValueError) as fault:
        raise DataError(f"{folder}: does not lie under a root named {root_name!r}; known: {dict(roots)}") from fault
    ids = [f"synthetic-{Path(name).stem}" for name in drawn["file_name"]]
    columns: dict[str, Any] = {
        "image_id": ids,
        "root": root_name,
        "path": [(place / name).as_posix() for name in drawn["file_name"]],
        "label": drawn["label"],
        "group_id": ids,
        "lesion_id": "",
        "patient_id": "",
        "source": "synthetic",
        "lineage": drawn["adapter"].str[:12] + ":" + drawn["seed"],
    }
    others = drawn.drop(columns=[name for name in drawn.columns if name in COLUMNS])
    return Manifest(pd.concat([pd.DataFrame(columns, dtype=str), others], axis=1), roots)


def _plan(
    base: BaseConfig,
    adapter: Path | None,
    label: str,
    prompt: str,
    seed: int,
    config: GenerateConfig,
    size: int,
    known: Sequence[Attributes],
) -> dict[str, Any]:
    """What the images depend on, and which leakage groups were seen on the way to them."""
    record = None if adapter is None else read_record(adapter)
    attributes = {"attributes": {"images": len(known), "sha256": digest(list(known))}} if known else {}
    return {
        "label": label,
        "prompt": prompt,
        "adapter": "none" if record is None else record["sha256"],
        "base": base_identity(base),
        "seed": seed,
        "size": size,
        "sampler": sampler.NAME,
        "config": to_dict(config),
        "seen": _seen(base, {} if record is None else record["shots"]),
        **attributes,
    }


def _seen(base: BaseConfig, shots: dict[str, Any]) -> dict[str, Any]:
    """What the adapter has seen and, with it, the base; `base` is "unknown" where that one's record does not say."""
    record, seen = seen_by(base), dict(shots)
    for name, key in (("groups", "group_ids"), ("image_ids", "image_ids")):
        if isinstance(record.get(name), list):
            seen[key] = sorted({*shots.get(key, ()), *record[name]})
    return seen if known_in_full(record) else {**seen, "base": "unknown"}


def _claim(out: Path, plan: Mapping[str, Any]) -> None:
    """Make the folder this plan's own: what other inputs left there goes."""
    (out / METADATA).unlink(missing_ok=True)
    try:
        left = read_json(out / PLAN)
    except (OSError, ValueError):
        left = None
    if left != plan:
        shutil.rmtree(out / "images", ignore_errors=True)
    (out / "images").mkdir(parents=True, exist_ok=True)
    write_json(out / PLAN, plan)


def _ready(base: BaseConfig, adapter: Path | None, size: int, count: int) -> StableDiffusionPipeline:
    """The pipeline on its device; updates are added in float32 and cast afterwards."""
    pipe = load_base(base)
    sampler.require_size(pipe, size)
    if adapter is not None:
        pipe = apply_adapter(pipe, adapter, base_identity(base))
    where = device.device()
    device.place(pipe, where, device.dtype_for(where))
    if device.compiles(where) and count >= _COMPILE_FROM:
        pipe.unet.compile(fullgraph=True)
    return pipe


def _draw(
    pipe: StableDiffusionPipeline, prompts: str | list[str], seeds: Sequence[int], config: GenerateConfig, size: int
) -> Iterator[UInt8[np.ndarray, "n size size 3"]]:
    """Pixels, a batch at a time. A prompt a seed, or one for all; each distinct one is encoded once."""
    distinct = [prompts] if isinstance(prompts, str) else list(dict.fromkeys(prompts))
    row = {prompt: index for index, prompt in enumerate(distinct)}
    embedded, untold = sampler.encode_all(pipe, distinct), sampler.encode(pipe, config.negative_prompt)
    told = None if isinstance(prompts, str) else [row[prompt] for prompt in prompts]
    for latents in sampler.sample_batches(pipe, embedded, untold, seeds, config.sampling(), size, told):
        yield sampler.decode(pipe, latents, config.decode_batch)


class _Writer(contextlib.AbstractContextManager["_Writer"]):
    """Writes images behind the computation; the first failure of a thread is raised at the latest on leaving."""

    def __init__(self, out: Path, config: GenerateConfig) -> None:
        self.out, self.config, self.added = out, config, 0
        self._pool = ThreadPoolExecutor(_WRITERS)
        self._waiting: list[Future[None]] = []

    def add(self, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Queue an image."""
        self._waiting.append(self._pool.submit(self._write, self.out / name, image))
        self.added += 1
        while len(self._waiting) > 4 * self.config.batch_size:
            self._waiting.pop(0).result()

    def __exit__(self, *failure: object) -> None:
        with self._pool:
            if failure[0] is None:
                for waiting in self._waiting:
                    waiting.result()

    def _write(self, path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Under another name first, so that a file that is there is whole."""
        temporary = path.with_name(f".{path.name}.tmp")
        if self.config.format == "jpg":
            Image.fromarray(image).save(temporary, "JPEG", quality=self.config.quality, subsampling=0)
        else:
            Image.fromarray(image).save(temporary, "PNG")
        temporary.replace(path)


def _metadata(
    plan: Mapping[str, Any], names: Sequence[str], seeds: Sequence[int], drawn: Sequence[Attributes] | None
) -> str:
    """One row an image; `file_name` first, as image folders want it."""
    config, base = plan["config"], plan["base"]
    common = {
        "label": plan["label"],
        "adapter": plan["adapter"],
        "base": f"{base.get('source')}@{str(base.get('sha256') or base.get('revision'))[:12]}",
        "prompt": plan["prompt"],
        "negative_prompt": config["negative_prompt"],
        "steps": config["steps"],
        "guidance": config["guidance"],
        "guidance_until": config["guidance_until"],
        "sampler": plan["sampler"],
        "recipe": digest(plan)[:12],
    }
    rows = [{"file_name": name, **common, "seed": seed} for name, seed in zip(names, seeds, strict=True)]
    for row, known in zip(rows, drawn or (), strict=bool(drawn)):
        row["prompt"] = known.added_to(plan["prompt"])
        row |= {f"prompt_{name}": value for name, value in asdict(known).items()}
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else ["file_name", *common, "seed"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
