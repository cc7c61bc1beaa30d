"""Papers that go with a run: a data sheet of the synthetic images, a model card, and two checklists; Markdown.

`datasheet.md` follows Gebru et al. 2021 (Datasheets for Datasets), `model-card.md` Mitchell et al. 2019 (Model Cards
for Model Reporting), `checklist.md` CLAIM 2024 and TRIPOD+AI. All is taken from the summary: nothing further is read.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from data.store import write_text
from reports import checklist, lineage, numbers, text
from reports.images_tested import images_tested

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reports.schema import Interval, Summary

TITLES = {
    "datasheet.md": "Data sheet of the synthetic images",
    "model-card.md": "Model card of the classifiers",
    "checklist.md": "Checklists: CLAIM 2024 and TRIPOD+AI",
}
_TEMPLATES = Path(__file__).parent / "card_templates"
_LICENCES = {  # of data sets, as their publishers state it
    "phantom": "Apache-2.0, as this program, which drew them",
    "ham10000": "CC BY-NC 4.0 (doi:10.7910/DVN/DBW86T): non-commercial use, with attribution",
}
_BASE_LICENCES = {"tiny": "Apache-2.0, as this program, which trained it on its own drawings"}


def cards(summary: Summary) -> dict[str, str]:
    """The papers by file name; no data sheet where the run generated no image."""
    generated = {label: tune for label, tune in summary.finetunes.items() if tune.images}
    names = [name for name in TITLES if generated or name != "datasheet.md"]
    values = {
        "s": summary, "text": text, "numbers": numbers, "lineage": lineage, "images_tested": images_tested,
        "generated": generated, "licence": licence(summary), "base_licence": base_licence(summary),
        "with_interval": _with_interval, "claim": checklist.claim(summary), "tripod": checklist.tripod(summary),
    }  # fmt: skip
    environment = card_environment()
    return {name: environment.get_template(name).render(**values) for name in names}


def card_environment() -> jinja2.Environment:
    """Jinja for Markdown: the templates of the papers, and a name that a template does not know is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown; what would change its structure is taken out by `cell`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=cell,
    )
    environment.filters["sum_of"] = lambda counts: sum(counts.values())
    return environment


def write_cards(summary: Summary, folder: Path) -> tuple[Path, ...]:
    """Write the papers into a run's folder; one of an earlier report that no longer applies is removed."""
    written = cards(summary)
    for name in TITLES:
        if name in written:
            write_text(folder / name, written[name])
        else:
            (folder / name).unlink(missing_ok=True)
    return tuple(folder / name for name in written)


def download_links(written: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, title and data: URI of each paper, for a page that carries them within."""
    return [
        (name, TITLES[name], f"data:text/markdown;base64,{base64.b64encode(content.encode()).decode('ascii')}")
        for name, content in written.items()
    ]


def licence(summary: Summary) -> str:
    """Licence of the data set as far as it is known here."""
    return data_licence(summary.source)


def base_licence(summary: Summary) -> str:
    """Licence of the base as far as it is known here."""
    return licence_of_base(summary.base, summary.config)


def data_licence(source: str) -> str:
    """Licence of a data set, by `data.source`, as far as it is known here."""
    return _LICENCES.get(source, "not known to the program: see where the data set was published")


def licence_of_base(base: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Licence of a run's base as far as it is known here; what a study trained itself has its data set's."""
    source = str(base.get("source", ""))
    if config["base"].get("source") == "pretrain":
        own = data_licence(str(config["data"]["source"]))
        return f"the study trained it on its own train part, so that of the data set: {own}"
    return _BASE_LICENCES.get(source, f"not known to the program: see where {source or 'it'} was published")


def _with_interval(score: Interval) -> str:
    return f"{numbers.share(score.mean)} {numbers.interval(score)}".strip()


def cell(value: object) -> object:
    """Text on one line without what Markdown or HTML would read as structure."""
    if not isinstance(value, str):
        return value
    escaped = re.sub(r"\s*[\r\n]\s*", " ", value).replace("|", "\\|")
    return escaped.replace("<", "&lt;").replace(">", "&gt;")
