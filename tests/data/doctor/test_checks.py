import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.doctor.checks import Notes, check_files, check_split, check_twins, check_unused, in_parts
from data.doctor.examination import Look
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.splits.split import SplitConfig, make_split

PLAIN = Look("0", (100, 100), "RGB", blank=False)


def images(tmp_path, labels, groups=None):
    ids = [f"i{n}" for n in range(len(labels))]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": [f"{name}.png" for name in ids]}
    table = pd.DataFrame({**columns, "label": labels, "group_id": groups or ids}).assign(root="r", source="real")
    return Manifest(table, {"r": tmp_path})


def looked(tmp_path, *looks, size=64):
    notes = Notes()
    check_files(images(tmp_path, ["nv"] * len(looks)), looks, PixelConfig(size=size), notes)
    assert notes.faults == []  # all of it can be used
    return [case for note in notes.remarks for case in note.cases]


def test_a_note_without_a_case_is_none():
    notes = Notes()
    notes.fault([], "mend it")
    notes.remark(iter(()), "mend it")
    notes.fault((f"case {n}" for n in range(2)), "mend it")
    assert (len(notes.faults), notes.remarks) == (1, [])
    assert str(notes.faults[0]) == "case 0; mend it (and 1 more)"


def test_images_that_are_alike_and_large_enough_get_no_remark(tmp_path):
    assert looked(tmp_path, PLAIN, PLAIN) == []


@pytest.mark.parametrize(
    ("other", "size", "says"),
    [
        (Look("1", (200, 200), "RGB", blank=False), 64, "images of 2 sizes: 100 x 100 (2), 200 x 200 (1)"),
        (
            Look("1", (200, 100), "RGB", blank=False),
            64,
            "images of 2 sizes and different proportions: 100 x 100 (2), 200 x 100 (1)",
        ),
        (Look("1", (100, 100), "CMYK", blank=False), 64, "1 coded as CMYK, first i2.png"),
        (Look("1", (100, 100), "RGB", blank=True), 64, "i2.png: is one colour all over"),
        (
            Look("1", (100, 100), "RGB", blank=False),
            128,
            "smaller than pixels.size 128: 3 of 3 images, down to 100 x 100",
        ),
    ],
)
def test_what_is_odd_in_a_file_is_remarked_once_by_name_or_number(tmp_path, other, size, says):
    assert looked(tmp_path, PLAIN, PLAIN, other, size=size) == [says]


def test_images_beside_the_table_s_are_counted(tmp_path):
    for name in ("i0.png", "i1.png", "deep/other.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    notes = Notes()
    check_unused(images(tmp_path, ["nv", "nv"]), notes)
    (note,) = notes.remarks
    assert note.cases == (f"images below {tmp_path} that are not used: 1, first deep/other.png",)


@pytest.mark.parametrize(("labels", "faults", "remarks"), [(("nv", "mel"), 1, 0), (("nv", "nv"), 0, 1)])
@pytest.mark.parametrize(
    ("digests", "near", "says"),
    [
        (("a", "a"), [], "are the same file"),
        (("a", "a"), [[0, 1]], "are the same file"),  # and not told a second time as near
        (("a", "b"), [[0, 1]], "nearly the same photograph"),
    ],
)
def test_an_image_that_is_there_twice_is_a_fault_only_under_two_labels(
    tmp_path, labels, faults, remarks, digests, near, says
):
    notes = Notes()
    looks = [Look(digest, (9, 9), "RGB", blank=False) for digest in digests]
    check_twins(images(tmp_path, labels), looks, np.array(near, np.int64).reshape(-1, 2), notes)
    assert (len(notes.faults), len(notes.remarks)) == (faults, remarks)
    (case,) = (*notes.faults, *notes.remarks)[0].cases
    assert says in case
    assert "i0.png" in case
    assert "i1.png" in case


LABELS = ["nv"] * 40 + ["mel"] * 30 + ["df"] * 12


def divided(tmp_path, fill_to=None, **settings):
    notes = Notes()
    split = check_split(images(tmp_path, LABELS), SplitConfig(**({"rare": ("df",)} | settings)), 0, notes, fill_to)
    return split, [case for note in notes.faults for case in note.cases], notes.remarks


def test_the_split_that_a_study_would_make_is_given_and_too_few_shots_and_tests_are_remarked(tmp_path):
    split, faults, remarks = divided(tmp_path, shots=16)
    assert faults == []
    assert sum(map(len, split.parts().values())) == len(LABELS)
    said = " ".join(case for note in remarks for case in note.cases)
    n, tested = split.train.counts()["df"], split.test.counts()
    assert f"'df' has {n} lesion groups in the train part, and split.shots is 16" in said
    assert [f"{label!r} has {count} lesion groups to be tested on" in said for label, count in tested.items()] == [
        count < 10 for count in tested.values()
    ]
    assert set(tested) == {"df", "mel", "nv"}


def test_a_class_that_no_image_would_be_added_to_is_remarked(tmp_path):
    _, faults, remarks = divided(tmp_path, rare=("df", "nv"), fill_to=20)
    assert faults == []
    (note,) = [note for note in remarks if "to train on" in note.cases[0]]
    assert len(note.cases) == 1
    assert note.cases[0].startswith("'nv' has ")
    assert "filled up to 20" in note.mend


def test_every_fold_is_looked_at_and_named(tmp_path):
    split, _, remarks = divided(tmp_path, folds=3, fold=1)
    few = {case.split(":")[0] for note in remarks for case in note.cases if "split.shots" in case}
    assert few == {"fold 0", "fold 1", "fold 2"}
    study_s = make_split(images(tmp_path, LABELS), SplitConfig(rare=("df",), folds=3, fold=1), 0)
    assert split.test.digest() == study_s.test.digest()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rare": ()}, "split.rare names no class"),
        ({"rare": ("df", "df")}, "split.rare names 'df' twice"),
        ({"rare": ("zebra",)}, "split.rare names 'zebra', which no image bears"),
        ({"folds": 13}, "'df' has 12 lesion groups"),
    ],
)
def test_what_cannot_be_divided_is_a_fault_and_gives_no_split(tmp_path, settings, says):
    split, faults, _ = divided(tmp_path, **settings)
    assert split is None
    assert faults == [says]


def test_an_error_s_line_is_taken_apart_at_its_last_semicolon():
    assert str(in_parts("a; b; mend it")) == "a; b; mend it"
    assert (in_parts("a; b; mend it").cases, in_parts("a; b; mend it").mend) == (("a; b",), "mend it")
    assert (in_parts("no mend").cases, in_parts("no mend").mend) == (("no mend",), "")
