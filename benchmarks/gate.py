"""Does the gate catch copies, and leave other lesions alone? Measured on phantoms, and on HAM10000 where it is given.

For each class the limit is set on the train part. Then copies are planted, of photographs and with changes that the
limit has not seen, and photographs of the validation part stand for images of other lesions. Two photographs of one
lesion are the positive control: they show the same thing, but are no copies. Test parts are not read.

    python benchmarks/gate.py [--ham10000 FOLDER] [--most 100] [key=value ...]
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from study_plan import StderrRunner

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.generate.copies import nearest
from augment.generate.planted import CHANGES, Pixels, planted
from augment.generate.select import CopyControl, Photographs, copy_control
from data.coding import reconstruct
from data.errors import exit_code
from data.manifest import Manifest
from data.pixels import load_pixels
from data.store import write_json
from flows.prepare import prepare
from flows.prepared import Prepared
from flows.study import StudyConfig, load_study

CODED = "through the autoencoder"
PHANTOMS = 500_100  # seed of the phantoms, which no study has
_PLANTED = 30  # photographs a class whose copies the limit is set by, as in a study
_SETTINGS = ("arms=[real]", "classifier.model=efficientnet_b0", "classifier.weights=none")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One class: images above the limit and all, by kind."""

    images: str  # phantoms or HAM10000, and what of the train part is compared
    label: str
    photographs: int  # of the class in the train part
    limit: float
    alarms: tuple[int, int]  # validation photographs
    caught: dict[str, tuple[int, int]]  # by change
    twins: tuple[int, int]


class Studied:
    """The photographs of a study's train and validation part."""

    def __init__(self, prepared: Prepared, name: str, seed: int = 1) -> None:
        self.prepared, self.name, self.seed = prepared, name, seed
        self.vae = load_base(BaseConfig()).vae

    @cached_property
    def train(self) -> Photographs:
        """What images are compared with."""
        part = self.prepared.train
        labels, groups, lesions = (part.table[name].to_numpy(str) for name in ("label", "group_id", "lesion_id"))
        return Photographs(pixels=self.pixels(part), labels=labels, groups=groups, lesions=lesions)

    def pixels(self, part: Manifest) -> Pixels:
        """Decoded images."""
        return load_pixels(part, self.prepared.study.pixels, self.prepared.study.cache)

    def measure(self, label: str, most: int) -> Measured:
        """The figures of one class."""
        own = self.train.pixels[self.train.labels == label]
        order = self._order(own)
        unseen = order[_PLANTED:][:most] if len(order) > 2 * _PLANTED else order[:most]
        control = self.control(label)
        others = self.pixels(self.prepared.split.validation.of(label))[:most]
        copies = self._copies(own[unseen], self.seed + 1)
        return Measured(
            images=self.name,
            label=label,
            photographs=len(own),
            limit=control.limit,
            alarms=self.above(others, control),
            caught={change: self.above(images, control) for change, images in copies.items()},
            twins=_above(control.twins, control.limit),
        )

    def control(self, label: str) -> CopyControl:
        """The limit of a class, set by changed copies of some of its photographs."""
        own = self.train.pixels[self.train.labels == label]
        copies = self._copies(own[self._order(own)[:_PLANTED]], self.seed)
        return copy_control(self.train, label, copies, self.seed)

    def _order(self, own: Pixels) -> NDArray[np.int64]:
        return np.random.default_rng(self.seed).permutation(len(own))

    def _copies(self, photographs: Pixels, seed: int) -> dict[str, Pixels]:
        changed = {change: planted(photographs, change, seed) for change in CHANGES}
        return changed | {CODED: reconstruct(self.vae, photographs)}

    def above(self, images: Pixels, control: CopyControl) -> tuple[int, int]:
        """How many images count as copies of a photograph of the train part, and of how many."""
        return _above(nearest(images, self.train.pixels, self.train.groups).excess, control.limit)


def _above(excess: NDArray[np.float64], limit: float) -> tuple[int, int]:
    return int((excess > limit).sum()), len(excess)


def measured(study: StudyConfig, name: str, most: int) -> Iterator[Measured]:
    """Every class against the whole train part, then the rare ones against their few shots and all others."""
    whole = dataclasses.replace(study.split, limit_real_to_shots=False)
    prepared = prepare(dataclasses.replace(study, split=whole), StderrRunner())
    studied = Studied(prepared, name)
    yield from (studied.measure(label, most) for label in prepared.train.labels)
    few = dataclasses.replace(study.split, limit_real_to_shots=True)
    limited = dataclasses.replace(prepared, study=dataclasses.replace(study, split=few))
    studied = Studied(limited, f"{name}, few shots")
    yield from (studied.measure(label, most) for label in study.split.rare)


def table(rows: Sequence[Measured]) -> str:
    """The figures as Markdown, with a line for all classes of each kind of images."""
    head = "| images | class | photographs | limit | other lesions above | twins above | "
    lines = [head + " | ".join(f"caught: {change}" for change in rows[0].caught) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    for name in dict.fromkeys(row.images for row in rows):
        of = [row for row in rows if row.images == name]
        lines += [_line(row) for row in of] + [_line(_total(of))]
    return "\n".join(lines)


def _total(rows: Sequence[Measured]) -> Measured:
    def add(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    return Measured(
        images=rows[0].images,
        label="all",
        photographs=sum(row.photographs for row in rows),
        limit=float("nan"),
        alarms=add([row.alarms for row in rows]),
        caught={change: add([row.caught[change] for row in rows]) for change in rows[0].caught},
        twins=add([row.twins for row in rows]),
    )


def _line(row: Measured) -> str:
    limit = "" if np.isnan(row.limit) else f"{row.limit:.3f}"
    shares = [_share(pair) for pair in (row.alarms, row.twins, *row.caught.values())]
    return f"| {row.images} | {row.label} | {row.photographs:,} | {limit} | " + " | ".join(shares) + " |"


def _share(pair: tuple[int, int]) -> str:
    above, n = pair
    return f"{above}/{n} = {100 * above / n:.1f} %" if n else "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="gate", description="Copies caught, and false alarms on other lesions.")
    parser.add_argument("--ham10000", help="folder of HAM10000, whose train and validation parts are read too")
    parser.add_argument("--without-phantoms", action="store_true", help="measure on HAM10000 alone")
    parser.add_argument("--most", type=int, default=100, help="photographs a class and kind (default: 100)")
    parser.add_argument("overrides", nargs="*", help="settings of the studies, as key=value")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    studies = {}
    if not options.without_phantoms:
        own = (*_SETTINGS, f"data.phantom.seed={PHANTOMS}", *options.overrides)
        studies["phantoms"] = load_study("configs/demo.yaml", own)
    if options.ham10000:
        own = (*_SETTINGS, f"data.folder={options.ham10000}", *options.overrides)
        studies["HAM10000"] = load_study("configs/ham10000-small.yaml", own)
    rows = list[Measured]()
    for name, study in studies.items():
        study = dataclasses.replace(study, name=f"{study.name}-gate")  # noqa: PLW2901 - records of its own
        for row in measured(study, name, options.most):
            print(_line(row), file=sys.stderr, flush=True)
            rows.append(row)
        path = Path(study.output_dir) / study.name / "gate.json"
        write_json(path, [dataclasses.asdict(row) for row in rows if row.images.startswith(name)])
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
