"""The doctor finds all that is wrong in one go, changes nothing, and agrees with what a study does."""

import logging
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from data.doctor import __main__ as doctor

HAM10000 = Path(os.environ.get("HAM10000", "../shared/ham10000"))
WELL = {"nv": 48, "mel": 32, "df": 32}  # images a class, two a lesion


def photograph(seed, size=80):
    """A dark blob on skin, its texture its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    blob = 1 / (1 + np.exp(30 * (np.hypot(rows * rng.uniform(0.9, 1.4), columns) - rng.uniform(0.2, 0.3))))
    texture = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 1.5) * 40
    gray = 190 - 90 * blob + texture * (0.4 + blob)
    return Image.fromarray(np.clip(gray[..., None] * [1.0, 0.8, 0.7], 0, 255).astype(np.uint8))


class Study:
    """A folder of photographs with a table and a config, for tests to spoil."""

    def __init__(self, folder):
        self.folder = folder
        self.rows = [["image", "dx", "lesion", "age"]]
        self.settings = {
            "data": {
                "source": "table",
                "folder": str(folder),
                "table": "t.csv",
                "columns": {"image": "image", "label": "dx", "lesion": "lesion"},
            },
            "split": {"rare": ["df"], "shots": 4},
            "base": {"source": "anything, which is not the doctor's business"},
        }
        (folder / "photos").mkdir()
        for n, label in enumerate(label for label, count in WELL.items() for _ in range(count)):
            photograph(n).save(self.path(n))
            self.rows.append([f"im{n:03d}", label, f"L{n // 2}", "50"])

    def path(self, n, suffix="png"):
        return self.folder / "photos" / f"im{n:03d}.{suffix}"

    def ask(self, capsys, *arguments):
        """Exit code, and the page in one line without its wrapping."""
        (self.folder / "t.csv").write_text("\n".join(",".join(row) for row in self.rows))
        config = self.folder / "c.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        code = doctor.main([str(config), *arguments])
        self.page, self.errors = capsys.readouterr()
        return code, " ".join(self.page.split())


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_a_valid_folder_is_summed_up_and_has_no_fault(study, capsys):
    study.rows[5][3] = study.rows[6][3] = ""
    study.rows[7][3] = "unknown"
    code, page = study.ask(capsys)
    assert code == 0
    assert "112 images, 56 lesions, no patients known; 56 groups" in page
    assert "sizes: 80 x 80 (112) coded as: RGB (112) further columns: age (3 unknown)" in page
    rows = [line.split() for line in study.page.splitlines()]
    assert next(row for row in rows if row[:1] == ["nv"])[:3] == ["nv", "48", "24"]
    test, validation, train = (int(next(row for row in rows if row[:1] == ["all"])[-n]) for n in (1, 2, 3))
    assert train + validation + test == 112
    assert re.search(r"No fault was found\. It took \d+ s\.$", page)
    assert "WRONG" not in page


def spoil(study):
    """One of every fault that images and table can have."""
    study.path(3).write_bytes(study.path(3).read_bytes()[:3000])
    study.path(5).write_text("no image")
    study.path(6).unlink()
    study.path(7).unlink()
    shutil.copy(study.path(10), study.path(50))
    photograph(12).save(study.path(52, "jpg"), quality=60)
    study.path(52).unlink()
    study.rows += [["", "nv", "", ""], ["im001", "mel", "L9", ""], ["im111", "", "", ""]]
    study.rows += [["x", "vasc", "L8", ""]]
    photograph(999).save(study.folder / "photos" / "x.png")
    study.settings["split"]["rare"] = ["df", "bcc", "vasc", "bcc"]


FAULTS = [
    "row 114 has no image_id -> fill it in",
    "row 116 has no label -> fill it in",
    "rows 3 and 115 both are image 'im001' as 'nv' and 'mel' -> remove one",
    "lesion 'L8' is 'nv' in row 18 and 'vasc' in row 117",
    "lesion 'L9' is 'nv' in row 20 and 'mel' in row 115 -> give it one label",
    "row 8: no image 'im006' below",
    "row 9: no image 'im007' below",
    "im003.png (row 5): broken image",
    "im005.png (row 7): not an image of a format that is read (JPEG, PNG, TIFF, WEBP, BMP) -> export it again as JPEG",
    "im010.png (row 12) is 'nv' and im050.png (row 52) 'mel', but they are the same file",
    "im012.png (row 14) is 'nv' and im052.jpg (row 54) 'mel', but they show nearly the same photograph",
    "split.rare names 'bcc' twice -> name it once",
    "split.rare names 'bcc', which no image has -> labels: df, mel, nv, vasc",
    "'vasc' has 1 leakage group -> train, validation and test need at least one each",
]


def test_all_faults_are_reported_in_one_go_with_their_rows_and_fixes(study, capsys):
    spoil(study)
    code, page = study.ask(capsys)
    assert code == 2
    assert [fault for fault in FAULTS if fault not in page] == []
    assert page.count(" -> ") == 12, "and no others"
    assert "12 faults to fix before a study." in page
    lines = [line for line in study.page.splitlines() if str(study.folder) not in line]
    assert max(map(len, lines)) <= 80, "but for paths, which cannot be broken"


WARNINGS = [
    "im020.png (row 22) and im021.png (row 23) are the same file -> it counts twice",
    "im022.png (row 24) and im025.jpg (row 27) are of two groups but show nearly the same photograph -> they are kept",
    "images of 3 sizes and different proportions: 80 x 80 (110), 20 x 16 (1), 200 x 100 (1)",
    "1 coded as 16-bit greyscale, first im030.png (row 32)",
    "1 coded as CMYK, first im031.jpg (row 33)",
    "1 coded as greyscale, first im032.png (row 34)",
    "1 coded as palette, first im033.png (row 35)",
    "smaller than pixels.size 64: 1 of 112 images, down to 20 x 16",
    "im036.png (row 38): is one colour all over",
    "that are not used: 1, first photos/extra.png",
    "'df' has 8 leakage groups in the train part, and split.shots is 40",
    "'df' has 5 leakage groups to be tested on",
]


def test_what_is_odd_but_can_be_used_is_worth_knowing_and_no_fault(study, capsys):
    shutil.copy(study.path(20), study.path(21))
    for n in (25, 31):
        study.path(n).unlink()
    photograph(22).save(study.path(25, "jpg"), quality=60)
    Image.fromarray(np.asarray(photograph(30))[..., 0].astype(np.uint16) * 257).save(study.path(30))
    photograph(31).convert("CMYK").save(study.path(31, "jpg"))
    photograph(32).convert("L").save(study.path(32))
    photograph(33).convert("P").save(study.path(33))
    photograph(34).resize((20, 16)).save(study.path(34))
    photograph(35).resize((200, 100)).save(study.path(35))
    Image.new("RGB", (80, 80)).save(study.path(36))
    photograph(999).save(study.folder / "photos" / "extra.png")
    study.settings["split"]["shots"] = 40
    code, page = study.ask(capsys)
    assert code == 0
    assert [warning for warning in WARNINGS if warning not in page] == []
    lines = [line for line in study.page.splitlines() if str(study.folder) not in line]
    assert max(map(len, lines)) <= 80, "but for paths, which cannot be broken"


def test_no_group_column_is_worth_knowing(study, capsys, caplog):
    del study.settings["data"]["columns"]["lesion"]
    code, page = study.ask(capsys, "data.columns.lesion=null")
    assert code == 0
    assert "no group, patient or lesion is known, so photographs of one lesion can be on both sides" in page
    assert "-> name their column under `columns`: lesion, patient or group" in page
    assert not study.errors, "the warning is on the page, and is not printed twice"
    assert logging.getLogger("data").propagate


def test_folders_say_so_too(tmp_path, capsys):
    for label, count in {"nv": 25, "mel": 20, "df": 15}.items():
        (tmp_path / label).mkdir()
        for n in range(count):
            photograph(1000 * count + n).save(tmp_path / label / f"{n}.png")
    (tmp_path / "c.yaml").write_text(f"data: {{source: folders, folder: {tmp_path}}}\nsplit: {{rare: [df]}}")
    assert doctor.main([str(tmp_path / "c.yaml")]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "folders name no patient or lesion, so each image is a group of its own" in page


def test_nothing_is_changed(study, capsys):
    spoil(study)
    study.ask(capsys)
    before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    study.ask(capsys)
    after = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
    written_by_the_test = {study.folder / "t.csv", study.folder / "c.yaml"}
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= written_by_the_test


def test_a_table_that_cannot_be_used_says_that_there_may_be_more(study, capsys):
    study.settings["data"]["columns"]["label"] = "diagnosis"
    code, page = study.ask(capsys)
    assert code == 2
    assert "no column 'diagnosis' -> it has image, dx, lesion, age: name one under `columns`" in page
    assert "1 fault to fix before a study. Further checks need that fixed." in page


def test_many_examples_of_one_kind_are_cut_short_unless_all_are_asked_for(study, capsys):
    for n in range(20, 32):
        study.path(n).unlink()
    _, page = study.ask(capsys)
    assert "'im024'" in page
    assert "'im025'" not in page
    assert "and 7 more (--all lists them)" in page
    _, page = study.ask(capsys, "--all")
    assert "'im031'" in page
    assert "--all" not in page


def test_every_fold_is_tried(study, capsys):
    code, page = study.ask(capsys, "split.n_splits=4", "split.fold=2", "split.shots=13")
    assert code == 0
    for fold in range(4):
        assert f"fold {fold}: 'df' has 4 leakage groups to be tested on" in page
    code, page = study.ask(capsys, "split.n_splits=17")
    assert code == 2
    assert "'df' has 16 leakage groups 'mel' has 16 leakage groups -> the test parts of 17 folds need" in page


def test_a_rare_class_that_is_not_rare_is_worth_knowing(study, capsys):
    _, page = study.ask(capsys, "split.rare=[nv]")
    assert "'nv' has 20 images to train on -> it gets no synthetic image: rare classes are filled up to 16" in page
    _, page = study.ask(capsys, "split.rare=[df]")
    assert "'df' has 16 images to train on -> it gets no synthetic image" in page
    _, page = study.ask(capsys, "split.rare=[df]", "fill_to=20")
    assert "no synthetic image" not in page


def made_externally(folder, numbers):
    """Images of another program for the class df, drawn from these seeds, and the arm that they are."""
    (folder / "df").mkdir(parents=True, exist_ok=True)
    for n in numbers:
        photograph(n).save(folder / "df" / f"{n}.png")
    return [f"arms=[real, {{folder: {folder}, name: theirs}}]", "fill_to=19"]


def test_external_images_are_checked_too(study, capsys, tmp_path_factory):
    asked = made_externally(tmp_path_factory.mktemp("made"), [901, 902, 903])
    code, page = study.ask(capsys, *asked)
    assert (code, "theirs" in page) == (0, False)
    code, page = study.ask(capsys, *asked[:1], "fill_to=30")
    assert (code, "'df' needs 14 images, as many as the other arms add, but 3 are there" in page) == (2, True)
    code, page = study.ask(capsys, "arms=[real, {folder: nowhere}]")
    assert (code, "nowhere: no such folder -> arm 'external' must name" in page) == (2, True)


def test_external_images_that_are_broken_or_copies_of_evaluation_images_are_faults(study, capsys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    asked = made_externally(folder, [*range(len(study.rows) - 1), 901, 902, 903])  # a copy of every photograph
    (folder / "df" / "903.png").write_bytes(b"no picture")
    code, page = study.ask(capsys, asked[0], "fill_to=120")
    assert code == 2
    assert "903.png: not an image of a format that is read" in page
    assert re.search(r"arm 'theirs': \d+\.png: shows nearly the same as im\d+\.png \(row \d+\) of the test part", page)
    assert re.search(r"shows nearly the same as im\d+\.png \(row \d+\) of the validation part", page)
    assert "the train part" not in re.sub("from the train part alone", "", page.split("WRONG")[1].split("worth")[0])


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("splitt.rare=[df]", "splitt: unknown key; did you mean 'split'"),
        ("data.tabel=x", "data.tabel: unknown key; did you mean 'table'"),
        ("split.test_size=2", "split.test_size"),
        ("split.folds=3", "split.folds: unknown key; it is called split.n_splits now"),
        ("runs=there", "runs: unknown key; it is called output_dir now"),
    ],
)
def test_an_invalid_config_is_refused_in_one_line(study, capsys, argument, words):
    code, _ = study.ask(capsys, argument)
    assert code == 2
    assert words in study.errors
    assert study.errors.count("\n") == 1


def test_phantoms_have_no_fault(tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("data: {phantom: {images: 140, balanced: true, width: 64, height: 64}}\nsplit: {rare: [df]}")
    assert doctor.main([str(config), f"output_dir={tmp_path / 'runs'}"]) == 0
    assert "140 images" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not HAM10000.is_dir(), reason="HAM10000 is not here; name its folder in $HAM10000")
def test_the_real_ham10000_has_no_fault_but_warns_of_images_that_are_there_twice(tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{source: ham10000, folder: {HAM10000}}}")
    assert doctor.main([str(config)]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "10,015 images, 7,470 lesions, no patients known; 7,465 groups" in page
    assert "age (57 unknown)" in page
    assert "ISIC_0029861.jpg (row 8262) and ISIC_0024366.jpg (row 8263) are the same file" in page
    assert page.count("show nearly the same photograph") == 5


def test_an_image_of_a_format_that_starts_a_program_is_a_fault_and_starts_none(study, capsys, eps):
    study.path(5).write_bytes(eps)
    code, page = study.ask(capsys)
    assert code == 2
    assert "im005.png (row 7): not an image of a format that is read (JPEG, PNG, TIFF, WEBP, BMP) -> export it" in page
    assert "1 fault to fix before a study." in page


def test_a_class_whose_images_are_missing_or_broken_has_no_second_fault(study, capsys):
    for n in range(80, 112):  # all of df
        study.path(n).unlink()
    code, page = study.ask(capsys)
    assert (code, "1 fault to fix before a study." in page) == (2, True)
    for n in range(80):
        study.path(n).unlink()
    code, page = study.ask(capsys)
    assert (code, "1 fault to fix before a study. Further checks need that fixed." in page) == (2, True)
    assert "all images are" not in page


@pytest.mark.parametrize("left", [0, 1, 48])
def test_where_few_or_no_images_can_be_read_that_is_the_only_fault(study, capsys, left):
    for n in range(left, 112):
        study.path(n).write_bytes(b"")
    code, page = study.ask(capsys)
    assert (code, "1 fault to fix before a study." in page) == (2, True)
    assert "im111.png (row 113): not an image" in study.ask(capsys, "--all")[1]


@pytest.mark.parametrize("bits", [11, 12, 13])
@pytest.mark.parametrize("colour", [False, True])
def test_bits_that_do_not_count_are_seen_and_can_be_set(study, capsys, bits, colour):
    scale = 2 ** (bits - 8)
    for n in range(112):
        values = np.asarray(photograph(n)).astype(np.uint16)[..., ::-1]
        values = values if colour else values[..., 0]
        values[0, 0], values[0, 1] = 0, 255
        cv2.imwrite(str(study.path(n)), values * scale)
    code, page = study.ask(capsys)
    assert code == 0
    assert f"112 images use values from 0 to {255 * scale:,} of 65,535 alone, first im000.png (row 2)" in page
    assert f"set `pixels.bits: {bits}`, so that {2**bits - 1:,} is white" in page
    code, page = study.ask(capsys, f"pixels.bits={bits}")
    assert (code, "alone, first" in page) == (0, False)
    code, page = study.ask(capsys, f"pixels.bits={bits - 1}")
    says = f"has values up to {255 * scale:,}, and pixels.bits allows {2 ** (bits - 1) - 1:,}"
    assert (code, says in page) == (2, True)


def test_what_tells_a_class_besides_the_disease_is_worth_knowing(study, capsys):
    study.rows[0].append("scanner")
    for n, row in enumerate(study.rows[1:]):
        row.append("B" if row[1] == "df" else "A")
        if row[1] == "mel":
            photograph(n).convert("L").resize((80, 72)).save(study.path(n))
    _, page = study.ask(capsys)
    for says in (
        "all 32 images coded as greyscale are 'mel', 29% of all images",
        "all 32 images of 80 x 72 pixels are 'mel', 29% of all images",
        "all 32 images in grey are 'mel', 29% of all images",
        "all 32 images whose scanner is B are 'df', 29% of all images",
    ):
        assert says in page
    assert "scanner is A" not in page
