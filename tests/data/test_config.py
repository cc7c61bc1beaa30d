"""An invalid config is refused in one line that says how to fix it."""

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from data.config import RENAMED, STRICT, load, load_part, parse, to_dict
from data.errors import ConfigError
from data.sources.load import DataConfig
from data.splits.split import SplitConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    steps: int = 20
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    name: str = "study"
    inner: Inner = field(default_factory=Inner)
    seeds: tuple[int, ...] = (0, 1)


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_the_defaults(tmp_path: Path):
    assert load(Outer, written(tmp_path, "")) == Outer()


def test_yaml_overrides_only_what_it_names(tmp_path: Path):
    assert load(Outer, written(tmp_path, "inner: {steps: 3}")).inner == Inner(steps=3)


def test_overrides_are_laid_over_the_file(tmp_path: Path):
    config = load(Outer, written(tmp_path, "inner: {steps: 3}"), ["inner.rate=0.25", "seeds=[4]"])
    assert (config.inner, config.seeds) == (Inner(steps=3, rate=0.25), (4,))


def test_a_config_survives_plain_types_and_back():
    config = Outer(inner=Inner(steps=7), seeds=(3,))
    assert parse(Outer, to_dict(config), "again") == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inner: {stepz: 3}", ["inner.stepz", "unknown key", "'steps'"]),
        ("nam: x", ["nam", "unknown key", "'name'"]),
        ("inner: {steps: many}", ["inner.steps", "integer", "'many'"]),
        ("inner: {rate: .inf}", ["inner.rate", "finite"]),
        ("- a list", ["must be a mapping"]),
        ("a: [", ["is not YAML"]),
        ("seeds: 2024-13-01", ["is not YAML", "month must be in 1..12", "put the value in quotes"]),
        ("seeds: 0x_", ["is not YAML"]),
        ("seeds: !!int abc", ["is not YAML"]),
        ("seeds: " + 3000 * "[", ["is not YAML (brackets within brackets, too many)"]),
    ],
)
def test_an_invalid_config_is_refused_in_one_line(tmp_path: Path, text: str, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        load(Outer, written(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    assert "study.yaml" in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("override", ["steps", "=3", "name.deeper=1", "inner.steps=["])
def test_an_override_that_does_not_parse_is_named(tmp_path: Path, override: str):
    with pytest.raises(ConfigError, match="override"):
        load(Outer, written(tmp_path, "name: x"), [override])


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load(Outer, tmp_path / "nowhere.yaml")


def test_a_part_of_a_config_is_read_strictly_and_the_rest_left_to_its_own_reader(tmp_path: Path):
    path = written(tmp_path, "inner: {steps: 3}\nclassifier: {anything: 1}")
    assert load_part(Outer, path, ["classifier.more=2", "seeds=[5]"]) == Outer(inner=Inner(steps=3), seeds=(5,))
    with pytest.raises(ConfigError, match=r"inner\.stepz: unknown key; did you mean 'steps'"):
        load_part(Outer, path, ["inner.stepz=3"])


@pytest.mark.parametrize(("misspelt", "meant"), [("iner", "inner"), ("inners", "inner"), ("seed", "seeds")])
def test_a_misspelt_section_is_not_taken_for_somebody_elses(tmp_path: Path, misspelt: str, meant: str):
    with pytest.raises(ConfigError, match=f"{misspelt}: unknown key; did you mean '{meant}'"):
        load_part(Outer, written(tmp_path, f"{misspelt}: {{steps: 3}}"))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Lora:
    method: Literal["lora"] = "lora"
    max_grad_norm: float = 1.0
    rank: int = 16


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DreamBooth:
    method: Literal["dreambooth"] = "dreambooth"
    num_class_images: int = 64


def method_of(settings: object) -> object:
    return settings.get("method", "lora") if isinstance(settings, dict) else getattr(settings, "method", None)


Method = Annotated[
    Annotated[Lora, Tag("tag of lora")] | Annotated[DreamBooth, Tag("dreambooth")],
    Discriminator(lambda settings: "tag of lora" if method_of(settings) == "lora" else method_of(settings)),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Folder:
    folder: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Study:
    finetune: Method = field(default_factory=Lora)
    by_field: Annotated[Lora | DreamBooth, Field(discriminator="method")] = field(default_factory=Lora)
    optional: Lora | None = None
    arms: tuple[Folder | str, ...] = ()
    named: Mapping[str, Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune": {"rnk": 3}}, "c: finetune.rnk: unknown key; did you mean 'rank'?"),
        ({"finetune": {"rank": "x"}}, "c: finetune.rank: Input should be a valid integer, unable to parse"),
        (
            {"finetune": {"method": "dreambooth", "rank": 3}},
            "c: finetune.rank: unknown key; known: method, num_class_images",
        ),
        (
            {"finetune": {"method": "loar"}},
            "c: finetune.method: must be one of 'tag of lora', 'dreambooth', got 'loar'",
        ),
        ({"by_field": {"method": "loar"}}, "c: by_field.method: must be one of 'lora', 'dreambooth', got 'loar'"),
        ({"by_field": {"method": "lora", "rnk": 3}}, "c: by_field.rnk: unknown key; did you mean 'rank'?"),
        ({"optional": {"rnk": 3}}, "c: optional.rnk: unknown key; did you mean 'rank'?"),
        ({"arms": ["real", {"foldr": "x"}]}, "c: arms.1.foldr: unknown key; did you mean 'folder'? (and 2 more)"),
        ({"named": {"a": {"stepz": 3}}}, "c: named.a.stepz: unknown key; did you mean 'steps'?"),
    ],
)
def test_a_union_s_tag_is_no_part_of_a_setting_s_name(settings: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        parse(Study, settings, "c")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (Study, {"finetune": {"clip": 1}}, "finetune.clip: unknown key; it is called finetune.max_grad_norm now"),
        (
            Study,
            {"finetune": {"method": "dreambooth", "prior_images": 1}},
            "finetune.prior_images: unknown key; it is called finetune.num_class_images now",
        ),
        (Study, {"finetune": {"prior_images": 1}}, "it is called finetune.num_class_images now"),  # of another method
        (Study, {"runs": "there"}, "runs: unknown key; it is called output_dir now"),
        (Lora, {"clip": 1}, "c: clip: unknown key; it is called max_grad_norm now"),  # a section on its own
    ],
)
def test_a_renamed_key_is_refused_with_its_new_name(cls: type, settings: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse(cls, settings, "c")


def test_a_renamed_key_is_refused_in_overrides_and_beside_a_part_too(tmp_path: Path):
    words = r"study\.yaml: finetune\.clip: unknown key; it is called finetune\.max_grad_norm now$"
    with pytest.raises(ConfigError, match=words):
        load(Study, written(tmp_path, ""), ["finetune.clip=2"])
    with pytest.raises(ConfigError, match=r"study\.yaml: runs: unknown key; it is called output_dir now$"):
        load_part(Outer, written(tmp_path, "runs: there"))


def test_no_key_was_renamed_to_one_that_was_renamed_itself():
    assert not set(RENAMED) & set(RENAMED.values())
    assert all(old.rpartition(".")[0] == new.rpartition(".")[0] for old, new in RENAMED.items())


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("rare: [no]", "rare.0: False is the answer no (written no, off or false) to YAML"),
        ("rare: [a, on]", "rare.1: True is the answer yes (written yes, on or true) to YAML"),
        ("rare: [~]", "rare.0: None is nothing (written null, ~ or left empty) to YAML"),
        ("rare: [0]", "rare.0: 0 is a number to YAML"),
        ("rare: [1.50]", "rare.0: 1.5 is a number to YAML"),
        ("rare: [2024-01-01]", "rare.0: datetime.date(2024, 1, 1) is a date to YAML"),
    ],
)
def test_a_class_that_is_a_word_of_yaml_is_to_be_put_in_quotes(written, says, tmp_path):
    (tmp_path / "c.yaml").write_text(written)
    with pytest.raises(ConfigError) as refused:
        load(SplitConfig, tmp_path / "c.yaml")
    assert f"{says}, and must be text; put it in quotes" in str(refused.value)


@pytest.mark.parametrize("key", ["no", "0", "null"])
def test_a_key_of_a_mapping_that_is_a_word_of_yaml_is_too(key, tmp_path):
    (tmp_path / "c.yaml").write_text(f"source: table\nfolder: x\ntable: t\nlabel_map: {{{key}: x}}")
    with pytest.raises(ConfigError, match=r"label_map: the name .* of a key is .*; put it in quotes$"):
        load(DataConfig, tmp_path / "c.yaml")
