"""Checks of the readable images and of their split; each adds faults and warnings and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from data.doctor.examination import ImageInfo, names, same_bytes
from data.doctor.findings import Findings, in_parts
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.sources.row_checks import unused_images
from data.splits.class_counts import fill_counts, target_count
from data.splits.split import Split, SplitConfig, check_classes, few_shot, make_folds

_FEW_TESTED = 10  # leakage groups of a class in the test part


def check_files(manifest: Manifest, infos: Sequence[ImageInfo], pixels: PixelConfig, findings: Findings) -> None:
    """Warn of differing sizes and proportions, colour modes other than RGB, small images and blank ones."""
    image_names = names(manifest)
    shapes, modes = Counter(info.size for info in infos), {info.mode for info in infos}
    if len({width / height for width, height in shapes}) > 1:
        shown = {"crop": "cut to its central square", "pad": "set on black", "squash": "stretched to a square"}
        findings.warn(
            [f"images of {len(shapes)} sizes and different proportions: {most(shapes)}"],
            f"each is {shown[pixels.geometry]}; `pixels.geometry` may be crop, pad or squash",
        )
    elif len(shapes) > 1:
        findings.warn([f"images of {len(shapes)} sizes: {most(shapes)}"], "each is resized to `pixels.size`")
    odd = {
        mode: [name for name, info in zip(image_names, infos, strict=True) if info.mode == mode]
        for mode in sorted(modes - {"RGB"})
    }
    findings.warn(
        (f"{len(images):,} coded as {mode}, first {images[0]}" for mode, images in odd.items()),
        "they are read as 8-bit RGB; if one class alone has this mode, a classifier may recognise it by that",
    )
    small = [info for info in infos if min(info.size) < pixels.size]
    if small:
        least = min((info.size for info in small), key=min)
        what = (
            f"smaller than pixels.size {pixels.size}: {len(small):,} of {len(infos):,} images, down to {_pixels(least)}"
        )
        findings.warn([what], "they are enlarged, which adds no detail; lower `pixels.size`, or give larger originals")
    blank = [f"{name}: is one colour all over" for name, info in zip(image_names, infos, strict=True) if info.blank]
    findings.warn(blank, "check that it is the right image, or remove its row")
    _check_ranges(image_names, infos, findings)


def _check_ranges(image_names: Sequence[str], infos: Sequence[ImageInfo], findings: Findings) -> None:
    """Warn of images that use little of the range from black to white, by the values of white that they have."""
    for white in sorted({info.values[2] for info in infos if info.values}):
        low, high, name, n = white, 0, "", 0
        for image, info in zip(image_names, infos, strict=True):
            if info.values and info.values[2] == white:
                low, high, name, n = min(low, info.values[0]), max(high, info.values[1]), name or image, n + 1
        bits = max(8, high.bit_length())
        fix = "export them with the window that they are shown with; as they are, they are nearly of one grey"
        if white > 255 and bits < 16:  # noqa: PLR2004 - eight bits and all sixteen
            fix = f"if {bits} bits of them count, set `pixels.bits: {bits}`, so that {2**bits - 1:,} is white"
        findings.warn([f"{n:,} images use values from {low:,} to {high:,} of {white:,} alone, first {name}"], fix)


def check_unused(manifest: Manifest, findings: Findings) -> None:
    """Warn of images that lie beside those of the table."""
    for folder, unused in unused_images(manifest).items():
        findings.warn(
            [f"images below {folder} that are not used: {len(unused):,}, first {unused[0]}"],
            "they have no row, or it is left out; nothing to do if that is intended",
        )


def check_duplicates(
    manifest: Manifest, infos: Sequence[ImageInfo], duplicates: Int64[np.ndarray, "pairs 2"], findings: Findings
) -> None:
    """Report images that are there twice: a fault under two labels, otherwise a warning."""
    image_names, labels = names(manifest), manifest.table["label"].tolist()
    equal = same_bytes(infos)
    near = [pair for pair in map(tuple, duplicates.tolist()) if infos[pair[0]].sha256 != infos[pair[1]].sha256]
    for pairs, what in ((equal, "are the same file"), (near, "show nearly the same photograph")):
        findings.fault(
            (
                f"{image_names[one]} is {labels[one]!r} and {image_names[other]} {labels[other]!r}, but they {what}"
                for one, other in pairs
                if labels[one] != labels[other]
            ),
            "give both the right label, or remove one",
        )
    for pairs, what, fix in (
        (equal, "are the same file", "it counts twice; remove one"),
        (
            near,
            "are of two groups but show nearly the same photograph",
            "they are kept on one side of the split; give them one lesion or patient if they have one",
        ),
    ):
        findings.warn(
            (
                f"{image_names[one]} and {image_names[other]} {what}"
                for one, other in pairs
                if labels[one] == labels[other]
            ),
            fix,
        )


def check_split(
    manifest: Manifest,
    config: SplitConfig,
    seed: int,
    findings: Findings,
    fill_to: int | None = None,
    named: Mapping[str, int] | None = None,
) -> Split | None:
    """The study's split, with checks that each class has enough images in every fold; None if it cannot be made.

    `named`: how many images of each label the source names. What a class lacks because some of them have faults, which
    are reported, is no fault of its own.
    """
    before = len(findings.faults)
    repeated = [label for label, n in Counter(config.rare).items() if n > 1]
    findings.fault((f"split.rare names {label!r} twice" for label in repeated), "name it once")
    findings.fault([] if config.rare else ["split.rare names no class"], "name the classes that get synthetic images")
    lost = _lost(manifest, named or {})
    check_classes(manifest, config, findings.faults.append, unsure=lost)
    if len(findings.faults) > before or (lost and len(manifest.labels) < 2):  # noqa: PLR2004 - nothing to divide
        return None
    try:
        splits = list(make_folds(manifest, config, seed))
    except DataError as fault:
        findings.faults.extend([] if lost else [in_parts(str(fault))])
        return None
    for fold, split in enumerate(splits):
        where = f"fold {fold}: " if config.n_splits else ""
        _check_shots(split, replace(config, rare=_others(config.rare, lost)), seed, fill_to, where, findings)
    return splits[config.fold or 0]


def _lost(manifest: Manifest, named: Mapping[str, int]) -> set[str]:
    """The labels of which some images have faults."""
    counts = manifest.counts()
    return {label for label, n in named.items() if counts.get(label, 0) < n}


def _others(rare: Sequence[str], labels: Container[str]) -> tuple[str, ...]:
    return tuple(label for label in rare if label not in labels)


def check_seeds(manifest: Manifest, config: SplitConfig, seeds: Sequence[int], findings: Findings) -> None:
    """Report study seeds by which the images cannot be divided, or few-shot images not be drawn."""
    for seed in seeds:
        try:
            for split in make_folds(manifest, config, seed):
                for label in config.rare:
                    few_shot(split.train, label, config.shots, seed)
        except DataError as fault:
            findings.faults.append(in_parts(f"study seed {seed}: {fault}"))


def _check_shots(
    split: Split, config: SplitConfig, seed: int, fill_to: int | None, where: str, findings: Findings
) -> None:
    few = []
    for label in config.rare:
        try:
            n = len(few_shot(split.train, label, config.shots, seed))
        except DataError as fault:
            findings.faults.append(in_parts(f"{where}{fault}"))
            continue
        if n < config.shots:
            few.append(f"{where}{label!r} has {n} leakage groups in the train part, and split.shots is {config.shots}")
    findings.warn(few, "the generator is trained on all of them; add lesions, or lower `split.shots`")
    counts, added = split.train.counts(), fill_counts(split.train, config.rare, fill_to)
    full = [f"{where}{label!r} has {counts[label]:,} images to train on" for label, n in added.items() if not n]
    findings.warn(
        full,
        f"it gets no synthetic image: rare classes are filled up to {target_count(split.train, fill_to):,}, and the "
        "commonest class never is; set `fill_to`, or take it out of `split.rare`",
    )
    tested = split.test.table.groupby("label")["group_id"].nunique()
    poor = (
        f"{where}{label!r} has {n} leakage groups to be tested on" for label, n in tested.items() if n < _FEW_TESTED
    )
    findings.warn(
        poor, "its recall will have a wide interval; add lesions, or test on each fold in turn (`split.n_splits`)"
    )


def most(counts: Counter[tuple[int, int]]) -> str:
    """The commonest sizes, in words."""
    first = ", ".join(f"{_pixels(size)} ({n:,})" for size, n in counts.most_common(3))
    return f"{first} and others" if len(counts) > 3 else first  # noqa: PLR2004


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
