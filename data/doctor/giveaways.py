"""What tells a class besides what the images show: coding, size, colour, or a column of the source or the device.

A classifier learns such a sign in the place of the disease. A value is reported if all images that have it are of one
class, and so many would be by chance in less than one set of a thousand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from data.doctor.examination import ImageInfo
from data.doctor.findings import Findings
from data.manifest import Manifest
from data.sources.tables import UNKNOWN

_CHANCE = 1e-3
_COLOUR = 24  # greatest difference of an image's channels that is still grey, of 255
_ORIGIN = re.compile(
    "source|device|camera|scanner|machine|manufacturer|vendor|model|site|hospital|clinic|cent(er|re)|institut|dataset",
    re.IGNORECASE,
)  # in the name of a column that says where images come from; `source` of the manifest itself is always `real`
_BODY = re.compile("body|anatom|lesion|locali[sz]ation|primary", re.IGNORECASE)  # a site of another kind


def check_giveaways(
    manifest: Manifest, infos: Sequence[ImageInfo], pixels: UInt8[np.ndarray, "n s s 3"], findings: Findings
) -> None:
    """Warn of values of these properties that one class alone has."""
    labels = manifest.table["label"].tolist()
    coloured = (pixels.max(axis=3, initial=0) - pixels.min(axis=3, initial=255)).max(axis=(1, 2), initial=0) > _COLOUR
    properties: dict[str, Sequence[str]] = {
        "coded as {}": [info.mode for info in infos],
        "of {} pixels": [f"{info.size[0]} x {info.size[1]}" for info in infos],
        "{}": ["in colour" if colour else "in grey" for colour in coloured],
    }
    findings.warn(
        (example for words, values in properties.items() for example in _told(labels, values, words)),
        "a classifier can read the class off that; save the images of all classes alike, or leave these out",
    )
    columns = {name: manifest.table[name].tolist() for name in _origins(manifest)}
    findings.warn(
        (example for name, values in columns.items() for example in _told(labels, values, f"whose {name} is {{}}")),
        "a classifier can learn the source in the place of the disease; add images of other classes from there, or "
        "leave these out",
    )


def _origins(manifest: Manifest) -> Iterable[str]:
    """The columns that say where images come from."""
    names = (name for name in manifest.table.columns if name not in {"source", "lesion_id"})
    return (name for name in names if _ORIGIN.search(name) and not _BODY.search(name))


def _told(labels: Sequence[str], values: Sequence[str], words: str) -> Iterator[str]:
    """A sentence for each value that one class alone has."""
    classes: Mapping[str, list[str]] = defaultdict(list)
    for label, value in zip(labels, values, strict=True):
        if value.casefold() not in UNKNOWN:
            classes[value].append(label)
    for value, found in classes.items():
        share = labels.count(found[0]) / len(labels)
        if len(set(found)) == 1 and share ** len(found) < _CHANCE:
            yield f"all {len(found):,} images {words.format(value)} are {found[0]!r}, {share:.0%} of all images"
