from dataclasses import replace

import pandas as pd
import pytest

from data.doctor.examination import ImageInfo
from data.doctor.findings import Findings
from data.doctor.report import ValidationReport, page
from data.manifest import COLUMNS, Manifest
from data.splits.split import SplitConfig, make_split

LABELS = ["nv"] * 40 + ["mel"] * 30 + ["df"] * 12
CONFIG = SplitConfig(rare=("df",), shots=3)


def images(tmp_path, labels=LABELS):
    ids = [f"i{n}" for n in range(len(labels))]
    columns = {
        **dict.fromkeys(COLUMNS, ""),
        "image_id": ids,
        "path": ids,
        "group_id": [f"g{n // 2}" for n in range(len(ids))],
    }
    columns |= {"lesion_id": columns["group_id"], "age": ["unknown", *["50"] * (len(ids) - 1)], "sex": "female"}
    return Manifest(pd.DataFrame({**columns, "label": labels}).assign(root="r", source="real"), {"r": tmp_path})


@pytest.fixture
def well(tmp_path):
    manifest = images(tmp_path)
    info = ImageInfo("0", (100, 75), "RGB", blank=False)
    split = make_split(manifest, CONFIG, 0)
    return ValidationReport(
        findings=Findings(), config=CONFIG, manifest=manifest, infos=[info] * len(manifest), split=split
    )


def test_the_table_counts_each_class_and_what_each_part_of_the_split_gets(well):
    lines = page(well, "my.yaml", 3.4).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    parts = well.split.parts().values()
    assert rows["class"] == ["images", "groups", "train", "validation", "test"]
    for label, n in {"nv": 40, "mel": 30}.items():
        assert rows[label] == [str(n), str(n // 2), *(str(part.counts()[label]) for part in parts)]
    assert rows["df"] == ["*", "12", "6", *(str(part.counts()["df"]) for part in parts)]
    assert rows["all"] == ["82", "41", *(str(len(part)) for part in parts)]
    assert "trained on at most 3 images" in page(well, "my.yaml", 3.4)


def test_the_images_are_summed_up_in_words(well):
    text = " ".join(page(well, "my.yaml", 3.4).split())
    assert text.startswith("my.yaml: 82 images, 41 lesions, no patients known; 41 groups that a split keeps together")
    assert "sizes: 100 x 75 (82) coded as: RGB (82) further columns: age (1 unknown), sex" in text
    assert text.endswith("No fault was found. It took 3 s.")


def test_faults_come_before_warnings_numbered_with_their_fixes_and_are_counted(well):
    well.findings.warn(["it is odd"], "see to it")
    well.findings.fault(["a is wrong"], "fix a")
    well.findings.fault(["b is wrong", "c is wrong"], "fix both")
    text = page(well, "my.yaml", 0)
    found = text[text.index("WRONG:") :].split("\n")
    assert found[:12] == [
        "WRONG:", "", "  1. a is wrong", "     -> fix a", "", "  2. b is wrong", "     c is wrong",
        "     -> fix both", "", "worth knowing:", "", "  1. it is odd",
    ]  # fmt: skip
    assert found[-1] == "2 faults to fix before a study. It took 0 s."


def test_more_than_five_examples_are_cut_short_unless_every_one_is_asked_for(well):
    well.findings.fault([f"example {n}" for n in range(1005)], "fix it")
    assert "     example 4\n     and 1,000 more (--all lists them)\n     -> fix it" in page(well, "my.yaml", 0)
    assert "     example 1004\n     -> fix it" in page(well, "my.yaml", 0, every=True)


def test_without_a_usable_table_it_says_that_there_may_be_more():
    found = ValidationReport(findings=Findings(), config=CONFIG)
    found.findings.fault(["t.csv: no column 'dx'"], "name one")
    text = " ".join(page(found, "my.yaml", 0).split())
    assert "class" not in text
    assert "1 fault to fix before a study. Further checks need that fixed." in text


def test_no_line_is_wider_than_a_terminal_and_a_long_label_is_cut(well, tmp_path):
    label = "a very long name of a diagnosis"
    long = images(tmp_path, [name.replace("mel", label) for name in LABELS])
    well.findings.warn(["word " * 40], "word " * 40)
    text = page(replace(well, manifest=long, split=None), "my.yaml", 0)
    assert max(map(len, text.splitlines())) <= 80
    assert f"  {label[:19]}... " in text
