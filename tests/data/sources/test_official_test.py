"""An official test set is the test part unchanged, in either form that ISIC 2018's is published in."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.sources.load import DataConfig, load_manifest
from data.sources.official_test import OfficialTest

TABLE = "ISIC2018_Task3_Test_GroundTruth.csv"
DATAVERSE = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
DATAVERSE += "HAMTEST_1,ISIC_8,nv,histo,50.0,male,back,x\nHAMTEST_2,ISIC_9,df,histo,60.0,female,back,x\n"
CHALLENGE = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n" + "".join(
    f"ISIC_{n}," + ",".join("1.0" if k == n else "0.0" for k in range(7)) + "\n" for n in range(7)
)


def write_images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(folder / f"{name}.jpg")


@pytest.fixture
def folder(tmp_path):
    """HAM10000 of four images, and the images of both forms of the test set."""
    write_images(tmp_path / "HAM10000_images_part_1", [f"ISIC_2{n}" for n in range(4)])
    rows = [f"HAM_{n},ISIC_2{n},{label},histo,80.0" for n, label in enumerate(["nv", "df", "nv", "df"])]
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(["lesion_id,image_id,dx,dx_type,age", *rows]))
    write_images(tmp_path / "ISIC2018_Task3_Test_Images", [f"ISIC_{n}" for n in range(10)])
    return tmp_path


def load(folder, table, test=None, **settings):
    (folder / TABLE).write_text(table)
    held = OfficialTest(**{"table": TABLE, **(test or {})})
    return load_manifest(DataConfig(source="ham10000", folder=str(folder), test=held, **settings), folder)


def test_the_dataverse_form_is_joined_and_marked(folder):
    manifest = load(folder, DATAVERSE)
    assert manifest.table["part"].tolist() == ["", "", "", "", "test", "test"]
    assert manifest.table["label"].tolist()[4:] == ["nv", "df"]
    assert manifest.table["lesion_id"].tolist()[4:] == ["HAMTEST_1", "HAMTEST_2"]
    assert all(path.is_file() for path in manifest.paths())
    assert set(manifest.roots) == {"ham10000"}


def test_tabs_and_zips_serve_as_well(folder):
    shutil.make_archive(str(folder / "ISIC2018_Task3_Test_Images"), "zip", folder / "ISIC2018_Task3_Test_Images")
    shutil.rmtree(folder / "ISIC2018_Task3_Test_Images")
    manifest = load(folder, DATAVERSE.replace(",", "\t"))
    assert manifest.table["path"][4] == "ISIC2018_Task3_Test_Images.zip/ISIC_8.jpg"


def test_a_table_is_found_as_dataverse_has_it_and_in_the_challenge_s_zip(folder):
    config = DataConfig(source="ham10000", folder=str(folder), test=OfficialTest(table=TABLE))
    with pytest.raises(DataError, match=r"ISIC2018_Task3_Test_GroundTruth\.csv: cannot be read as a table"):
        load_manifest(config, folder)
    tab = folder / "ISIC2018_Task3_Test_GroundTruth.tab"
    tab.write_text(DATAVERSE.replace(",", "\t"))
    assert len(load_manifest(config, folder)) == 6
    tab.unlink()
    with zipfile.ZipFile(folder / "ISIC2018_Task3_Test_GroundTruth.zip", "w") as out:
        out.writestr(f"ISIC2018_Task3_Test_GroundTruth/{TABLE}", DATAVERSE)
    assert len(load_manifest(config, folder)) == 6


def test_the_challenge_s_form_gets_ham10000_s_codes(folder):
    rows = CHALLENGE.splitlines()
    nevus_and_dermatofibroma = "\n".join([rows[0], rows[2], rows[6]])
    with pytest.raises(DataError, match=r"the label 'MEL' has no images"):
        load(folder, nevus_and_dermatofibroma)
    manifest = load(folder, CHALLENGE, labels=("nv", "df"))
    assert manifest.table["image_id"].tolist()[4:] == ["ISIC_1", "ISIC_5"]
    assert manifest.counts() == {"df": 3, "nv": 3}
    assert manifest.table["lesion_id"].tolist()[4:] == ["", ""]


def test_a_test_set_may_lie_in_another_folder_and_have_columns_of_its_own(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_images(other, ["a", "b"])
    (other / "t.csv").write_text("file;class\na;nv\nb;df\n")
    test = {"table": "t.csv", "folder": str(other), "columns": {"image": "file", "label": "class"}}
    manifest = load(folder, DATAVERSE, test)
    assert manifest.paths()[4] == other / "a.jpg"
    assert manifest.table["part"].tolist()[4:] == ["test", "test"]


def test_an_image_that_the_data_set_has_already_is_marked_and_keeps_its_lesion(folder):
    manifest = load(folder, DATAVERSE.replace("ISIC_8", "ISIC_20"))
    assert len(manifest) == 5
    assert manifest.table["part"].tolist() == ["test", "", "", "", "test"]
    assert manifest.table["lesion_id"][0] == "HAM_0"


def test_an_image_with_another_label_than_in_the_data_set_is_refused(folder):
    with pytest.raises(DataError, match=r"row 2: 'ISIC_21' is 'nv' here and 'df' in the data set; correct one"):
        load(folder, DATAVERSE.replace("ISIC_8", "ISIC_21"))


def test_a_label_that_nothing_can_be_trained_on_is_refused(folder):
    with pytest.raises(
        DataError,
        match=r"row 3 is 'unk', a label that nothing .*; rename it in `label_map`, .* labels there: df, nv",
    ):
        load(folder, DATAVERSE.replace(",df,", ",unk,"))


def test_all_faults_of_a_test_set_can_be_had_at_once_and_the_rows_without(folder):
    rows = "HAMTEST_3,ISIC_21,nv,,,,,\nHAMTEST_4,ISIC_5,unk,,,,,\nHAMTEST_5,ISIC_77,nv,,,,,\n"
    (folder / TABLE).write_text(DATAVERSE + rows)
    config = DataConfig(source="ham10000", folder=str(folder), test=OfficialTest(table=TABLE))
    faults = []
    manifest = load_manifest(config, folder, on_fault=faults.append)
    assert [fault.examples for fault in faults] == [
        ("row 5 is 'unk', a label that nothing can be trained on here",),
        ("row 4: 'ISIC_21' is 'nv' here and 'df' in the data set",),
        (f"row 6: no image 'ISIC_77' below {folder}",),
    ]
    assert manifest.table["image_id"][manifest.table["part"] == "test"].tolist() == ["ISIC_8", "ISIC_9"]


def test_a_row_without_its_image_is_refused_until_it_is_left_out(folder):
    table = DATAVERSE + "HAMTEST_3,ISIC_0035068,nv,histo,,,,x\n"
    with pytest.raises(DataError, match=r"row 4: no image 'ISIC_0035068' below"):
        load(folder, table)
    assert len(load(folder, table, {"exclude_ids": ("ISIC_0035068",)})) == 6
    with pytest.raises(DataError, match="has no image 'ISIC_35068'; take it out of `exclude_ids`"):
        load(folder, table, {"exclude_ids": ("ISIC_35068",)})


def test_an_image_that_the_data_set_leaves_out_is_not_tested_either(folder):
    table = DATAVERSE.replace("ISIC_8", "ISIC_20")
    manifest = load(folder, table, exclude_ids=("ISIC_20",))
    assert manifest.table["image_id"].tolist() == ["ISIC_21", "ISIC_22", "ISIC_23", "ISIC_9"]


def test_a_test_set_of_phantoms_is_refused_since_nobody_would_read_it():
    with pytest.raises(ValueError, match="phantoms have no table of a `test` set"):
        DataConfig(test=OfficialTest(table=TABLE))


def test_lesion_ids_of_the_archive_do_not_mix_with_ham10000_s(folder):
    with pytest.raises(DataError, match=r"lesion ids of two systems, such as HAM_0 and IL_1"):
        load(folder, DATAVERSE.replace("HAMTEST_1", "IL_1"))


def test_without_a_test_set_the_manifest_is_as_ever(folder):
    manifest = load_manifest(DataConfig(source="ham10000", folder=str(folder)), folder)
    assert "part" not in manifest.table
