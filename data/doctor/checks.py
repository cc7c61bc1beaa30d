"""What the doctor looks for once the images can be read: each check tells faults and remarks, and mends nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int64

from data.doctor.examination import Look, names, same_bytes
from data.errors import DataError, Fault
from data.files.archives import image_files
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.splits.class_counts import fill_counts, level
from data.splits.split import Split, SplitConfig, check_classes, few_shot, make_folds

_FEW_TESTED = 10  # lesion groups of a class in the test part


@dataclass(frozen=True)
class Notes:
    """What was found: faults stop a study or make it wrong; remarks are worth knowing."""

    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)

    def fault(self, cases: Iterable[str], mend: str) -> None:
        """Note a fault, if there is a case of it."""
        if found := tuple(cases):
            self.faults.append(Fault("", found, mend))

    def remark(self, cases: Iterable[str], mend: str = "") -> None:
        """Note a remark, if there is a case of it."""
        if found := tuple(cases):
            self.remarks.append(Fault("", found, mend))


def check_files(manifest: Manifest, looks: Sequence[Look], pixels: PixelConfig, notes: Notes) -> None:
    """Look for odd sizes and ways of coding, blank images, and images that no row names."""
    called = names(manifest)
    shapes, kinds = Counter(look.size for look in looks), {look.kind for look in looks}
    if len({width / height for width, height in shapes}) > 1:
        shown = {"crop": "cut to its central square", "pad": "set on black", "squash": "stretched to a square"}
        notes.remark(
            [f"images of {len(shapes)} sizes and different proportions: {most(shapes)}"],
            f"each is {shown[pixels.geometry]}; `pixels.geometry` may be crop, pad or squash",
        )
    elif len(shapes) > 1:
        notes.remark([f"images of {len(shapes)} sizes: {most(shapes)}"], "each is resized to `pixels.size`")
    odd = {
        kind: [name for name, look in zip(called, looks, strict=True) if look.kind == kind]
        for kind in sorted(kinds - {"RGB"})
    }
    notes.remark(
        (f"{len(images):,} coded as {kind}, first {images[0]}" for kind, images in odd.items()),
        "they are read as 8-bit RGB; see that no class is coded in a way of its own, which would tell it",
    )
    small = [look for look in looks if min(look.size) < pixels.size]
    if small:
        least = min((look.size for look in small), key=min)
        what = f"smaller than pixels.size {pixels.size}: {len(small):,} of {len(looks):,} images, down to {_by(least)}"
        notes.remark([what], "they are enlarged, which adds no detail; lower `pixels.size`, or give larger originals")
    blank = [f"{name}: is one colour all over" for name, look in zip(called, looks, strict=True) if look.blank]
    notes.remark(blank, "look whether it is the image that is meant, or remove its row")


def check_unused(manifest: Manifest, notes: Notes) -> None:
    """Look for images that lie beside those of the table."""
    used = set(manifest.paths())
    for folder in set(manifest.roots.values()):
        unused = [path.relative_to(folder).as_posix() for path in image_files(folder) if path not in used]
        if unused:
            notes.remark(
                [f"images below {folder} that are not used: {len(unused):,}, first {unused[0]}"],
                "they have no row, or it is left out; nothing need be done if that is meant",
            )


def check_twins(
    manifest: Manifest, looks: Sequence[Look], duplicates: Int64[np.ndarray, "pairs 2"], notes: Notes
) -> None:
    """Look for an image that is there twice, and for one that has two labels."""
    called, labels = names(manifest), manifest.table["label"].tolist()
    equal = same_bytes(looks)
    near = [pair for pair in map(tuple, duplicates.tolist()) if looks[pair[0]].sha256 != looks[pair[1]].sha256]
    for pairs, what in ((equal, "are the same file"), (near, "show nearly the same photograph")):
        notes.fault(
            (
                f"{called[one]} is {labels[one]!r} and {called[other]} {labels[other]!r}, but they {what}"
                for one, other in pairs
                if labels[one] != labels[other]
            ),
            "give both the right label, or remove one",
        )
    for pairs, what, mend in (
        (equal, "are the same file", "it counts twice; remove one"),
        (
            near,
            "are of two groups but show nearly the same photograph",
            "they are kept on one side of the split; give them one lesion or patient if they have one",
        ),
    ):
        notes.remark(
            (f"{called[one]} and {called[other]} {what}" for one, other in pairs if labels[one] == labels[other]), mend
        )


def check_split(
    manifest: Manifest, config: SplitConfig, seed: int, notes: Notes, fill_to: int | None = None
) -> Split | None:
    """Divide the images as a study would, into every fold, and look whether each class has enough; give its split."""
    before = len(notes.faults)
    repeated = [label for label, n in Counter(config.rare).items() if n > 1]
    notes.fault((f"split.rare names {label!r} twice" for label in repeated), "name it once")
    notes.fault([] if config.rare else ["split.rare names no class"], "name the classes that get synthetic images")
    check_classes(manifest, config, notes.faults.append)
    if len(notes.faults) > before:
        return None
    try:
        splits = list(make_folds(manifest, config, seed))
    except DataError as fault:
        notes.faults.append(in_parts(str(fault)))
        return None
    for fold, split in enumerate(splits):
        _check_shots(split, config, seed, fill_to, f"fold {fold}: " if config.folds else "", notes)
    return splits[config.fold]


def in_parts(line: str) -> Fault:
    """Take an error's line apart into what is wrong and its mend."""
    what, _, mend = line.rpartition("; ")
    return Fault("", (what,), mend) if what else Fault("", (mend,), "")


def _check_shots(split: Split, config: SplitConfig, seed: int, fill_to: int | None, where: str, notes: Notes) -> None:
    few = []
    for label in config.rare:
        try:
            n = len(few_shot(split.train, label, config.shots, seed))
        except DataError as fault:
            notes.faults.append(in_parts(f"{where}{fault}"))
            continue
        if n < config.shots:
            few.append(f"{where}{label!r} has {n} lesion groups in the train part, and split.shots is {config.shots}")
    notes.remark(few, "the generator sees all that there are; add lesions, or lower `split.shots`")
    counts, added = split.train.counts(), fill_counts(split.train, config.rare, fill_to)
    full = [f"{where}{label!r} has {counts[label]:,} images to train on" for label, n in added.items() if not n]
    notes.remark(
        full,
        f"it gets no synthetic image: rare classes are filled up to {level(split.train, fill_to):,}, and the commonest "
        "class never is; set `fill_to`, or take it out of `split.rare`",
    )
    tested = split.test.table.groupby("label")["group_id"].nunique()
    poor = (f"{where}{label!r} has {n} lesion groups to be tested on" for label, n in tested.items() if n < _FEW_TESTED)
    notes.remark(
        poor, "its recall will have a wide interval; add lesions, or test on each fold in turn (`split.folds`)"
    )


def most(counts: Counter[tuple[int, int]]) -> str:
    """Name the commonest sizes."""
    first = ", ".join(f"{_by(size)} ({n:,})" for size, n in counts.most_common(3))
    return f"{first} and others" if len(counts) > 3 else first  # noqa: PLR2004


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
