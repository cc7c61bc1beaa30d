"""The papers that go with a run: every figure is the summary's, and nothing in a label breaks a table."""

import base64
import dataclasses
import json
import re

import pytest

from reports.cards import TITLES, base_licence, cards, cell, download_links, licence, write_cards
from reports.render import render, write_report
from reports.summary import summarise


def rows(text):
    """Cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def tables(text):
    """Numbers of cells of the rows of each table; a table ends with a line that is none of it."""
    blocks, found = re.split(r"\n(?!\|)", text), []
    for block in blocks:
        inside = "\n".join(line for line in block.splitlines() if line.startswith("|"))
        if inside:
            found.append({len(row) for row in rows(inside)})
    return found


def test_a_run_has_all_papers_and_their_tables_are_whole(make_run):
    written = cards(summarise(make_run(absent=("df",))))
    assert tuple(written) == tuple(TITLES)
    for text in written.values():
        assert text.startswith("# ")
        assert text.endswith("\n")
        assert tables(text)
        assert all(len(widths) == 1 for widths in tables(text)), text
        assert not re.search(r"\b(None|nan|Undefined)\b", text)


def test_the_data_sheet_says_what_the_images_were_made_from(make_run):
    summary = summarise(make_run())
    text = cards(summary)["datasheet.md"]
    assert ["df", "LoRA", "8", "200", "dermoscopy of df"] in [row[:5] for row in rows(text)]
    assert ["df (dermatofibroma)", "42"] in rows(text)
    assert "SHA-256 abababababab" in text
    assert "It has seen: 9,000 images (mel 4,000, nv 5,000)" in text
    assert ["Generator of df", "8 + ?", "?", "?"] in rows(text)
    assert "trainedAlgorithmicMedia" in text


def test_without_generated_images_there_is_no_data_sheet_and_an_earlier_one_is_removed(make_run, tmp_path):
    (tmp_path / "datasheet.md").write_text("earlier")
    summary = summarise(make_run(arms=("real", "oversampled")))
    paths = write_cards(summary, tmp_path)
    assert [path.name for path in paths] == ["model-card.md", "checklist.md"]
    assert all(path.is_file() for path in paths)
    assert not (tmp_path / "datasheet.md").exists()


def test_the_model_card_has_every_arm_s_figures_with_intervals_and_no_clinical_use(make_run):
    summary = summarise(make_run())
    text = cards(summary)["model-card.md"]
    for arm, score in summary.balanced_accuracy.items():
        recall = summary.per_class_recall[arm]["df"]
        auroc = summary.discrimination.arms[arm].macro["auroc"]
        for value in (score, recall, auroc):
            assert f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]" in text
        counts = summary.training[arm].counts.values()
        cells = next(row for row in rows(text) if row[0] == arm)
        assert cells[2:] == [str(sum(sum(c.values()) for c in counts)), str(sum(c["synthetic"] for c in counts))]
    assert "No clinical use is intended" in text
    assert "They are drawings by a program" in text


def test_a_label_or_prompt_breaks_no_table_and_no_page(make_run):
    evil = "a|b\n<b>"
    assert cell(evil) == "a\\|b &lt;b&gt;"
    assert cell(3) == 3
    summary = summarise(make_run(classes=("x|y <i>", "df", "nv"), rare=("df",)))
    tune = dataclasses.replace(summary.finetunes["df"], prompt=evil)
    for text in cards(dataclasses.replace(summary, finetunes={"df": tune})).values():
        assert "<i>" not in text
        assert "<b>" not in text
        assert all(len(widths) == 1 for widths in tables(text))


@pytest.mark.parametrize(
    ("source", "base", "data_words", "base_words"),
    [
        ("phantom", "tiny", "Apache-2.0", "Apache-2.0"),
        ("ham10000", "tiny", "CC BY-NC 4.0", "Apache-2.0"),
        ("isic", "someone/model", "not known to the program", "not known to the program: see where someone/model was"),
        ("ham10000", "pretrain", "CC BY-NC 4.0", "that of the data set: CC BY-NC 4.0"),
    ],
)
def test_a_licence_is_named_where_it_is_known_and_else_said_to_be_unknown(
    make_run, source, base, data_words, base_words
):
    summary = summarise(make_run(source=source))
    config = summary.config | {"base": {"source": base}}
    summary = dataclasses.replace(summary, config=config, base=summary.base | {"source": base})
    assert data_words in licence(summary)
    assert base_words in base_licence(summary)


def test_the_page_carries_the_papers_that_lie_beside_it(make_run):
    run = make_run()
    page = write_report(run).read_text(encoding="utf-8")
    for name, title, uri in download_links(cards(summarise(run))):
        content = base64.b64decode(uri.partition("base64,")[2]).decode()
        assert content == (run / name).read_text(encoding="utf-8")
        assert f'<a download="{name}" href="{uri}">{title}</a>' in page


def test_a_temperature_and_views_are_said_in_page_and_card(make_run):
    run = make_run()
    assert "no temperature was fitted" in cards(summarise(run))["model-card.md"]
    record = json.loads((run / "run.json").read_text())
    record["config"]["classifier"] |= {"calibrate": True, "test_views": 8}
    (run / "run.json").write_text(json.dumps(record))
    for n, path in enumerate(sorted(run.glob("arm/*/arm.json"))):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 1.25 + n / 10}))
    summary = summarise(run)
    words = "fitted on the validation part, never on the test part: 1.25 to 1.75 over 6 classifiers"
    for text in (cards(summary)["model-card.md"], " ".join(render(summary, run).split())):
        assert "the mean of an image’s 8 rotations and flips" in text
        assert words in text
