"""Names are the field's: what the project once called things by does not come back, in code, prose or YAML."""

import re
import tokenize
from pathlib import Path

import pytest

from data.config import RENAMED

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("augment", "benchmarks", "classify", "data", "flows", "reports")
SOURCES = sorted(path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py"))
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "configs/*.yaml", "reports/*.html", "pyproject.toml", "prefect.*")
    for path in REPOSITORY.glob(pattern)
)
IDENTIFIERS = frozenset(
    """
    told untold heard said Wardrobe wear Lesson Training Stack Stacked bear touched Levels NAMES DraftConfig
    settle in_chunks pinned decisive what_decides recipe Watch Spoken watched Conductor conduct Done
    DoneTogether Together Finding steps_ahead Left Room said_if_full SeenIds seen_by known_in_full
    divide_carelessly CarelessSplit learnt Elsewhere FolderArm filling Look looks_of Notes remark mend cases
    strange judge Judge JudgeConfig RunningAverage Spread spread_of OneByOne OnDevice wording bare_name
    """.split()
)
WORDS = re.compile(r"\b(mend(s|ed|ing)?|careless(ly)?|wardrobe|conductor|bare_name|so-manieth)\b", re.IGNORECASE)


def names_in(path):
    """Every identifier of a file, with its line."""
    with path.open("rb") as file:
        yield from (
            (token.string, token.start[0]) for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_identifier_is_an_old_one(path):
    assert [f"{name}, line {line}" for name, line in names_in(path) if name in IDENTIFIERS] == []


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_figure_of_speech_stands_for_a_term(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.name == "config.py" and path.parent.name == "data":  # the table of renamed keys names the old ones
        lines = [line for line in lines if "->" not in line and '": "' not in line]
    assert [f"line {n}: {line.strip()}" for n, line in enumerate(lines, 1) if WORDS.search(line)] == []


@pytest.mark.parametrize(
    "page", [path for path in PAGES if path.suffix in {".md", ".yaml"}], ids=lambda path: path.name
)
def test_no_page_overrides_an_old_key(page):
    text = page.read_text(encoding="utf-8")
    assert [key for key in RENAMED if "." in key and re.search(rf"(?<![\w.]){re.escape(key)}(?=[=:`])", text)] == []
