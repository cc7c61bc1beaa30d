"""A config that cannot be meant is refused in one line that says how to mend it."""

from dataclasses import field
from pathlib import Path

import pytest
from pydantic.dataclasses import dataclass

from data.config import STRICT, load, load_part, parse, to_dict
from data.errors import ConfigError


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
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, words: list[str]):
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
