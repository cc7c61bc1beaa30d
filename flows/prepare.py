"""From images to a split: read or draw them, join them into leakage groups, divide them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.base.config import base_identity, seen_by, seen_with
from classify.arms import limit_to_shots
from data.errors import ConfigError, DataError
from data.files.archives import sha256_of, stamp_of
from data.manifest import PART, Manifest
from data.pixels import PixelConfig, load_pixels
from data.sources.load import load_manifest
from data.splits.duplicates import Links, leakage_groups
from data.splits.split import PARTS, Split, few_shot, make_split, random_split_leakage
from data.store import digest, read_json, write_json
from flows.steps import Done, Step, Watch
from flows.study import StudyConfig, inputs, settings

LEDGER = "ledger.json"  # of the split; the run's own, which binds all of its parts, is flows.ledger's


@dataclass(frozen=True, kw_only=True)
class Images(Done):
    """The data set, and the SHA-256 of every image's bytes by its id."""

    manifest: Manifest
    contents: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """What was read, in words; images that lie in a folder are read anew by every run."""
        found = f"{len(self.manifest):,} images of {len(self.manifest.labels)} classes"
        return f"{found}, kept from before" if self.reused else f"{found}, {self.seconds:.0f} s"

    def identity_of(self, part: Manifest) -> str:
        """Digest of a part's table and of its images' bytes, wherever they lie."""
        return self.identity(part, self.contents)

    @staticmethod
    def identity(part: Manifest, contents: Mapping[str, str]) -> str:
        """Digest of a table and of its images' bytes, whose SHA-256 are given by id."""
        return digest(part.digest(), [contents[image] for image in part.table["image_id"]])


def read_images(config: StudyConfig, watch: Watch) -> Images:
    """Read the configured images; phantoms are drawn, once."""
    start = time.perf_counter()
    drawn: list[int] = []

    def drawing(done: int, total: int) -> None:
        drawn.append(done)
        watch(done, total)

    folder = Path(config.runs) / "data"
    manifest = load_manifest(config.data, folder, drawing)
    contents = contents_of(manifest, Path(config.runs) / "cache" / "contents.json")
    seconds = round(time.perf_counter() - start, 2)
    kept = config.data.source == "phantom" and not drawn
    done = Done(stage="read images", what=config.data.source, seconds=seconds, reused=kept, folder=folder)
    return Images(**vars(done), manifest=manifest, contents=contents)


def split_step(config: StudyConfig, images: Images) -> Step:
    """Divide the images, none of whose leakage groups stands in two parts."""
    geometry = config.pixels.geometry  # near-duplicates are looked for in images so cut
    depends = inputs(
        "split",
        images=images.identity_of(images.manifest),
        split=settings(config.split, *(() if config.split.folds else ("folds", "fold"))),
        seed=config.study_seed,
        base=base_identity(config.base),
        **({} if geometry == "crop" else {"geometry": geometry}),
    )

    def make(folder: Path, watch: Watch) -> None:
        small = PixelConfig(size=64, geometry=geometry)
        pixels = load_pixels(images.manifest, small, Path(config.runs) / "cache", watch)
        joined, links = leakage_groups(images.manifest, pixels)
        split = make_split(joined, config.split, config.study_seed)
        for name, part in split.parts().items():
            part.write(folder / f"{name}.csv")
        write_json(folder / LEDGER, _ledger(config, joined, links, split))

    return Step(stage="split", what="", folder=config.folder / "split", inputs=depends, make=make, heavy=False)


def read_split(folder: Path, roots: Mapping[str, Path]) -> Split:
    """Read the split that a step wrote."""
    train, validation, test = (Manifest.read(folder / f"{name}.csv", roots) for name in PARTS)
    left_out = read_json(folder / LEDGER).get("left_out", ())  # a split of before there was one has none
    return Split(train, validation, test, frozenset(left_out))


def shots_of(config: StudyConfig, split: Split) -> dict[str, Manifest]:
    """Choose the few images of each rare class that the generator may see."""
    few = config.split.shots
    return {label: few_shot(split.train, label, few, config.study_seed) for label in config.split.rare}


def base_part(config: StudyConfig, split: Split) -> Manifest:
    """Choose what the study's own base is trained on: of the train part, and of no rare class that is not named.

    Where rare classes are limited to their shots, the base sees no more of them either. Raises ConfigError.
    """
    limited = config.split.limit_real_to_shots
    train = limit_to_shots(split.train, shots_of(config, split)) if limited else split.train
    named = config.base.own.classes if config.base.own else ()
    strange = sorted(set(named) - set(train.labels))
    if strange:
        raise ConfigError(
            f"base.pretrain.classes names {strange[0]!r}, which no image bears; labels: {', '.join(train.labels)}"
        )
    classes = named or [label for label in train.labels if label not in config.split.rare]
    if not classes:
        raise ConfigError(
            "split.rare holds every class, so the base would see none; name some in base.pretrain.classes"
        )
    return train.where(train.table["label"].isin(classes))


def _ledger(config: StudyConfig, joined: Manifest, links: Links, split: Split) -> dict[str, Any]:
    """Record what was joined and divided, and what would have leaked otherwise."""
    official = PART in joined.table
    share = len(split.test) / len(joined) if official else config.split.test_share
    by_share = f"fold {config.split.fold} of {config.split.folds}" if config.split.folds else "by share"
    leaked = random_split_leakage(joined, share, config.study_seed)
    shots = shots_of(config, split)
    groups = [set(part.table["group_id"]) for part in split.parts().values()]
    return {
        "test": "official" if official else by_share,
        "left_out": sorted(split.left_out),
        "groups": joined.table["group_id"].nunique(),
        "links": asdict(links),
        "parts": {name: _counts(part) for name, part in split.parts().items()},
        "shared_groups": sum(map(len, groups)) - len(set.union(*groups)),
        "random_split": leaked.to_dict("records"),
        "seen": {
            "base": _seen_by_base(config, split),
            "finetune": {label: sorted(set(few.table["group_id"])) for label, few in shots.items()},
        },
    }


def _seen_by_base(config: StudyConfig, split: Split) -> dict[str, Any]:
    """Record what the base has seen or, if it is the study's own, what it is going to see."""
    if config.base.own is None:
        return seen_by(config.base)
    return seen_with(base_part(config, split), config.base.start())


def _counts(part: Manifest) -> dict[str, Any]:
    lesions = part.table["lesion_id"].where(part.table["lesion_id"] != "", part.table["group_id"])
    return {
        "images": len(part),
        "lesions": int(lesions.nunique()),
        "groups": int(part.table["group_id"].nunique()),
        "by_class": part.counts(),
    }


def contents_of(manifest: Manifest, known: Path) -> dict[str, str]:
    """Hash every image; a file whose path, size and mtime are as before is not read again. Raises DataError."""
    try:
        before = read_json(known)
    except (OSError, ValueError):
        before = {}
    after, found = dict(before), {}
    for image, path in zip(manifest.table["image_id"], manifest.paths(), strict=True):
        try:
            size, mtime_ns = stamp_of(path)
            key = f"{path.resolve()}|{size}|{mtime_ns}"
            after[key] = found[image] = before.get(key) or sha256_of(path)
        except OSError as fault:
            raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); restore it, or its rights") from fault
    if after != before:
        write_json(known, after)
    return found
