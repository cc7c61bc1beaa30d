"""The page: whole, safe, accessible, and true to the summary."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import yaml
from PIL import Image

from classify.arms import ARMS, Arm, first
from data.errors import InputError
from reports import figures, numbers, render
from reports import text as sentences
from reports.summary import summarise

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The page's elements, checked for tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> with nothing open"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"style", "script", "svg"} & set(self.open):  # a title in a figure is not seen
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def _page(run):
    summary = summarise(run)
    text = render.render(summary, run)
    return summary, text, Page(text)


def test_the_page_says_the_answer_and_every_figure_of_the_summary(make_run):
    summary, _, page = _page(make_run())
    assert " ".join(sentences.answer(summary).split()) in page.text
    assert sentences.caveat(summary) in page.text
    for score in (*summary.balanced_accuracy.values(), *summary.weighted_recall.values()):
        assert f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]" in page.text
    for difference in summary.differences:
        assert f"{numbers.points(difference.mean)} {numbers.point_interval(difference)}" in page.text
    for recalls in summary.per_class_recall.values():
        for recall in recalls.values():
            assert f"{recall.mean:.2f} [{recall.low:.2f}, {recall.high:.2f}]" in page.text
    for row in summary.confusion["synthetic"]:  # a row's cells: percentage, then count
        assert "".join(f"{100 * count / sum(row):.0f}{count}" for count in row) in page.text


def test_a_changed_figure_changes_the_page(make_run):
    _, one, _ = _page(make_run())
    summary, two, _ = _page(make_run(name="other", skill={"synthetic": 4.0}))
    assert one != two
    assert summary.differences[0].verdict == "higher"
    assert "Synthetic images raised balanced accuracy" in two
    assert "Synthetic images raised" not in one


def test_every_picture_lies_in_the_page_and_has_an_alternative_text(make_run):
    summary, _, page = _page(make_run())
    pictures = page.all("img")
    assert len(pictures) == 3 * 6 + 4 * 3 + 3 * 2  # rare classes, others, previews
    assert all(p["src"].startswith("data:image/jpeg;base64,") for p in pictures)
    alternatives = [p["alt"] for p in pictures]
    assert all(alternatives)
    assert len(set(alternatives)) == len(alternatives)
    assert "synthetic image 2 of df (dermatofibroma)" in alternatives
    assert len(summary.gallery["df"]["synthetic"]) == 3


def test_nothing_is_fetched_from_anywhere(make_run):
    _, text, page = _page(make_run())
    names = ("src", "href", "srcset", "action", "data")
    links = [a[name] for _, a, _ in page.elements for name in names if a.get(name)]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"url\(|@import|https?://", text)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_the_policy_lets_our_script_run_and_no_other(make_run):
    _, text, _ = _page(make_run())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    expected = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{expected}'" in text.replace("&#39;", "'")


def test_labels_names_and_prompts_are_escaped(make_run):
    evil = '<script>alert("x")</script>'
    run = make_run(classes=(evil, '"&quot', "nv"), rare=('"&quot',))
    text = (run / "run.json").read_text().replace('"name": "demo"', '"name": "<img src=x onerror=1>"')
    (run / "run.json").write_text(text)
    _, text, page = _page(run)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert len(page.all("script")) == 1
    assert evil in page.text
    assert not [a for _, a, _ in page.elements if any(name.startswith("on") for name in a)]


def test_headings_do_not_skip_a_level_and_anchors_lead_somewhere(make_run):
    _, _, page = _page(make_run())
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    anchors = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert anchors
    assert set(anchors) <= set(ids)
    assert page.all("html")[0]["lang"] == "en"


def test_every_table_has_a_caption_and_every_header_a_scope(make_run):
    _, _, page = _page(make_run())
    assert len(page.all("table")) == len(page.all("caption")) >= 10
    assert all(a.get("scope") in {"col", "row", "rowgroup"} for a in page.all("th"))
    boxes = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert all(a["role"] == "region" and a["aria-label"] and a["tabindex"] == "0" for a in boxes)


def test_every_figure_is_named_or_hidden_from_screen_readers(make_run):
    _, _, page = _page(make_run())
    outer = [a for tag, a, inside in page.elements if tag == "svg" and "svg" not in inside]
    assert outer
    assert all(a.get("aria-hidden") == "true" or (a.get("role") == "img" and a.get("aria-label")) for a in outer)


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": ("real", "oversampled")},
        {"arms": ("real",), "seeds": (3,)},
        {"absent": ("df", "nv")},
        {"classes": ("benign", "malignant"), "rare": ("malignant",)},
        {"classes": tuple(f"class {i}" for i in range(20)), "rare": ("class 3",)},
        {"thumbs": 0, "regime": "limited"},
        {"arms": ("real", "autoencoded")},
    ],
    ids=["no synthetic arm", "one arm, one seed", "absent classes", "two classes", "twenty", "bare", "no headline"],
)
def test_studies_of_other_shapes_make_whole_pages_too(make_run, changes):
    summary, _, page = _page(make_run(**changes))
    assert " ".join(sentences.answer(summary).split()) in page.text
    for word in ("None", "nan", "NaN", "Undefined"):
        assert not re.search(rf"\b{word}\b", page.text)


def test_a_class_without_test_images_is_said_to_be_undefined(make_run):
    _, _, page = _page(make_run(absent=("df",)))
    assert page.text.count("not defined: no such image in the test part") == 3


def test_drawn_pictures_are_not_taken_for_patients(make_run):
    assert "It says nothing about patients" in _page(make_run())[2].text
    assert "nothing about patients" not in _page(make_run(name="real", source="isic"))[2].text


def test_a_shared_leakage_group_voids_the_study_aloud(make_run):
    run = make_run()
    _rewrite(run / "split-0a1b/leakage.json", lambda record: record.update(shared_groups=2))
    text = _page(run)[2].text
    assert "2 leakage groups in two parts: this study’s figures are invalid." in text
    assert "No leakage group is in two parts" not in text


def test_an_official_test_set_is_named_and_what_was_left_out_for_it_counted(make_run):
    run = make_run()
    assert "official test set" not in _page(run)[2].text
    _rewrite(run / "split-0a1b/leakage.json", lambda record: record.update(test="official", left_out=["a", "b"]))
    text = _page(run)[2].text
    assert "the official test set, unchanged; 2 images that share a group with it were left out of the others." in text


def test_the_config_can_be_saved_and_is_the_runs_own(make_run):
    summary, _, page = _page(make_run())
    (link,) = [a["href"] for a in page.all("a") if a.get("download") == "study.yaml"]
    assert yaml.safe_load(base64.b64decode(link.partition("base64,")[2])) == summary.config
    assert "lesionloom run study.yaml" in page.text


def test_no_axis_of_differences_goes_beyond_what_a_difference_can_be(make_run):
    run = make_run(skill={"synthetic": 9.0, "oversampled": -9.0})  # one is always right, the other never
    page = render.write_report(run).read_text(encoding="utf-8")
    assert ">+100</text>" in page
    assert "+150" not in page
    assert "+120" not in page


def test_reused_work_is_named_as_such(make_run):
    assert "3, 3 reused" in _page(make_run())[2].text


def test_a_page_of_the_demo_weighs_less_than_three_megabytes(make_run):
    run = make_run(thumbs=12)
    rng = np.random.default_rng(0)
    for path in run.glob("thumbs/*/*.jpg"):  # noise is the worst that JPEG can meet
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path, quality=95)
    assert render.write_report(run).stat().st_size < 3_000_000


def test_a_run_that_moved_draws_the_same_report(make_run, tmp_path):
    run = make_run()
    first = render.write_report(run).read_text()
    shutil.move(run, tmp_path / "moved")
    assert render.write_report(tmp_path / "moved").read_text() == first
    assert str(tmp_path) not in first


def test_a_broken_picture_is_named(make_run):
    run = make_run()
    (run / "thumbs/df/real-1.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"thumbs/df/real-1\.jpg: is no picture"):
        render.write_report(run)
    assert not (run / "report.html").exists()


def test_a_picture_that_would_start_a_program_is_named_and_starts_none(make_run, eps):
    run = make_run()
    (run / "thumbs/df/real-1.jpg").write_bytes(eps)
    with pytest.raises(InputError, match=r"thumbs/df/real-1\.jpg: is no picture"):
        render.write_report(run)


def test_the_command_writes_both_files_and_prints_the_path(make_run, capsys):
    run = make_run()
    assert render.main([str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "summary.json").is_file()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--what"], ["nowhere"]])
def test_the_command_ends_with_two_and_one_line_for_what_it_cannot_use(arguments, capsys):
    assert render.main(arguments) == 2
    message = capsys.readouterr().err.strip()
    assert message
    assert "\n" not in message


def _rows(table):
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr.*?</tr>", table)]


def _rewrite(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_an_arm_of_external_images_stands_with_its_pictures_and_what_is_known_of_it(make_run):
    run = make_run(arms=("real", "oversampled"), external={"theirs": None})
    _, _, page = _page(run)
    assert "images made by another program, from /made/theirs" in page.text
    assert "Their lineage is unknown" in page.text
    shown = [image["alt"] for image in page.all("img")]
    assert sum(alt.startswith("theirs image") for alt in shown) == 9
    assert not any(alt.startswith("synthetic image") for alt in shown)
    assert "The base has seen" not in page.text  # no arm uses it


def test_the_autoencoded_arm_has_its_mark_its_comparisons_and_its_images_named(make_run):
    _, text, page = _page(make_run(arms=("real", "oversampled", "synthetic", "autoencoded")))
    hexagon = figures.key(figures.glyph_of(ARMS["autoencoded"]))
    assert text.count(hexagon) >= 10
    assert "autoencoded less oversampledwhat the coding of images brings by itself" in page.text
    assert "synthetic less autoencodedwhat is drawn brings over real images of the same coding" in page.text
    assert re.search(r"18 real\W*18 autoencoded\W*24 repeated", page.text)


def test_a_new_row_of_the_table_of_arms_is_all_that_a_new_arm_needs(make_run, monkeypatch):
    trial = Arm(
        name="trial",
        source="synthetic",
        rows=first,
        compared_with=("synthetic", "real"),
        mark="cross",
        tone="other",
        note="a trial of what one row does",
        subject="A trial",
        questions={"synthetic": "what the trial brings"},
        is_generated=True,
    )
    monkeypatch.setitem(ARMS, "trial", trial)
    summary, text, page = _page(make_run(arms=("real", "oversampled", "synthetic", "trial")))
    assert [(d.first, d.second) for d in summary.differences[:2]] == [("trial", "synthetic"), ("trial", "real")]
    assert "points. Balanced accuracy: trial 0." in page.text
    assert "trial less syntheticwhat the trial brings" in page.text
    assert "a trial of what one row does" in page.text
    assert text.count(figures.key(figures.Glyph("cross", "tone-other"))) >= 10
    assert f"{summary.balanced_accuracy['trial'].mean:.3f}" in page.text


def test_the_provenance_says_what_each_has_seen_and_marks_what_no_one_knows(make_run):
    run = make_run(external={"theirs": None})
    _, text, page = _page(run)
    rows = _rows(text.split('<table class="plain provenance">')[1].split("</table>")[0])
    assert "Generator of df its few-shot images, and what its base has seen 8 + ? ? ?" in rows
    assert "Generator of theirs another program, which made that arm’s images ? ? ?" in rows
    assert "Classifier real the images that it is trained on 214 0 0" in rows
    assert "Choice of checkpoints decides which step of a classifier is kept 0 21 0" in rows
    assert "A question mark: its lineage is not known in full" in page.text
    assert "68 %" in page.text
    _rewrite(run / "provenance.json", lambda record: [row.update(is_complete=True) for row in record["rows"]])
    assert "A question mark" not in _page(run)[2].text


def test_a_base_of_unknown_lineage_is_said_to_be_one(make_run):
    run = make_run()
    _rewrite(run / "provenance.json", lambda record: record.update(base={}))
    assert "unknown: images of the test part may be among them" in _page(run)[2].text


def test_what_a_random_split_would_have_reported_is_marked_as_void_beside_the_honest_figure(make_run):
    summary, text, page = _page(make_run(random_split=True))
    table = text.split('<table class="dots random-split"')[1].split("</table>")[0]
    rows = _rows(table)[1:]
    claimed, honest = summary.random_split.balanced_accuracy, summary.balanced_accuracy["real"]
    assert "this study’s split" in rows[0]
    assert f"{honest.mean:.3f}" in rows[0]
    assert "do not believe this" in rows[1]
    assert f"{claimed.mean:.3f}" in rows[1]
    assert 'class="void"' in table
    assert sentences.random_split(summary) in page.text
    assert "39 % of its 152 test images have another image of their leakage group" in page.text
    assert "do not believe" not in _page(make_run(name="without"))[1]
