import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.config import parse
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS
from data.phantoms.table import PhantomConfig
from data.sources.load import ROW, DataConfig, load_manifest, numbered_manifest
from data.sources.tables import Columns
from data.splits.split import SplitConfig, make_split

HAM10000 = Path(os.environ.get("HAM10000", "../shared/ham10000"))
CONFIG = {"source": "table", "table": "table.csv", "columns": {"image": "file", "label": "dx"}}


def write_images(folder, names):
    for n, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "photos", ["a.jpg", "b.jpg", "c.png", "d.JPG"])
    return tmp_path


def read(folder, table=None, workdir=None, **settings):
    if table is not None:
        (folder / "table.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    config = parse(DataConfig, {**CONFIG, "folder": str(folder), **settings}, "c.yaml")
    return load_manifest(config, workdir or folder)


FOUR = "file,dx,age\na,mel,50\nb.jpg,nv,\nphotos/c,nv,7\nphotos/d.JPG,mel,NA\n"


def test_a_table_finds_its_images_by_name_or_path_with_or_without_suffix(folder):
    manifest = read(folder, FOUR)
    assert manifest.table["path"].tolist() == ["photos/a.jpg", "photos/b.jpg", "photos/c.png", "photos/d.JPG"]
    assert manifest.table["image_id"].tolist() == ["a", "b", "photos/c", "photos/d"]
    assert manifest.counts() == {"mel": 2, "nv": 2}
    assert list(manifest.table.columns) == [*COLUMNS, "age"]
    assert manifest.table["age"].tolist() == ["50", "", "7", "NA"]
    assert all(path.is_file() for path in manifest.paths())
    assert set(manifest.table["source"]) == {"real"}
    assert set(manifest.table["lineage"]) == {""}


@pytest.mark.parametrize("label", ["NA", "null", "None", "nan", "0012", "1e5", "1e400", "true", "-inf"])
def test_labels_stay_the_text_that_they_are(folder, label):
    manifest = read(folder, f"file,dx\na,{label}\nb,mel\n")
    assert manifest.table["label"].tolist() == [label, "mel"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_byte_order_marks_windows_lines_and_blanks_around_cells_are_understood(folder, separator, mark):
    table = mark + FOUR.replace(",", f" {separator} ").replace("\n", "\r\n")
    plain = read(folder, FOUR).table
    assert read(folder, table).table.equals(plain)


def test_groups_are_the_first_known_of_group_patient_lesion_and_image(folder, caplog):
    table = "file,dx,lesion_id,who,site\na,mel,L,P,\nb,nv,M,,S\nc,nv,N,,\nd,mel,,,\n"
    columns = {"image": "file", "label": "dx", "patient": "who", "group": "site"}
    manifest = read(folder, table, columns=columns)
    assert manifest.table["group_id"].tolist() == ["patient P", "group S", "lesion N", "image d"]
    assert manifest.table["lesion_id"].tolist() == ["L", "M", "N", ""]
    assert manifest.table["patient_id"].tolist() == ["P", "", "", ""]
    assert not caplog.records


def test_a_patient_and_a_lesion_of_one_name_are_two_groups(folder):
    manifest = read(folder, "file,dx,lesion_id,patient_id\na,mel,1,\nb,nv,,1\n")
    assert manifest.table["group_id"].is_unique


def test_no_group_column_is_said_in_a_warning(folder, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(folder, FOUR).table["group_id"].is_unique
    assert "no group, patient or lesion is known" in caplog.text


def test_a_table_s_own_columns_do_not_overwrite_the_manifest_s(folder):
    manifest = read(folder, "file,dx,source,path\na,mel,camera 1,/x\nb,nv,camera 2,/y\n")
    assert manifest.table["table_source"].tolist() == ["camera 1", "camera 2"]
    assert manifest.table["source"].tolist() == ["real", "real"]


def test_labels_can_be_renamed_merged_and_chosen(folder):
    table = "file,dx\na,AK\nb,SCC\nc,NV\nd,MEL\n"
    label_map = {"AK": "akiec", "SCC": "akiec", "NV": "nv"}
    assert read(folder, table, label_map=label_map).counts() == {"MEL": 1, "akiec": 2, "nv": 1}
    assert read(folder, table, label_map=label_map, labels=["akiec", "nv"]).counts() == {"akiec": 2, "nv": 1}


def test_a_label_is_the_first_of_several_columns_that_is_filled_in(folder):
    columns = {"image": "file", "label": ["gone", "fine", "coarse"]}
    manifest = read(folder, "file,coarse,fine\na,benign,nevus\nb,malignant,\n", columns=columns)
    assert manifest.table["label"].tolist() == ["nevus", "malignant"]
    assert manifest.table["fine"].tolist() == ["nevus", ""]


def test_images_that_are_left_out_need_not_be_there_but_must_be_named_rightly(folder):
    assert len(read(folder, FOUR + "gone,bcc,1\n", exclude_ids=["gone"])) == 4
    with pytest.raises(DataError, match=r"table\.csv: has no image 'gnoe'; take it out of `exclude_ids`"):
        read(folder, FOUR, exclude_ids=["gnoe"])


def test_lesion_ids_of_the_archive_and_of_ham10000_do_not_mix(folder):
    with pytest.raises(DataError, match=r"lesion ids of two systems, such as HAM_1 and IL_1"):
        read(folder, "file,dx,lesion_id\na,mel,HAM_1\nb,nv,IL_1\n")
    assert len(read(folder, "file,dx,lesion_id\na,mel,HAM_1\nb,nv,BCN_1\n")) == 2


def test_what_is_not_chosen_need_not_be_there(folder):
    manifest = read(folder, FOUR + "gone,bcc,1\n", labels=["mel", "nv"])
    assert len(manifest) == 4


def test_one_hot_labels_and_an_extra_table_as_isic_has_them(folder):
    (folder / "groups.csv").write_text("image,lesion_id,extra\nb,L1,x\na,L1,y\nc,L2,z\nz,L9,not in the table\n")
    columns = {"image": "image", "one_hot": ["MEL", "NV"]}
    table = "image,MEL,NV\na,1.0,0.0\nb,1,0\nc,0.0,1.0\n"
    manifest = read(folder, table, columns=columns, extra_tables=["groups.csv"])
    assert manifest.table["label"].tolist() == ["MEL", "MEL", "NV"]
    assert manifest.table["lesion_id"].tolist() == ["L1", "L1", "L2"]
    assert manifest.table["extra"].tolist() == ["y", "x", "z"]


ONE_HOT = {"columns": {"image": "file", "one_hot": ["MEL", "NV"]}}
BAD = {
    "no such table": (None, {}, r"table\.csv: cannot be read"),
    "not text": (b"\xff\xfe\x00", {}, r"table\.csv: cannot be read .* UTF-8"),
    "no rows": ("file,dx\n", {}, r"table\.csv: has no rows"),
    "a field too many in one row": ("file,dx\na,mel,x\nb,nv\n", {}, r"row 2 has 3 fields, the header 2"),
    "a field too many in every row": ("file,dx\na,mel,x\nb,nv,y\n", {}, r"row 2 has 3 fields, the header 2"),
    "a field too few": ("file,dx\na,mel\nb\n", {}, r"row 3 has 1 fields, the header 2"),
    "an open quote": ('file,dx\n"a,mel\n', {}, r"table\.csv"),
    "no image column": ("id,dx\na,mel\n", {}, r"no column 'file'; it has id, dx"),
    "no label column": ("file,label\na,mel\n", {}, r"no column 'dx'; it has file, label"),
    "no lesion column": (FOUR, {"columns": {"image": "file", "label": "dx", "lesion": "mole"}}, r"no column 'mole'"),
    "an image twice": ("file,dx\na,mel\nb,nv\na.jpg,mel\n", {}, r"rows 2 and 4 both are image 'a'; remove one"),
    "an image with two labels": ("file,dx\na,mel\na,nv\n", {}, r"rows 2 and 3 both are image 'a' as 'mel' and 'nv'"),
    "one file under two names": ("file,dx\na,mel\nphotos/a.jpg,nv\n", {}, r"rows 2 and 3 mean the same file photos/a"),
    "no label": ("file,dx\na,mel\nb, \n", {}, r"row 3 has no label; fill it in"),
    "no image": ("file,dx\na,mel\n,nv\n", {}, r"row 3 has no image_id"),
    "labels that differ in case": ("file,dx\na,mel\nb,MEL\n", {}, r"labels MEL and mel differ in case"),
    "a lesion with two labels": (
        "file,dx,lesion_id\na,mel,L\nb,mel,L\nc,nv,L\n",
        {},
        r"lesion 'L' is 'mel' in row 2 and 'nv' in row 4; give it one label",
    ),
    "a missing image": ("file,dx\na,mel\nx,nv\ny,nv\n", {}, r"row 3: no image 'x' below .*\(and 1 more\)"),
    "a label with no images": (FOUR, {"labels": ["mel", "vasc"]}, r"label 'vasc' has no images; labels there: mel, nv"),
    "a misspelt label": (FOUR, {"labels": ["mel", "mle"]}, r"label 'mle' has no images; labels there: mel"),
    "a mapped label with no images": (FOUR, {"label_map": {"bcc": "x"}}, r"label 'bcc' has no images"),
    "one label": ("file,dx\na,mel\nb,mel\n", {}, r"all images are 'mel'; there must be two labels"),
    "no one-hot label": ("file,MEL,NV\na,1,0\nb,0,0\n", ONE_HOT, r"row 3 has 0, 0 for MEL, NV; one must be 1"),
    "two one-hot labels": ("file,MEL,NV\na,1,1\nb,0,1\n", ONE_HOT, r"row 2 has 1, 1 for MEL, NV"),
    "a probability": ("file,MEL,NV\na,0.5,0.5\nb,0,1\n", ONE_HOT, r"row 2 has 0\.5, 0\.5"),
    "an empty one-hot label": ("file,MEL,NV\na,1,0\nb,1,0\n", ONE_HOT, r"label 'NV' has no images"),
    "no extra table": (FOUR, {"extra_tables": ["more.csv"]}, r"more\.csv: cannot be read"),
}


@pytest.mark.parametrize(("table", "settings", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_refused_in_one_line_with_file_row_and_fix(folder, table, settings, message):
    with pytest.raises(DataError, match=message) as refused:
        read(folder, table, **settings)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)


def collected(folder, table, **settings):
    """All faults of a table, and the ids of the images that are left."""
    faults = []
    (folder / "table.csv").write_text(table)
    config = parse(DataConfig, {**CONFIG, "folder": str(folder), **settings}, "c.yaml")
    left = load_manifest(config, folder, on_fault=faults.append).table["image_id"].tolist()
    assert all(fault.where.startswith(str(folder)) for fault in faults)
    return [fault.examples for fault in faults], left


def test_all_faults_of_a_table_can_be_had_at_once_and_the_rows_without(folder):
    table = "file,dx,lesion_id\na,mel,L\nb,nv,L\nb,nv,\nb.jpg,mel,\nc,nv\nx,nv,\ny,Nv,\n,nv,\nphotos/d.JPG,,\nd,mel,\n"
    faults, left = collected(folder, table, labels=["Nv", "bcc", "mel", "nv", ""])
    assert faults == [
        ("row 6 has 2 fields, the header 3",),
        ("the label 'bcc' has no images",),
        ("row 9 has no image_id",),
        ("row 10 has no label",),
        ("rows 3 and 4 both are image 'b'", "rows 3 and 5 both are image 'b' as 'nv' and 'mel'"),
        ("the labels Nv and nv differ in case alone",),
        ("lesion 'L' is 'mel' in row 2 and 'nv' in row 3",),
        (f"row 7: no image 'x' below {folder}", f"row 8: no image 'y' below {folder}"),
    ]
    assert left == ["a", "b", "d"]


def test_all_faults_of_one_hot_and_extra_tables_can_be_had_at_once(folder):
    (folder / "more.csv").write_text("file,lesion\na,1\na,2\nc,3\nc,4\n")
    faults, left = collected(
        folder, "file,MEL,NV,BCC\na,1,0,0\nb,1,1,0\nc,0,1,0\nd,0,0,0\n", extra_tables=["more.csv"],
        columns={"image": "file", "one_hot": ["MEL", "NV", "BCC"]},
    )  # fmt: skip
    assert faults == [
        ("row 3 repeats image 'a'", "row 5 repeats image 'c'"),
        ("has no row for image 'b' of table.csv, row 3", "has no row for image 'd' of table.csv, row 5"),
        ("row 3 has 1, 1, 0 for MEL, NV, BCC", "row 5 has 0, 0, 0 for MEL, NV, BCC"),
        ("the label 'BCC' has no images",),
    ]
    assert left == ["a", "c"]


def test_all_columns_that_are_missing_are_named(folder):
    with pytest.raises(DataError, match=r"no column 'dx', 'mole'; it has file, who: name one under `columns`"):
        read(folder, "file,who\na,P\n", columns={"image": "file", "label": "dx", "lesion": "mole"})


def test_a_numbered_manifest_tells_table_and_row_and_is_the_same_otherwise(folder):
    (folder / "table.csv").write_text("file,dx,site\na,mel,x\ngone,nv,y\nc,nv,z\n")
    (folder / "held.csv").write_text("file,dx\nb,nv\n")
    config = parse(DataConfig, {**CONFIG, "folder": str(folder), "test": {"table": "held.csv"}}, "c.yaml")
    table = numbered_manifest(config, folder, None, lambda fault: None).table
    assert table[ROW].tolist() == ["table.csv, row 2", "table.csv, row 4", "held.csv, row 2"]
    plain = load_manifest(config, folder, on_fault=lambda fault: None).table
    assert ROW not in plain
    assert table.drop(columns=ROW).equals(plain)


def test_extra_tables_must_know_every_image_and_each_once(folder):
    (folder / "more.csv").write_text("file,lesion\na,1\nb.jpg,2\nphotos/c,3\n")
    with pytest.raises(DataError, match=r"more\.csv: has no row for image 'photos/d\.JPG' of table\.csv, row 5"):
        read(folder, FOUR, extra_tables=["more.csv"])
    (folder / "more.csv").write_text("file,lesion\na,1\na,2\n")
    with pytest.raises(DataError, match=r"more\.csv: row 3 repeats image 'a'"):
        read(folder, FOUR, extra_tables=["more.csv"])


def test_one_name_for_two_different_files_is_refused_but_not_for_two_copies(folder):
    write_images(folder, ["other/b.jpg"])
    with pytest.raises(DataError, match=r"row 3: 'b\.jpg' may be other/b\.jpg or photos/b\.jpg; write its path"):
        read(folder, FOUR)
    shutil.copy(folder / "photos" / "b.jpg", folder / "other" / "b.jpg")
    assert len(read(folder, FOUR)) == 4


def test_hidden_files_of_archives_are_no_images(folder):
    write_images(folder, ["photos/._a.jpg", "__MACOSX/a.jpg", "photos/.cache/a.jpg"])
    for stray in folder.rglob("a.jpg"):
        assert stray.is_file()
    assert read(folder, FOUR).table["path"][0] == "photos/a.jpg"


CELL = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
LABEL = CELL.filter(lambda text: not set('/\\:*?"<>|') & set(text) and text.strip(".") == text)  # may name a folder


@given(labels=st.lists(LABEL, min_size=4, max_size=4), ages=st.lists(CELL, min_size=4, max_size=4))
@settings(deadline=None, max_examples=40)
def test_any_text_comes_back_as_it_was_written(tmp_path_factory, labels, ages):
    import csv
    import io

    folder = tmp_path_factory.getbasetemp() / "any"
    if not folder.exists():
        write_images(folder / "photos", ["a.jpg", "b.jpg", "c.png", "d.JPG"])
    if len({label.casefold() for label in labels}) < len(set(labels)) or len(set(labels)) < 2:
        return
    out = io.StringIO()
    csv.writer(out).writerows([["file", "dx", "age"], *zip("abcd", labels, ages, strict=True)])
    table = read(folder, out.getvalue()).table
    assert table["label"].tolist() == labels
    assert table["age"].tolist() == ages


def ham10000(folder, table="HAM10000_metadata.csv"):
    images = {
        "ISIC_1": "HAM10000_images_part_1",
        "ISIC_2": "HAM10000_images_part_1",
        "ISIC_3": "HAM10000_images_part_2",
    }
    write_images(folder, [f"{part}/{name}.jpg" for name, part in images.items()])
    write_images(folder, ["HAM10000_segmentations/ISIC_1_segmentation.png", "ISIC2018_test/ISIC_1.jpg"])
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization", "HAM_1,ISIC_1,nv,histo,80.0,male,scalp"]
    rows += ["HAM_1,ISIC_2,nv,histo,80.0,male,scalp", "HAM_2,ISIC_3,df,consensus,,female,back"]
    text = "\n".join(rows)
    (folder / table).write_text(text.replace(",", "\t") if table.endswith(".tab") else text)


@pytest.mark.parametrize("table", ["HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata"])
def test_ham10000_reads_as_it_is_published(tmp_path, table):
    ham10000(tmp_path, table)
    manifest = load_manifest(DataConfig(source="ham10000", folder=str(tmp_path)), tmp_path)
    assert manifest.counts() == {"df": 1, "nv": 2}
    assert manifest.table["path"][2] == "HAM10000_images_part_2/ISIC_3.jpg"
    assert manifest.table["group_id"].tolist() == ["lesion HAM_1", "lesion HAM_1", "lesion HAM_2"]
    assert manifest.table["age"].tolist() == ["80.0", "80.0", ""]


def test_ham10000_reads_from_one_folder_and_with_kaggle_s_second_copies(tmp_path):
    ham10000(tmp_path)
    shutil.copytree(tmp_path / "HAM10000_images_part_1", tmp_path / "ham10000_images_part_1")
    config = DataConfig(source="ham10000", folder=str(tmp_path))
    assert len(load_manifest(config, tmp_path)) == 3
    for name in ("HAM10000_images_part_1", "ham10000_images_part_1", "ISIC2018_test"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "HAM10000_images_part_2").rename(tmp_path / "images")
    write_images(tmp_path / "images", ["ISIC_1.jpg", "ISIC_2.jpg"])
    assert len(load_manifest(config, tmp_path)) == 3


def test_ham10000_without_its_table_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no HAM10000_metadata\.csv here; put the data set's table beside"):
        load_manifest(DataConfig(source="ham10000", folder=str(tmp_path)), tmp_path)


def test_a_folder_may_stand_in_an_environment_variable(tmp_path, monkeypatch):
    ham10000(tmp_path)
    config = DataConfig(source="ham10000", folder="$SKIN_IMAGES")
    with pytest.raises(DataError, match=r"\$SKIN_IMAGES: that environment variable is not set"):
        load_manifest(config, tmp_path)
    monkeypatch.setenv("SKIN_IMAGES", str(tmp_path))
    assert len(load_manifest(config, tmp_path)) == 3
    with pytest.raises(DataError, match="no such folder"):
        load_manifest(DataConfig(source="folders", folder=str(tmp_path / "x")), tmp_path)


def test_phantoms_are_drawn_once_and_again_for_another_config_or_a_lost_file(tmp_path):
    drawn = []

    def load(seed):
        config = DataConfig(phantom=PhantomConfig(images=28, width=32, height=24, seed=seed))
        return load_manifest(config, tmp_path, lambda done, total, note="": drawn.append(done))

    first = load(0)
    assert len(drawn) == len(first) == 28
    assert load(0).digest() == first.digest()
    assert len(drawn) == 28
    load(1)
    assert len(drawn) == 56
    first.paths()[3].unlink()
    assert load(0).digest() == first.digest()
    assert len(drawn) == 84
    assert all(path.is_file() for path in first.paths())
    assert (first.table["patient_id"] != "").all()
    assert (first.table["group_id"] == "patient " + first.table["patient_id"]).all()


def test_a_drawn_test_part_is_the_official_test_part_of_the_split(tmp_path):
    phantom = PhantomConfig(images=84, width=32, height=24, balanced=True)
    without, tested = (
        load_manifest(DataConfig(phantom=replace(phantom, test_lesions=n)), tmp_path / str(n)) for n in (0, 3)
    )
    assert "part" not in without.table
    assert tested.table["part"].value_counts().to_dict() == {"": 84, "test": 21}
    others = tested.where(tested.table["part"] == "")
    assert others.table[without.table.columns].equals(without.table)
    split = make_split(tested, SplitConfig(rare=("df",)), 0)
    assert set(split.test.table["image_id"]) == set(tested.table["image_id"][tested.table["part"] == "test"])
    assert split.test.counts() == dict.fromkeys(without.labels, 3)
    assert split.left_out == frozenset()
    assert len(split.train) + len(split.validation) == 84


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "phantoms"}, "source"),
        ({"test": {"table": "x"}}, "phantoms have no table of a `test` set; set `phantom.test_lesions`"),
        ({"folderr": "x"}, "did you mean 'folder'"),
        ({"phantom": {"image": 3}}, "phantom.image: unknown key; did you mean 'images'"),
        ({"columns": {"lable": "dx"}}, "columns.lable: unknown key; did you mean 'label'"),
        ({"source": "ham10000"}, "the source ham10000 needs `folder`"),
        ({"test": {"table": "x", "foldre": "x"}}, "test.foldre: unknown key; did you mean 'folder'"),
        ({"source": "table", "folder": "x"}, "the source table needs `table`"),
    ],
)
def test_an_invalid_config_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse(DataConfig, settings, "c.yaml")


def test_the_defaults_are_the_embedded_phantoms():
    assert parse(DataConfig, {}, "c.yaml") == DataConfig()
    assert DataConfig().source == "phantom"
    assert DataConfig().columns == Columns()


@pytest.mark.skipif(not HAM10000.is_dir(), reason="HAM10000 is not here; name its folder in $HAM10000")
def test_the_real_ham10000_counts_as_published(tmp_path):
    manifest = load_manifest(DataConfig(source="ham10000", folder=str(HAM10000)), tmp_path)
    counts = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
    assert manifest.counts() == counts
    assert len(manifest) == 10015
    lesions = {"akiec": 228, "bcc": 327, "bkl": 727, "df": 73, "mel": 614, "nv": 5403, "vasc": 98}
    assert manifest.table.groupby("label")["lesion_id"].nunique().to_dict() == lesions
    assert manifest.table["lesion_id"].nunique() == 7470
    assert (manifest.table["age"] == "").sum() == 57


def test_columns_that_differ_in_blanks_alone_are_refused_in_words(tmp_path):
    (tmp_path / "t.csv").write_text("image_id,label, label\na,nv,1\nb,df,2\n")
    with pytest.raises(DataError, match=r"t\.csv: the column 'label' appears twice, apart from blanks; rename one"):
        load_manifest(DataConfig(source="table", folder=str(tmp_path), table="t.csv"), tmp_path)
