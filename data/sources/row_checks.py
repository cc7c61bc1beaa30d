"""Checks of a table's rows, and the image file of each row.

Faults are reported as in `data.sources.tables`: the first one is raised, or all are given to `on_fault`.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from data.errors import OnFault, refuse
from data.files.archives import image_files, same_bytes, without_suffix
from data.manifest import Manifest
from data.sources.near_names import NearNames, visible
from data.sources.tables import report

_LONGEST = 100  # bytes of a label, to which a folder's name adds a digest and more
_FORBIDDEN = frozenset('/\\:*?"<>|')


def check_rows(path: Path, rows: pd.DataFrame, on_fault: OnFault = refuse) -> pd.DataFrame:
    """The rows without faults: repeated images, empty labels, labels that look alike, a lesion with two labels."""
    for name in ("image_id", "label"):
        empty = (f"row {number} has no {name}" for number in rows.index[rows[name] == ""])
        report(on_fault, path, empty, "fill it in or remove the row")
    named = rows[(rows["image_id"] != "") & (rows["label"] != "")]
    report(on_fault, path, _repeated_images(named), "remove one")
    check_alike(path, named["label"], on_fault)
    report(on_fault, path, _lesions_with_two_labels(named), "give it one label, or each its own lesion")
    return named[~named["image_id"].duplicated()]


def check_alike(where: object, labels: Iterable[str], on_fault: OnFault = refuse) -> None:
    """Report labels that a reader takes for one."""
    report(on_fault, where, _alike(sorted(set(labels))), "give both one name in `label_map`")


def check_labels(where: object, rows: pd.DataFrame, on_fault: OnFault = refuse) -> pd.DataFrame:
    """The rows whose labels can be names of folders and of columns; `check_alike` reports those that look alike."""
    labels = sorted(set(rows["label"]))
    twins = {label for label in labels for other in labels if label != other and _folded(label) == _folded(other)}
    wrong = {label: fault for label in labels if (fault := _label_fault(label))}
    examples = (f"the label {label[:40]!r} {fault}" for label, fault in wrong.items() if label not in twins)
    report(on_fault, where, examples, "give it another name in `label_map`")
    return rows[~rows["label"].isin(wrong)]


def _label_fault(label: str) -> str:
    """Why a label cannot be a class's name; empty if it can."""
    if label == "image":
        return "is the name of a column of every table of predictions"
    if len(label.encode(errors="surrogatepass")) > _LONGEST:
        return f"has more than {_LONGEST} bytes, which is too long for a folder's name"
    found = next((character for character in label if character in _FORBIDDEN or not character.isprintable()), "")
    if found:
        return f"holds {found!r}, which a folder's name cannot have"
    if label != label.strip():
        return "begins or ends with a blank"
    return "begins or ends with a dot" if label.startswith(".") or label.endswith(".") else ""


def exclude_images(
    where: object, rows: pd.DataFrame, images: Sequence[str], on_fault: OnFault = refuse
) -> pd.DataFrame:
    """The rows of all other images."""
    unknown = sorted(set(images) - set(rows["image_id"]))
    report(on_fault, where, (f"has no image {image!r}" for image in unknown), "take it out of `exclude_ids`")
    return rows[~rows["image_id"].isin(images)]


def find_images(
    path: Path, rows: pd.DataFrame, folder: Path, places: Iterable[str], on_fault: OnFault = refuse
) -> pd.Series[str]:
    """Each row's image in these folders below `folder`: the path relative to `folder`, by row number."""
    images = _index(folder, places)
    found, unclear, missing = {}, [], defaultdict(list)
    near = NearNames(folder, (path for paths in images.values() for path in paths))
    for number, name in rows["file"].items():
        candidates = images.get(_composed(name.replace("\\", "/").removeprefix("./")), [])
        if not candidates:
            instead, fix = near.explain(name)
            missing[fix].append(f"row {number}: no image {name!r} below {folder}{instead}")
        elif any(not same_bytes(folder / candidates[0], folder / other) for other in candidates[1:]):
            unclear.append(f"row {number}: {name!r} may be {candidates[0]} or {candidates[1]}")
        else:
            found[number] = candidates[0]
    paths = pd.Series(found, dtype=str)
    twice = (f"rows {one} and {other} mean the same file {file}" for file, one, other in _repeated(paths))
    absent = ((examples, fix) for fix, examples in missing.items())
    for examples, fix in ((unclear, "write its path"), *absent, (twice, "remove one")):
        report(on_fault, path, examples, fix)
    return paths[~paths.duplicated()]


def unused_images(manifest: Manifest) -> dict[Path, list[str]]:
    """The images below each of the manifest's folders that no row names; folders without any are left out."""
    used = set(manifest.paths())
    unused = {
        folder: [path.relative_to(folder).as_posix() for path in image_files(folder) if path not in used]
        for folder in set(manifest.roots.values())
    }
    return {folder: paths for folder, paths in unused.items() if paths}


def _repeated_images(rows: pd.DataFrame) -> Iterator[str]:
    for image, one, other in _repeated(rows["image_id"]):
        label, another = rows["label"][one], rows["label"][other]
        labels = "" if label == another else f" as {label!r} and {another!r}"
        yield f"rows {one} and {other} both are image {image!r}{labels}"


def _alike(labels: Sequence[str]) -> Iterator[str]:
    """Labels that a reader takes for one."""
    groups = defaultdict(list)
    for label in labels:
        groups[_folded(label)].append(label)
    for _, alike in sorted(groups.items()):
        if len(alike) > 1:
            yield f"the labels {' and '.join(map(_shown, alike))} differ in {_difference(alike)} alone"


def _folded(label: str) -> str:
    return visible(label).casefold()


def _difference(labels: Sequence[str]) -> str:
    if len({label.casefold() for label in labels}) == 1:
        return "case"
    if len({unicodedata.normalize("NFC", label) for label in labels}) == 1:
        return "their Unicode normal form"
    return "blanks" if all(label.isprintable() for label in labels) else "an invisible character"


def _shown(label: str) -> str:
    """The label; in quotes where its blanks matter, in escapes where more cannot be seen."""
    if label.isprintable() and unicodedata.is_normalized("NFC", label):
        return label if label == visible(label) else repr(label)
    return ascii(label)


def _lesions_with_two_labels(rows: pd.DataFrame) -> Iterator[str]:
    known = rows[rows["lesion_id"] != ""]
    for lesion, same in known[known.groupby("lesion_id")["label"].transform("nunique") > 1].groupby("lesion_id"):
        one, other = same.drop_duplicates("label").index[:2]
        yield f"lesion {lesion!r} is {same['label'][one]!r} in row {one} and {same['label'][other]!r} in row {other}"


def _repeated(values: pd.Series[str]) -> Iterator[tuple[str, int, int]]:
    """Each repeated value, with its first row and the row of the repetition."""
    for value, same in values[values.duplicated(keep=False)].groupby(values):
        first, *others = same.index
        yield from ((str(value), first, other) for other in others)


def _index(folder: Path, places: Iterable[str]) -> dict[str, list[str]]:
    """Paths below `folder` by what a table may call the image: path or name, with or without suffix."""
    index: dict[str, list[str]] = defaultdict(list)
    for place in places:
        for file in image_files(folder / place, folder):
            path = file.relative_to(folder).as_posix()
            below = file.relative_to(folder / place).as_posix()
            for name in {path, below, file.name} | {without_suffix(n) for n in (path, below, file.name)}:
                index[_composed(name)].append(path)
    return index


def _composed(name: str) -> str:
    """A file's name in the normal form that most tables have; macOS writes the other."""
    return unicodedata.normalize("NFC", name)
