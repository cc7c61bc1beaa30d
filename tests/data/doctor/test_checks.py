import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.doctor import checks
from data.doctor.checks import check_duplicates, check_files, check_seeds, check_split, check_unused
from data.doctor.examination import ImageInfo
from data.doctor.findings import Findings
from data.errors import DataError
from data.manifest import COLUMNS, Manifest
from data.pixels import PixelConfig
from data.splits.split import SplitConfig, make_folds, make_split

PLAIN = ImageInfo("0", (100, 100), "RGB", blank=False)


def images(tmp_path, labels, groups=None):
    ids = [f"i{n}" for n in range(len(labels))]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": [f"{name}.png" for name in ids]}
    table = pd.DataFrame({**columns, "label": labels, "group_id": groups or ids}).assign(root="r", source="real")
    return Manifest(table, {"r": tmp_path})


def warnings_of(tmp_path, *infos, size=64):
    findings = Findings()
    check_files(images(tmp_path, ["nv"] * len(infos)), infos, PixelConfig(size=size), findings)
    assert findings.faults == []  # all of it can be used
    return [example for warning in findings.warnings for example in warning.examples]


def test_images_that_are_alike_and_large_enough_get_no_warning(tmp_path):
    assert warnings_of(tmp_path, PLAIN, PLAIN) == []


@pytest.mark.parametrize(
    ("other", "size", "says"),
    [
        (ImageInfo("1", (200, 200), "RGB", blank=False), 64, "images of 2 sizes: 100 x 100 (2), 200 x 200 (1)"),
        (
            ImageInfo("1", (200, 100), "RGB", blank=False),
            64,
            "images of 2 sizes and different proportions: 100 x 100 (2), 200 x 100 (1)",
        ),
        (ImageInfo("1", (100, 100), "CMYK", blank=False), 64, "1 coded as CMYK, first i2.png"),
        (ImageInfo("1", (100, 100), "RGB", blank=True), 64, "i2.png: is one colour all over"),
        (
            ImageInfo("1", (100, 100), "RGB", blank=False),
            128,
            "smaller than pixels.size 128: 3 of 3 images, down to 100 x 100",
        ),
    ],
)
def test_what_is_odd_in_a_file_is_warned_of_once_by_name_or_number(tmp_path, other, size, says):
    assert warnings_of(tmp_path, PLAIN, PLAIN, other, size=size) == [says]


def test_images_beside_the_table_s_are_counted(tmp_path):
    for name in ("i0.png", "i1.png", "deep/other.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    findings = Findings()
    check_unused(images(tmp_path, ["nv", "nv"]), findings)
    (warning,) = findings.warnings
    assert warning.examples == (f"images below {tmp_path} that are not used: 1, first deep/other.png",)


@pytest.mark.parametrize(("labels", "faults", "warnings"), [(("nv", "mel"), 1, 0), (("nv", "nv"), 0, 1)])
@pytest.mark.parametrize(
    ("digests", "near", "says"),
    [
        (("a", "a"), [], "are the same file"),
        (("a", "a"), [[0, 1]], "are the same file"),  # and not reported again as near
        (("a", "b"), [[0, 1]], "nearly the same photograph"),
    ],
)
def test_an_image_that_is_there_twice_is_a_fault_only_under_two_labels(
    tmp_path, labels, faults, warnings, digests, near, says
):
    findings = Findings()
    infos = [ImageInfo(digest, (9, 9), "RGB", blank=False) for digest in digests]
    check_duplicates(images(tmp_path, labels), infos, np.array(near, np.int64).reshape(-1, 2), findings)
    assert (len(findings.faults), len(findings.warnings)) == (faults, warnings)
    (example,) = (*findings.faults, *findings.warnings)[0].examples
    assert says in example
    assert "i0.png" in example
    assert "i1.png" in example


LABELS = ["nv"] * 40 + ["mel"] * 30 + ["df"] * 12


def divided(tmp_path, fill_to=None, **settings):
    findings = Findings()
    split = check_split(images(tmp_path, LABELS), SplitConfig(**({"rare": ("df",)} | settings)), 0, findings, fill_to)
    return split, [example for fault in findings.faults for example in fault.examples], findings.warnings


def test_the_split_that_a_study_would_make_is_given_and_too_few_shots_and_tests_are_warned_of(tmp_path):
    split, faults, warnings = divided(tmp_path, shots=16)
    assert faults == []
    assert sum(map(len, split.parts().values())) == len(LABELS)
    text = " ".join(example for warning in warnings for example in warning.examples)
    n, tested = split.train.counts()["df"], split.test.counts()
    assert f"'df' has {n} leakage groups in the train part, and split.shots is 16" in text
    assert [f"{label!r} has {count} leakage groups to be tested on" in text for label, count in tested.items()] == [
        count < 10 for count in tested.values()
    ]
    assert set(tested) == {"df", "mel", "nv"}


def test_a_class_that_no_image_would_be_added_to_is_warned_of(tmp_path):
    _, faults, warnings = divided(tmp_path, rare=("df", "nv"), fill_to=20)
    assert faults == []
    (warning,) = [warning for warning in warnings if "to train on" in warning.examples[0]]
    assert len(warning.examples) == 1
    assert warning.examples[0].startswith("'nv' has ")
    assert "filled up to 20" in warning.fix


def test_every_fold_is_checked_and_named(tmp_path):
    split, _, warnings = divided(tmp_path, n_splits=3, fold=1)
    few = {text.split(":")[0] for warning in warnings for text in warning.examples if "split.shots" in text}
    assert few == {"fold 0", "fold 1", "fold 2"}
    study_s = make_split(images(tmp_path, LABELS), SplitConfig(rare=("df",), n_splits=3, fold=1), 0)
    assert split.test.digest() == study_s.test.digest()


def test_study_seeds_that_divide_the_images_badly_are_named(tmp_path, monkeypatch):
    def folds(manifest, config, seed):
        if seed == 4:
            raise DataError("the test part got no image of 'df'; give that class more lesions")
        return make_folds(manifest, config, seed)

    findings = Findings()
    monkeypatch.setattr(checks, "make_folds", folds)
    check_seeds(images(tmp_path, LABELS), SplitConfig(rare=("df",)), (1, 4), findings)
    (fault,) = findings.faults
    assert fault.examples == ("study seed 4: the test part got no image of 'df'",)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rare": ()}, "split.rare names no class"),
        ({"rare": ("df", "df")}, "split.rare names 'df' twice"),
        ({"rare": ("zebra",)}, "split.rare names 'zebra', which no image has"),
        ({"n_splits": 13}, "'df' has 12 leakage groups"),
    ],
)
def test_what_cannot_be_divided_is_a_fault_and_gives_no_split(tmp_path, settings, says):
    split, faults, _ = divided(tmp_path, **settings)
    assert split is None
    assert faults == [says]
