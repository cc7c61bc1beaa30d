"""The gate in the report: counts by class, controls, nearest pairs; nothing where no arm asks for it."""

import json
import re

import pytest
from PIL import Image

from reports import gate, render
from reports.gate import pooled_gate
from reports.schema import GateControl
from reports.summary import summarise

CONTROLS = {
    "strangers": {"n": 16, "above": 0, "median": 0.1},
    "strangers of other classes": {"n": 200, "above": 1, "median": 0.1},
    "twins": {"n": 0, "above": 0, "median": None},
    "planted: light noise": {"n": 30, "above": 30, "median": 0.5},
}
ROWS = [("0", "yes", 0.7, 0.1), ("1", "no", 0.95, 0.5), ("2", "yes", 0.8, 0.2), ("3", "no", 0.6, 0.05)]


@pytest.fixture
def gated(make_run):
    """A run with a gate of df, of which two of four images are kept, and of vasc, of which all are."""

    def made(**changes):
        run = make_run(**changes)
        record = json.loads((run / "run.json").read_text())
        record["artifacts"]["gate"] = {label: f"gate/{label}-99" for label in ("df", "vasc")}
        (run / "run.json").write_text(json.dumps(record))
        for label, refused in (("df", {"copy of train": 1, "off class": 2}), ("vasc", {})):
            folder = run / f"gate/{label}-99"
            folder.mkdir(parents=True)
            lines = [f"images/{n}.jpg,{kept},photo-{n},{s},{x}" for n, kept, s, x in ROWS]
            head = "file_name,kept,train_image,train_similarity,train_excess"
            (folder / "gate.csv").write_text("\n".join([head, *lines, ""]))
            classifier = {"features": "net", "recalls": {label: 0.8}, "least_probability": 0.01}
            found = {"made": 4, "kept": 2 if refused else 4, "wanted": 3, "refused": refused}
            found |= {"copies": {"limit": 0.25, "controls": CONTROLS}, "classifier": classifier if refused else None}
            (folder / "gate.json").write_text(json.dumps(found))
        for n in range(2):
            for name in ("synthetic", "real"):
                Image.new("RGB", (24, 24), (200 - 50 * n, 90, 30)).save(run / "thumbs" / "df" / f"pair-{n}-{name}.jpg")
        return run

    return made


def page(run):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render.render(summarise(run), run)))


def test_each_class_has_its_counts_controls_and_nearest_pairs(gated):
    found = summarise(gated()).gate
    assert found.keys() == {"df", "vasc"}
    df = found["df"]
    assert (df.made, df.kept, df.wanted, df.refused) == (4, 2, 3, {"copy of train": 1, "off class": 2})
    assert df.controls[0] == GateControl(name="strangers", n=16, above=0)
    assert (df.limit, df.features, df.recall, df.least_probability) == (0.25, "net", 0.8, 0.01)
    assert [(pair.synthetic, pair.excess, pair.is_kept) for pair in df.pairs] == [
        ("thumbs/df/pair-0-synthetic.jpg", 0.5, False),
        ("thumbs/df/pair-1-synthetic.jpg", 0.2, True),
    ]
    assert [pair.real for pair in df.pairs] == ["thumbs/df/pair-0-real.jpg", "thumbs/df/pair-1-real.jpg"]
    assert (found["vasc"].recall, found["vasc"].pairs) == (None, ())


def test_pictures_of_pairs_are_in_no_gallery(gated):
    shown = summarise(gated()).gallery["df"]
    assert not [path for paths in shown.values() for path in paths if "pair" in path]


def test_the_page_says_what_is_refused_and_which_class_is_left_short(gated):
    text = page(gated())
    assert "Of 8 synthetic images 1 is a copy of a train photograph, and 0 look like one" in text
    assert "Too few are left to fill up df 2 of 3: the arm takes what there is." in text
    assert "excess 0.50, refused" in text
    assert "photographs of other lesions of the class 0 of 16, 0.0 %" in text
    assert "another photograph of the same lesion none to measure on" in text
    assert "a photograph of the class, changed: light noise 30 of 30, 100.0 %" in text
    assert "less than 1 % by logistic regression on the features of net, which finds 80.0 %" in text
    assert "Too few leakage groups to tell classes apart" in text


def test_the_page_says_where_a_class_is_not_told_apart(gated):
    run = gated()
    record = json.loads((run / "gate/df-99/gate.json").read_text())
    record["classifier"] |= {"least_probability": 0.0, "recalls": {"df": 0.125}}
    (run / "gate/df-99/gate.json").write_text(json.dumps(record))
    assert "finds 12.5 % of the class’s photographs that it was not fitted on: too few of them" in page(run)


def test_a_run_without_a_gate_has_no_section_of_it(make_run):
    run = make_run()
    assert summarise(run).gate == {}
    assert 'id="gate"' not in render.render(summarise(run), run)


def test_a_gate_is_clear_where_no_more_is_refused_than_by_chance(gated):
    found = summarise(gated()).gate
    assert not gate.is_clear(found)
    assert gate.is_clear({"vasc": found["vasc"]})
    assert gate.reasons(found) == ["off class", "copy of train"]
    assert gate.short_of({"vasc": found["vasc"]}) == ""


def test_repeats_add_up_and_keep_no_limit_of_one(gated):
    found = summarise(gated()).gate
    pooled = pooled_gate([found, found])
    assert (pooled["df"].made, pooled["df"].kept, pooled["df"].wanted) == (8, 4, 6)
    assert pooled["df"].refused == {"copy of train": 2, "off class": 4}
    assert (pooled["df"].limit, pooled["df"].controls, pooled["df"].pairs) == (None, (), ())
    assert pooled_gate([found, {}]) == {}
