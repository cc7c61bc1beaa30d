"""One self-contained HTML page of a summary: style, script and pictures are in it, nothing is downloaded.

`python -m reports.render RUN` draws the report of a finished run again.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import yaml
from markupsafe import Markup

from data.errors import exit_code
from data.store import write_text
from reports import coding, curve, fidelity, figures, findings, gate, lineage, numbers, text
from reports.cards import cards, download_links, write_cards
from reports.pictures import picture_uri
from reports.pooled import pool
from reports.run_folder import repeats_of
from reports.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classify.arms import Arm
    from reports.schema import Difference, Score, Summary, Timing

_HERE = Path(__file__).parent
_USAGE = "usage: python -m reports.render RUN      (RUN: the folder of a finished run, e.g. runs/demo)"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's share of the time."""

    name: str
    seconds: float  # of all pieces, reused ones with what they once cost
    spent: float  # in this run
    pieces: int
    reused: int


def render(summary: Summary, run_folder: Path) -> str:
    """The page. Pictures are read from the run folder. Raises InputError for one that is missing or broken."""
    arms = text.arms(summary)
    ordered = sorted(summary.classes, key=lambda label: label not in summary.rare)
    stages = _stages(summary.timings)
    config = yaml.safe_dump(summary.config, sort_keys=False, allow_unicode=True)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    template = _environment().get_template("report.html")
    return template.render(
        s=summary,
        text=text,
        findings=findings,
        curve=curve,
        numbers=numbers,
        lineage=lineage,
        gate=gate,
        coding=coding,
        figures=figures,
        fidelity=fidelity,
        arms=arms,
        glyphs={name: figures.glyph_of(arm) for name, arm in arms.items()},
        ordered=ordered,
        filled=[label for label in ordered if label in summary.finetunes or _has_made_images(summary, label)],
        sources=_sources(summary, arms),
        axes=_axes(summary),
        pictures={path: picture_uri(run_folder / path) for path in _pictures(summary)},
        largest=max(sum(c.values()) for t in summary.training.values() for c in t.counts.values()) or 1,
        stages=stages,
        slowest=max((stage.seconds for stage in stages), default=0.0) or 1.0,
        cards=download_links(cards(summary)),
        config=config,
        config_uri=f"data:application/yaml;base64,{_base64(config.encode())}",
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=f"sha256-{_base64(hashlib.sha256(script.encode()).digest())}",
    )


def write_report(run_folder: Path) -> Path:
    """Write summary.json and report.html into a finished run's folder, and give the report's path.

    Those of a study that is repeated are of all its repeats together.
    """
    repeats = repeats_of(run_folder)
    return write_page(pool(repeats, run_folder) if repeats else summarise(run_folder), run_folder)


def write_page(summary: Summary, folder: Path) -> Path:
    """Write summary, report and the papers that go with it into a folder, from which its pictures are found."""
    folder.mkdir(parents=True, exist_ok=True)
    page = render(summary, folder)
    summary.write(folder / "summary.json")
    write_cards(summary, folder)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a run's report; 2 for a folder that is no finished run."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if len(arguments) != 1 or arguments[0].startswith("-"):
        is_help = arguments in (["-h"], ["--help"])
        print(_USAGE, file=sys.stdout if is_help else sys.stderr)
        return 0 if is_help else 2
    return exit_code(lambda: _render(Path(arguments[0])))


def _render(run_folder: Path) -> int:
    print(write_report(run_folder))
    return 0


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "hundredths": numbers.hundredths, "whole_points": numbers.whole_points, "unbroken": numbers.unbroken,
    }  # fmt: skip
    return environment


def _axes(summary: Summary) -> dict[str, figures.Axis]:
    """An axis for each dot plot, wide enough for its intervals, means and seeds."""
    of_real = summary.balanced_accuracy.get("real")
    both = [of_real, summary.random_split.balanced_accuracy] if of_real and summary.random_split else []
    changes = [v for d in summary.differences[:1] for c in d.by_class.values() for v in (c.low, c.high)]
    return {
        "balanced": figures.axis_round(_values(summary.balanced_accuracy.values()), whole=(0.0, 1.0)),
        "weighted": figures.axis_round(_values(summary.weighted_recall.values()), whole=(0.0, 1.0)),
        "difference": figures.axis_round(
            [*_values(summary.differences), *_smallest(summary.differences[:1])], whole=(-1.0, 1.0), zero=True
        ),
        **_ranking_axes(summary),
        "random_split": figures.axis_round(_values(both), whole=(0.0, 1.0)),
        "change": figures.axis_round(changes, whole=(-1.0, 1.0), zero=True),
    }


def _ranking_axes(summary: Summary) -> dict[str, figures.Axis]:
    arms = summary.discrimination.arms.values() if summary.discrimination else ()
    drawn = {"macro": [arm.macro for arm in arms], "malignant": [arm.malignant for arm in arms]}
    return {
        rows: figures.axis_round(
            [v for each in found if each for v in (each["auroc"].low, each["auroc"].mean, each["auroc"].high)],
            whole=(0.0, 1.0),
        )
        for rows, found in drawn.items()
    }


def _values(scores: Iterable[Score | Difference]) -> list[float | None]:
    """Every number that is drawn on an axis."""
    return [value for one in scores for value in (one.low, one.high, one.mean, *one.per_seed.values())]


def _smallest(differences: Sequence[Difference]) -> list[float]:
    """The smallest effect that could be seen, on both sides of zero."""
    return [sign * one.smallest for one in differences for sign in (-1, 1) if one.smallest is not None]


def _sources(summary: Summary, arms: Mapping[str, Arm]) -> list[str]:
    """Sources of the pictures that are shown side by side: real ones, and those that some arm trains on."""
    is_shown = {"real": True, "synthetic": any(arm.source == "synthetic" for arm in arms.values())}
    return [*(source for source, shown in is_shown.items() if shown), *summary.external]


def _has_made_images(summary: Summary, label: str) -> bool:
    return any(paths for source, paths in summary.gallery[label].items() if source != "real")


def _pictures(summary: Summary) -> Iterable[str]:
    for by_source in summary.gallery.values():
        for paths in by_source.values():
            yield from paths
    for tune in summary.finetunes.values():
        yield from tune.previews
    for gated in summary.gate.values():
        for pair in gated.pairs:
            yield from (pair.synthetic, pair.real)


def _stages(timings: Sequence[Timing]) -> list[Stage]:
    names = dict.fromkeys(t.stage for t in timings)
    of = {name: [t for t in timings if t.stage == name] for name in names}
    return [
        Stage(
            name=name,
            seconds=sum(t.seconds for t in pieces),
            spent=sum(t.seconds for t in pieces if not t.reused),
            pieces=len(pieces),
            reused=sum(t.reused for t in pieces),
        )
        for name, pieces in of.items()
    ]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
