"""One self-contained HTML page of a summary: style, script and pictures within, nothing fetched from anywhere.

`python -m reports.render RUN` draws the report of a finished run again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import yaml
from markupsafe import Markup
from PIL import Image

from data.errors import InputError, exit_code
from data.files.archives import FORMATS
from data.store import write_text
from reports import figures
from reports import text as wording
from reports.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.schema import Difference, Score, Summary, Timing

_HERE = Path(__file__).parent
_MOST_BYTES = 24_000  # of a picture that goes in as it is; a larger one is made smaller
_EDGE = 192  # pixels, of one that was made smaller
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
    ordered = sorted(summary.classes, key=lambda label: label not in summary.rare)
    honest = [summary.balanced_accuracy[arm] for arm in ("real",) if arm in summary.balanced_accuracy]
    careless = [*honest, *([summary.careless.balanced_accuracy] if summary.careless else [])]
    changes = [v for d in summary.differences[:1] for c in d.by_class.values() for v in (c.low, c.high)]
    stages = _stages(summary.timings)
    config = yaml.safe_dump(summary.config, sort_keys=False, allow_unicode=True)
    script = (_HERE / "report.js").read_text(encoding="utf-8")
    template = _environment().get_template("report.html")
    return template.render(
        s=summary,
        words=wording,
        figures=figures,
        ordered=ordered,
        filled=[label for label in ordered if label in summary.finetunes or _made(summary, label)],
        axes={
            "balanced": figures.axis_round(_drawn(summary.balanced_accuracy.values()), whole=(0.0, 1.0)),
            "weighted": figures.axis_round(_drawn(summary.weighted_recall.values()), whole=(0.0, 1.0)),
            "difference": figures.axis_round(_drawn(summary.differences), whole=(-1.0, 1.0), zero=True),
            "careless": figures.axis_round(_drawn(careless), whole=(0.0, 1.0)),
            "change": figures.axis_round(changes, whole=(-1.0, 1.0), zero=True),
        },
        pictures={path: picture_uri(run_folder / path) for path in _pictures(summary)},
        largest=max(sum(c.values()) for t in summary.training.values() for c in t.counts.values()) or 1,
        stages=stages,
        slowest=max((stage.seconds for stage in stages), default=0.0) or 1.0,
        config=config,
        config_uri=f"data:application/yaml;base64,{_base64(config.encode())}",
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=f"sha256-{_base64(hashlib.sha256(script.encode()).digest())}",
    )


def write_report(run_folder: Path) -> Path:
    """Write summary.json and report.html into a finished run's folder, and give the report's path."""
    summary = summarise(run_folder)
    page = render(summary, run_folder)
    summary.write(run_folder / "summary.json")
    path = run_folder / "report.html"
    write_text(path, page)
    return path


def picture_uri(path: Path) -> str:
    """A picture as a data: URI, made smaller if it is large."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            kind = image.format
            if kind not in {"JPEG", "PNG"} or len(content) > _MOST_BYTES:
                content, kind = _smaller(image), "JPEG"
    except OSError as fault:
        raise InputError(f"{path}: is no picture that can be read; start the run again to redraw it") from fault
    return f"data:image/{kind.lower()};base64,{_base64(content)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a run's report; 2 for a folder that is no finished run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) != 1 or given[0].startswith("-"):
        print(_USAGE, file=sys.stderr if given not in (["-h"], ["--help"]) else sys.stdout)
        return 0 if given in (["-h"], ["--help"]) else 2
    return exit_code(lambda: _drawn_again(Path(given[0])))


def _drawn_again(run_folder: Path) -> int:
    print(write_report(run_folder))
    return 0


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "hundredths": wording.hundredths, "whole_points": wording.whole_points, "unbroken": wording.unbroken,
    }  # fmt: skip
    return environment


def _drawn(figures_: Iterable[Score | Difference]) -> list[float | None]:
    """Every number that stands on an axis."""
    return [value for f in figures_ for value in (f.low, f.high, f.mean, *f.per_seed.values())]


def _made(summary: Summary, label: str) -> bool:
    """Whether there are pictures of the class that are not real."""
    return any(paths for source, paths in summary.gallery.get(label, {}).items() if source != "real")


def _pictures(summary: Summary) -> Iterable[str]:
    for by_source in summary.gallery.values():
        for paths in by_source.values():
            yield from paths
    for tune in summary.finetunes.values():
        yield from tune.previews


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


def _smaller(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    edge = max(small.size)
    # A contact strip is long: its height is what one picture has.
    small.thumbnail((_EDGE, _EDGE) if edge < 3 * min(small.size) else (4 * _EDGE, _EDGE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
