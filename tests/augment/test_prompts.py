"""What the table says of an image becomes words that the embedded base has tokens for."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from augment.base.tiny_model import word_tokenizer
from augment.prompts import (
    DIAGNOSES,
    RARE_TOKENS,
    Attributes,
    PromptConfig,
    attributes_of,
    class_prompt,
    fill_name,
    instance_prompt,
    prompt_for,
    require_labels,
)
from data.config import parse, to_dict
from data.errors import ConfigError, DataError
from data.manifest import COLUMNS, Manifest
from data.store import digest

HAM10000 = PromptConfig(site="localization", age="age", sex="sex")
SITES = (
    "back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "foot", "neck", "scalp", "hand",
    "ear", "genital", "acral",
)  # fmt: skip


def manifest(*rows: tuple[str, str, str]) -> Manifest:
    ids = [f"i{number}" for number in range(len(rows))]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "path": ids, "group_id": ids}
    table = pd.DataFrame(columns, dtype=str).assign(root="r", label="mel", source="real")
    table[["localization", "age", "sex"]] = list(rows)
    return Manifest(table, {"r": Path()})


def prompts(*rows: tuple[str, str, str], config: PromptConfig = HAM10000) -> list[str]:
    return [known.added_to(prompt_for("mel")) for known in attributes_of(manifest(*rows), config)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("back", "70.0", "female"), " on the back of an elderly woman"),
        (("acral", "40", "male"), " on the acral skin of an adult man"),
        (("lower_extremity", "39.9", ""), " on the lower extremity of a young patient"),
        (("unknown", "5.0", "male"), " of a male child"),
        (("", "0.0", "unknown"), " of a child"),
        (("ear", "", "M"), " on the ear of a man"),
        (("nan", "unknown", "unknown"), ""),
        (("-", "?", "n/a"), ""),
    ],
)
def test_known_cells_are_in_the_prompt_and_no_others(row: tuple[str, str, str], words: str):
    assert prompts(row) == ["dermoscopy of a melanoma" + words]


def test_by_default_prompts_hold_the_diagnosis_alone():
    assert not PromptConfig().describes_images
    assert prompts(("back", "70", "male"), config=PromptConfig()) == [prompt_for("mel")]
    assert prompts(("back", "70", "male"), config=PromptConfig(sex="sex")) == ["dermoscopy of a melanoma of a man"]


def test_the_longest_prompt_of_ham10000_fits_the_embedded_base_word_by_word():
    tokenizer = word_tokenizer(16)
    short = [label for label in DIAGNOSES if len(DIAGNOSES[label].split()) < 3]
    instances = [prompt_for(label) for label in DIAGNOSES] + [class_prompt()]
    instances += [instance_prompt(label, token) for label, token in zip(short, RARE_TOKENS, strict=False)]
    ages, sexes = ("", "child", "young", "adult", "elderly"), ("", "female", "male")
    for prompt, site, age, sex in itertools.product(instances, ("", *SITES), ages, sexes):
        words = Attributes(site=site, age=age, sex=sex).added_to(prompt)
        assert len(tokenizer(words).input_ids) == len(words.split()) + 2 <= 16, words


def test_modality_and_class_names_come_from_the_config():
    config = PromptConfig(modality="fundus photograph", superclass="eye", class_names={"dr": "diabetic retinopathy"})
    assert prompt_for("dr", config) == "fundus photograph of a diabetic retinopathy"
    assert prompt_for("no_finding", config) == "fundus photograph of a no finding"
    assert class_prompt(config) == "fundus photograph of an eye"
    assert instance_prompt("dr", "sks", config) == "fundus photograph of a sks diabetic retinopathy"
    assert prompt_for("mel", PromptConfig(class_names={"mel": "dark mole"})) == "dermoscopy of a dark mole"
    assert prompt_for("x", PromptConfig(class_names={"x": "Adenoma"})) == "dermoscopy of an Adenoma"
    with pytest.raises(ConfigError, match="superclass"):
        parse(PromptConfig, {"superclass": " organ"}, "prompts")


def test_any_column_can_be_used_through_a_template_and_unknown_cells_are_left_out():
    config = PromptConfig(age="age", templates={"localization": "taken at the {}", "sex": "{} coat"})
    known = attributes_of(manifest(("Lower_Clinic", "70", "white"), ("unknown", "", "grey"), ("", "", "")), config)
    assert [each.added_to("x-ray of a horse") for each in known] == [
        "x-ray of a horse of an elderly patient, taken at the lower clinic, white coat",
        "x-ray of a horse, grey coat",
        "x-ray of a horse",
    ]
    with pytest.raises(ConfigError, match=r"prompts\.templates\.stain: the table has no column 'stain'"):
        attributes_of(manifest(("", "", "")), PromptConfig(templates={"stain": "stained with {}"}))
    for template in ("stained", "{} and {}", "{stain}"):
        with pytest.raises(ConfigError, match=r"templates\.stain"):
            parse(PromptConfig, {"templates": {"stain": template}}, "prompts")


def test_the_name_of_a_class_that_does_not_exist_is_refused():
    require_labels("prompts.class_names", ["mel"], ["nv", "mel"])
    with pytest.raises(ConfigError, match=r"prompts\.class_names: the data set has no class 'mal'; it has mel, nv"):
        require_labels("prompts.class_names", ["mel", "mal"], ["nv", "mel"])


def test_a_class_template_is_filled_with_the_class_and_what_is_known_of_the_image():
    config = PromptConfig(class_template="photo of a [name], [filewords], macro", superclass="mole", sex="sex")
    assert prompt_for("mel", config) == "photo of a melanoma, [filewords], macro"
    assert instance_prompt("mel", "sks", config) == "photo of a sks melanoma, [filewords], macro"
    assert class_prompt(config) == "photo of a mole, [filewords], macro"
    known = Attributes(site="back", sex="male", more="stained, blue veil")
    assert known.added_to(prompt_for("mel", config)) == (
        "photo of a melanoma, on the back of a man, stained, blue veil, macro"
    )
    assert Attributes().added_to(prompt_for("mel", config)) == "photo of a melanoma, macro"
    assert known.added_to("photo of a melanoma") == "photo of a melanoma on the back of a man, stained, blue veil"
    for template in ("a photo", " [name]", "[name] "):
        with pytest.raises(ConfigError, match="class_template"):
            parse(PromptConfig, {"class_template": template}, "prompts")


_TOO_STRONG = {"class_template": "photo of ([name]:5)", "class_names": {"mel": "(melanoma:3)"}}


def test_brackets_of_the_config_are_emphasis_and_those_of_data_are_text():
    config = PromptConfig(class_names={"mel": "(adenoma:1.3)"}, templates={"sex": "({}:1.2)"})
    assert prompt_for("mel", config) == "dermoscopy of an (adenoma:1.3)"
    assert prompt_for("nevus (in situ)", config) == r"dermoscopy of a nevus \(in situ\)"
    (known,) = attributes_of(manifest(("", "", "grey (2:1)")), config)
    assert known.more == r"(grey \(2\:1\):1.2)"
    assert config.has_emphasis
    assert not PromptConfig(class_names={"mel": r"melanoma \(in situ\)"}).has_emphasis
    for section in (
        {"modality": "[a|b]"},
        {"class_names": {"mel": "[a:b:3]"}},
        {"class_template": "([name]:20)"},
        _TOO_STRONG,
    ):
        with pytest.raises(ConfigError, match=r"not supported|not between"):
            parse(PromptConfig, section, "prompts")


def test_captions_of_a_column_follow_the_filled_templates():
    config = PromptConfig(captions="column", caption_column="localization", templates={"sex": "{} coat"})
    assert config.describes_images
    assert prompts(("Blue veil (2)", "", "grey"), ("unknown", "", ""), config=config) == [
        r"dermoscopy of a melanoma, grey coat, Blue veil \(2\)",
        "dermoscopy of a melanoma",
    ]


def test_settings_of_captions_are_result_settings_where_they_are_used():
    plain = to_dict(PromptConfig())
    later = ("class_template", "captions", "caption_column", "blip")
    before = {name: value for name, value in plain.items() if name not in later}
    assert PromptConfig(caption_column="text", blip="folder").result_settings() == before
    assert digest(before) == "61a74e4db9fe616f4e49809149073490e1223f0eebb78b1a620bf9a1783b66bc"  # finished artefacts'
    assert PromptConfig(captions="files").result_settings() == {**before, "captions": "files"}
    column = PromptConfig(captions="column", class_template="[name]").result_settings()
    assert column == {**before, "captions": "column", "caption_column": "caption", "class_template": "[name]"}
    assert PromptConfig(captions="blip", blip="folder").result_settings() == {**before, "captions": "blip"}
    assert PromptConfig(captions="blip").without_blip == PromptConfig()
    assert PromptConfig(captions="files").without_blip.captions == "files"


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"prompts\.sex: the table has no column 'gender'; it has image_id"):
        attributes_of(manifest(("back", "1", "male")), PromptConfig(sex="gender"))


@pytest.mark.parametrize("age", ["about 50", "-5", "inf"])
def test_an_age_that_is_no_number_names_the_image(age: str):
    with pytest.raises(DataError, match=f"image 'i1': its age is '{age}'; write years as a number"):
        attributes_of(manifest(("back", "50", "male"), ("back", age, "male")), HAM10000)


def test_a_prompt_of_choice_has_the_class_in_words_with_the_word_that_a_method_binds_to_it():
    config = PromptConfig(class_names={"mel": "(melanoma:1.2)"})
    assert fill_name("macro of a [name], [filewords]", "mel", None, config) == "macro of a (melanoma:1.2)"
    assert fill_name("a [name]", "df", "sks", config) == "a sks dermatofibroma"
    assert fill_name("a [name]", "df", "<class>", config, token_replaces_class=True) == "a <class>"
    assert fill_name("healthy skin", "df", None, config) == "healthy skin"
