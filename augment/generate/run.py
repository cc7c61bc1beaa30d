"""Draw a class's images: a folder that `datasets` reads as an image folder, and a synthetic Manifest.

An image's seed follows from the study's seed, the label and its number, and images are written as
they are drawn, so an interrupted call goes on where it stopped. metadata.csv comes last.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.provenance import base_provenance
from augment.diffusion import sample as sampler
from augment.diffusion.samplers import NAMES
from augment.finetune.examples import seed_for
from augment.generate.batches import draw
from augment.generate.config import GenerateConfig
from augment.generate.image_writer import ImageWriter
from augment.generate.pipeline import Wardrobe
from augment.methods import read_record
from augment.prompts import Attributes
from data.errors import DataError
from data.manifest import COLUMNS, Manifest, read_table
from data.splits.provenance import Provenance
from data.store import digest, read_json, write_json, write_text

__all__ = ["GenerateConfig", "generate", "synthetic_manifest"]

PLAN, METADATA = "generation.json", "metadata.csv"

Progress = Callable[[int, int], None]  # images there, of how many


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
    wardrobe: Wardrobe | None = None,
) -> Manifest:
    """Write `count` images of `size` pixels under out/images and metadata.csv; gives their Manifest.

    No adapter means the base as it is. `known` is what is known of each of the class's real images: an image's
    prompt tells what is known of one of them, drawn by its seed. Images that an interrupted call of the same
    inputs left are kept. With a `wardrobe` of that base nothing is loaded that another class has loaded before.
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
        pipe = (wardrobe or Wardrobe(base)).wear(adapter, config, len(missing))
        sampler.require_size(pipe, size)
        prompts = [drawn[index].added_to(prompt) for index in missing] if known else prompt
        batches = draw(pipe, prompts, [seeds[index] for index in missing], config, size)
        with ImageWriter(out, config.format, config.quality, ahead=4 * config.batch_size) as writer:
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
        "sampler": NAMES[config.levels],
        "config": {"schedule": config.schedule, **config.recipe(), "batch_size": config.batch_size},
        "seen": _seen(base, {} if record is None else record["shots"], others=bool(config.draft or config.taesd)),
        **attributes,
    }


def _seen(base: BaseConfig, shots: Mapping[str, Any], *, others: bool = False) -> dict[str, Any]:
    """What the adapter has seen and, with it, the base; `base` is "unknown" where that one's record does not say.

    Nor does anyone know what a distilled part of others has seen.
    """
    own = Provenance.from_record(shots) if shots else Provenance()
    seen = (own | base_provenance(base)).to_record()
    return seen if seen.pop("is_complete") and not others else {**seen, "base": "unknown"}


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
        "schedule": config["schedule"],
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
