"""What the doctor says of prompts before a study refuses it."""

import pandas as pd
import pytest

from augment.prompt_checks import check_prompts
from data.manifest import COLUMNS, Manifest


@pytest.fixture
def images(tmp_path):
    def of(labels, **columns):
        ids = [f"i{n}" for n in range(len(labels))]
        table = pd.DataFrame({**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "label": labels})
        return Manifest(table.assign(group_id=ids, root="r", source="real", **columns), {"r": tmp_path})

    return of


def said(section, manifest):
    faults = []
    check_prompts(section, manifest, faults.append)
    return [str(fault) for fault in faults]


def test_prompts_that_can_be_used_have_no_fault(images):
    manifest = images(["nv", "mel", "df"], age=["058Y", "", "85+"], stain=["HE", "", "PAS"])
    assert (
        said({"age": "age", "templates": {"stain": "stained with {}"}, "class_names": {"nv": "mole"}}, manifest) == []
    )


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"class_names": {"melanom": "x"}}, "prompts.class_names: the data set has no class 'melanom'"),
        ({"age": "years"}, "prompts.age: the table has no column 'years'"),
        ({"templates": {"stain": "{}"}}, "prompts.templates.stain: the table has no column 'stain'"),
        ({"captions": "column"}, "prompts.caption_column: the table has no column 'caption'"),
        ({"modalty": "x"}, "prompts: modalty: unknown key"),
        ({"modality": ""}, "prompts: modality"),
    ],
)
def test_what_a_study_would_refuse_is_one_fault(images, section, says):
    (fault,) = said(section, images(["nv", "mel"]))
    assert fault.startswith(says)


def test_all_ages_that_are_none_are_named_and_all_kinds_at_once(images):
    manifest = images(["nv", "mel", "df"], age=["413", "-1", "50"])
    found = said({"age": "age", "class_names": {"x": "y"}}, manifest)
    assert len(found) == 2
    assert found[1] == "image 'i0': its age is '413'; write years as a number, or leave it empty (and 1 more)"


@pytest.mark.parametrize(
    ("labels", "section"),
    [
        (["basal_cell", "basal-cell", "nv"], {}),
        (["mel", "nv", "melanoma"], {}),
        (["a", "b"], {"class_names": {"a": "mole", "b": "Mole"}}),
    ],
)
def test_classes_of_one_prompt_are_a_fault(images, labels, section):
    (fault,) = said(section, images(labels))
    assert "have the prompt 'dermoscopy of a" in fault
    assert "give each its own words in `prompts.class_names`" in fault
