"""HAM10000 and the ISIC data sets are read as their archives hand them out, packed or unpacked."""

import shutil

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.sources.load import DataConfig, load_manifest
from data.sources.tables import Columns

ONE_HOT = "MEL,NV,BCC,AKIEC,BKL,DF,VASC"


def write_images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(folder / f"{name}.jpg")


def pack(folder):
    """Leave a folder's zip in its place."""
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)


def one_hot(columns, labels):
    names = columns.split(",")
    rows = [f"ISIC_{n}," + ",".join(f"{float(label == name)}" for name in names) for n, label in enumerate(labels)]
    return "\n".join([f"image,{columns}", *rows])


def load(source, folder, **settings):
    return load_manifest(DataConfig(source=source, folder=str(folder), **settings), folder)


@pytest.fixture
def ham10000(tmp_path):
    write_images(tmp_path / "HAM10000_images_part_1", ["ISIC_1", "ISIC_2"])
    write_images(tmp_path / "HAM10000_images_part_2", ["ISIC_3"])
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"]
    rows += ["HAM_1,ISIC_1,nv,histo,80.0,male,scalp,x", "HAM_1,ISIC_2,nv,histo,80.0,male,scalp,x"]
    rows += ["HAM_2,ISIC_3,df,consensus,,female,back,x"]
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.mark.parametrize("packed", [("part_1",), ("part_1", "part_2")])
def test_ham10000_is_read_from_its_zips_as_they_are(ham10000, packed):
    unpacked = load("ham10000", ham10000)
    for part in packed:
        pack(ham10000 / f"HAM10000_images_{part}")
    manifest = load("ham10000", ham10000)
    assert manifest.table["path"][0] == "HAM10000_images_part_1.zip/ISIC_1.jpg"
    columns = [name for name in unpacked.table.columns if name != "path"]
    assert manifest.table[columns].equals(unpacked.table[columns])


def test_a_zip_that_was_unpacked_beside_itself_is_passed_over(ham10000):
    shutil.make_archive(str(ham10000 / "HAM10000_images_part_1"), "zip", ham10000 / "HAM10000_images_part_1")
    assert load("ham10000", ham10000).table["path"][0] == "HAM10000_images_part_1/ISIC_1.jpg"


def test_masks_and_test_images_beside_ham10000_are_not_taken_for_its_images(ham10000):
    write_images(ham10000 / "ISIC2018_Task3_Test_Images", ["ISIC_1"])
    assert load("ham10000", ham10000).table["path"][0] == "HAM10000_images_part_1/ISIC_1.jpg"


def archive(folder, header, rows):
    write_images(folder, [row.split(",")[0] for row in rows])
    (folder / "metadata.csv").write_text("\n".join([header, *rows]))
    (folder / "licenses").mkdir()


def test_an_isic_archive_export_is_read_in_its_older_form(tmp_path):
    header = "isic_id,attribution,copyright_license,age_approx,benign_malignant,diagnosis,lesion_id,patient_id,sex"
    archive(
        tmp_path,
        header,
        ["ISIC_1,Vienna,CC-BY-NC,50,benign,nevus,IL_1,IP_1,male", "ISIC_2,Vienna,CC-BY-NC,50,,melanoma,IL_2,,male"],
    )
    manifest = load("isic", tmp_path)
    assert manifest.table["label"].tolist() == ["nevus", "melanoma"]
    assert manifest.table["group_id"].tolist() == ["patient IP_1", "lesion IL_2"]
    assert manifest.table["age_approx"].tolist() == ["50", "50"]


def test_an_isic_archive_export_is_read_in_its_newer_form(tmp_path):
    header = "isic_id,attribution,copyright_license,diagnosis_1,diagnosis_2,diagnosis_3,lesion_id,sex"
    vascular = "Benign soft tissue proliferations - Vascular"
    rows = ["ISIC_1,V,CC-BY-NC,Benign,Benign melanocytic proliferations,Nevus,IL_1,male"]
    rows += [f"ISIC_2,V,CC-BY-NC,Benign,{vascular},,IL_2,male"]
    archive(tmp_path, header, rows)
    assert load("isic", tmp_path).counts() == {"Nevus": 1, vascular: 1}
    assert load("isic", tmp_path, label_map={"Nevus": "nv", vascular: "vasc"}).counts() == {"nv": 1, "vasc": 1}


def test_what_the_config_names_goes_before_what_is_known_of_a_data_set(tmp_path):
    rows = ["ISIC_1,Benign,Nevus,IL_1", "ISIC_2,Malignant,Basal cell carcinoma,IL_2"]
    archive(tmp_path, "isic_id,diagnosis_1,diagnosis_3,lesion_id", rows)
    assert load("isic", tmp_path, columns=Columns(label="diagnosis_1")).labels == ("Benign", "Malignant")


@pytest.fixture
def isic2018(tmp_path):
    write_images(tmp_path / "ISIC2018_Task3_Training_Input", ["ISIC_0", "ISIC_1", *(f"ISIC_{n}" for n in range(2, 8))])
    labels = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC", "NV"]
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth").mkdir()
    table = tmp_path / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    table.write_text(one_hot(ONE_HOT, labels))
    groupings = ["image,lesion_id,diagnosis_confirm_type"]
    groupings += [f"ISIC_{n},HAM_{min(n, 6)},histopathology" for n in range(7)] + ["ISIC_7,HAM_1,follow_up"]
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text("\n".join(groupings))
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_isic_2018_is_read_as_published_with_ham10000_s_codes(isic2018, packed):
    if packed:
        pack(isic2018 / "ISIC2018_Task3_Training_Input")
        pack(isic2018 / "ISIC2018_Task3_Training_GroundTruth")
    manifest = load("isic2018", isic2018)
    assert manifest.counts() == {"akiec": 1, "bcc": 1, "bkl": 1, "df": 1, "mel": 1, "nv": 2, "vasc": 1}
    assert manifest.table["group_id"].tolist()[1] == manifest.table["group_id"].tolist()[7] == "lesion HAM_1"
    assert set(manifest.table["diagnosis_confirm_type"]) == {"histopathology", "follow_up"}


def test_isic_2018_without_its_lesion_groupings_is_refused(isic2018):
    (isic2018 / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    with pytest.raises(DataError, match=r"no ISIC2018_Task3_Training_LesionGroupings\.csv here; it lists which images"):
        load("isic2018", isic2018)


def test_isic_2019_is_read_as_published(tmp_path):
    columns = "MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    write_images(tmp_path / "ISIC_2019_Training_Input", [f"ISIC_{n}" for n in range(8)])
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text(one_hot(columns, columns.split(",")[:-1]))
    rows = ["image,age_approx,anatom_site_general,lesion_id,sex", "ISIC_0,55.0,anterior torso,,female"]
    rows += [f"ISIC_{n},,head/neck,BCN_{n},male" for n in range(1, 8)]
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text("\n".join(rows))
    manifest = load("isic2019", tmp_path)
    assert manifest.labels == ("ak", "bcc", "bkl", "df", "mel", "nv", "scc", "vasc")
    assert manifest.table["group_id"].tolist()[:2] == ["image ISIC_0", "lesion BCN_1"]
    merged = load("isic2019", tmp_path, label_map={"ak": "akiec", "scc": "akiec"})
    assert merged.counts()["akiec"] == 2
