"""The page's own HTML: what the session knows, put into the templates. Pictures are within, so that no file is served.

Everything is escaped. Photographs come from the session alone, which refuses to read them where the study hides them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from augment.prompts import words_for
from data.pixels import read_image
from flows.page.accepted import AcceptedSet, arms_setting, sets_of
from flows.page.drawing import DrawingState
from flows.page.neighbours import COPY_DISTANCE
from flows.page.opened import OpenedRun
from flows.page.pictures import jpeg_uri, photograph_uri, synthetic_uri
from flows.page.request import source_photographs
from flows.page.session import Card, PageSession
from flows.page.training import RUNNING, Points, TuningState, step_of, trainings

_SMALL, _REAL_SIDE = 96, 128  # pixels a side of a photograph: beneath a synthetic image, and of those beside
_REAL = 24  # photographs of a class that are shown
_EDITOR = 320  # longer side of a photograph that is painted on
_WIDE, _HIGH = 320, 72  # of a curve, in its own units
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def header(opened: OpenedRun) -> str:
    """The head of the page: the run, how far it is, its report, and whether photographs are hidden."""
    steps = opened.steps()
    return _rendered(
        "header",
        name=opened.study.name,
        title=opened.study.title,
        done=sum(step.is_finished for step in steps),
        steps=len(steps),
        has_report=opened.report.is_file(),
        hidden=not opened.shows_photographs,
    )


def status(state: DrawingState | None = None, *, message: str = "", kind: str = "plain") -> str:
    """One line: how far a drawing is, or what happened; `kind` is plain, finished or failed."""
    return _rendered("status", state=state, message=message, kind=kind)


def real(session: PageSession, label: str) -> str:
    """The photographs of a class that classifiers train on; their number alone where photographs are hidden."""
    opened = session.opened
    own = opened.photographs.of(label)
    n = min(len(own), _REAL) if opened.shows_photographs else 0
    pictures = [
        (own.table["image_id"].iloc[row], photograph_uri(session.read_shown(own, row), _REAL_SIDE)) for row in range(n)
    ]
    words = words_for(label, opened.study.prompts.class_names)
    return _rendered(
        "real", label=label, words=words, pictures=pictures, total=len(own), hidden=not opened.shows_photographs
    )


def growing(session: PageSession, paths: Sequence[Path]) -> str:
    """The images of a drawing that goes on: without their neighbours yet. None where photographs are hidden."""
    shown = paths if session.opened.shows_photographs else ()
    return _rendered("growing", images=[synthetic_uri(read_image(path, session.as_is)) for path in shown])


def cards(session: PageSession, found: Sequence[Card]) -> str:
    """The images of a drawing that is over, each with its nearest photographs."""
    shows = session.opened.shows_photographs
    entries = [
        {
            "card": card,
            "number": number,
            "image": None if card.pixels is None else synthetic_uri(card.pixels),
            "near": [
                (each, photograph_uri(session.photograph(each.row), _SMALL) if shows else "")
                for each in card.neighbours
            ],
        }
        for number, card in enumerate(found, start=1)
    ]
    return _rendered("cards", entries=entries, shows=shows, copy_distance=COPY_DISTANCE)


def sets(opened: OpenedRun) -> str:
    """The run's sets: of each class how many are accepted, rejected, and needed by an arm."""
    needed = opened.prepared.fill_counts
    found = sets_of(opened.study.folder)
    rows = [(each.name, _counts(each, needed), arms_setting(opened.study.arms, each)) for each in found]
    return _rendered("sets", sets=rows)


def training(opened: OpenedRun) -> str:
    """The fine-tunes with their curves and previews."""
    found = [{"of": each, "curves": _curves(each), "strips": _strips(each)} for each in trainings(opened)]
    return _rendered("training", trainings=found, running=RUNNING)


def source(session: PageSession, label: str, image_id: str) -> str:
    """The photograph that is edited, as a picture to paint on; "" where none is chosen."""
    shots = source_photographs(session.opened, label)
    chosen = shots.where(shots.table["image_id"] == image_id)
    if not len(chosen):
        return ""
    pixels = session.read_shown(chosen, 0, whole=_EDITOR)
    height, width = pixels.shape[:2]
    return _rendered("source", image_id=image_id, uri=photograph_uri(pixels), width=width, height=height)


def _counts(chosen: AcceptedSet, needed: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row a class that the set or an arm has."""
    counts = chosen.counts()
    return [
        {
            "label": label,
            "accepted": counts[label].accepted if label in counts else 0,
            "rejected": counts[label].rejected if label in counts else 0,
            "needed": needed.get(label, 0),
        }
        for label in sorted({*counts, *(each for each, n in needed.items() if n)})
    ]


def _curves(of: TuningState) -> list[tuple[str, str]]:
    """Name and points of the loss, smoothed over a tenth of its points, and of the held-out loss, on one scale."""
    losses = {"loss": _smoothed(of.losses), "held-out loss": of.held_out}
    drawn = {name: points for name, points in losses.items() if len(points) > 1}
    values = [loss for points in drawn.values() for _, loss in points]
    if not values:
        return []
    low, extent = min(values), (max(values) - min(values)) or 1.0
    last = max(of.steps, of.step)
    return [
        (name, " ".join(f"{x / last * _WIDE:.1f},{_HIGH - (y - low) / extent * _HIGH:.1f}" for x, y in points))
        for name, points in drawn.items()
    ]


def _smoothed(points: Points) -> Points:
    """Each loss as the mean of a tenth of them, up to it."""
    losses, window = [loss for _, loss in points], max(1, len(points) // 10)
    means = [sum(part := losses[max(0, i - window + 1) : i + 1]) / len(part) for i in range(len(losses))]
    return tuple((step, mean) for (step, _), mean in zip(points, means, strict=True))


def _strips(of: TuningState) -> list[tuple[int, str]]:
    """Step and picture of each preview, the newest first; one that is being replaced is left out."""
    found = []
    for path in reversed(of.previews):
        try:
            found.append((step_of(path), jpeg_uri(path.read_bytes())))
        except OSError:
            continue
    return found


def _rendered(template: str, **values: object) -> str:
    return _TEMPLATES.get_template(f"{template}.html").render(**values)
