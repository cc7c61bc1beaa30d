"""Prompts: the imaging modality, the class in words, and attributes of the image from the table.

    dermoscopy of a melanoma on the lower extremity of an elderly woman

The defaults are for HAM10000: the embedded base's tokenizer has its words, and its longest prompt fits in 16 tokens.
Other data sets name their own. A cell that is empty or unknown adds nothing to the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT
from data.errors import ConfigError, DataError
from data.sources.tables import UNKNOWN

if TYPE_CHECKING:
    from data.manifest import Manifest

RARE_TOKENS = ("sks", "zwx", "ktn", "qvm", "ohw", "bnk", "pfj")  # none is a word of any prompt; each is one token
SUPERCLASS = "skin lesion"

DIAGNOSES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

_SITES = {"acral": "acral skin", "genital": "genital skin"}  # adjectives
_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
_PEOPLE = {"female": "woman", "male": "man", "": "patient"}
_AGES = ((18, "child"), (40, "young"), (65, "adult"), (math.inf, "elderly"))  # upper limit in years


Words = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]
Template = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")]  # {} is replaced by the cell of the table


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PromptConfig:
    """How prompts are worded, and which columns of the table they use; None: not used."""

    modality: Words = "dermoscopy"  # of all images
    superclass: Words = SUPERCLASS  # what an image of any class shows
    class_names: Mapping[str, Words] = field(default_factory=dict)  # a class in words, where its label is not one
    site: str | None = None  # column of the site on the body; HAM10000: localization
    age: str | None = None  # column of the age in years
    sex: str | None = None
    templates: Mapping[str, Template] = field(default_factory=dict)  # of any other column: stain -> "stained with {}"

    @property
    def uses_columns(self) -> bool:
        """Whether prompts use any column of the table."""
        return bool(self.site or self.age or self.sex or self.templates)


DEFAULT = PromptConfig()


@plain_dataclass(frozen=True, kw_only=True)
class Attributes:
    """Attributes of one image from the table, in words; empty where they are not known."""

    site: str = ""
    age: str = ""  # child, young, adult or elderly
    sex: str = ""  # female or male
    more: str = ""  # the filled templates of other columns

    def added_to(self, prompt: str) -> str:
        """The prompt with the known attributes appended."""
        site = f" on the {_SITES.get(self.site, self.site)}" if self.site else ""
        person = self._person()
        of_person = f" of {_article(person)} {person}" if person else ""
        return prompt + site + of_person + (f", {self.more}" if self.more else "")

    def _person(self) -> str:
        if self.age == "child":
            return f"{self.sex} child".strip()
        if self.age or self.sex:
            return f"{self.age} {_PEOPLE[self.sex]}".strip()
        return ""


def words_for(label: str, class_names: Mapping[str, str] = DEFAULT.class_names) -> str:
    """The class in words: its name in the config, else HAM10000's, else the label with blanks for punctuation."""
    known = {**DIAGNOSES, **class_names}
    return known.get(label, " ".join(label.replace("_", " ").replace("-", " ").split()).lower())


def prompt_for(label: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt of a class, the same at pretraining, fine-tuning and generation."""
    words = words_for(label, config.class_names)
    return f"{config.modality} of {_article(words)} {words}"


def class_prompt(config: PromptConfig = DEFAULT) -> str:
    """Prompt of the superclass, as DreamBooth uses for prior preservation."""
    return f"{config.modality} of {_article(config.superclass)} {config.superclass}"


def instance_prompt(label: str, token: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt that binds a rare token to a class, as DreamBooth does."""
    return f"{config.modality} of a {token} {words_for(label, config.class_names)}"


def token_prompt(token: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt in which a learnt word stands for the class, as textual inversion has it."""
    return f"{config.modality} of a {token}"


def require_labels(config: PromptConfig, labels: Iterable[str]) -> None:
    """Raise ConfigError if `class_names` names a class that the data set does not have."""
    known = sorted(labels)
    for label in config.class_names:
        if label not in known:
            raise ConfigError(f"prompts.class_names: the data set has no class {label!r}; it has {', '.join(known)}")


def attributes_of(manifest: Manifest, config: PromptConfig) -> list[Attributes]:
    """Attributes of each image, in row order; all empty if the config names no column.

    Raises ConfigError for a column that the table lacks, DataError for an age that is no number.
    """
    table, rows = manifest.table, len(manifest)
    templates = {f"templates.{column}": column for column in config.templates}
    columns = {"site": config.site, "age": config.age, "sex": config.sex, **templates}
    for key, name in columns.items():
        if name is not None and name not in table.columns:
            raise ConfigError(f"prompts.{key}: the table has no column {name!r}; it has {', '.join(table.columns)}")
    site, age, sex = (list(table[name]) if name else [""] * rows for name in (config.site, config.age, config.sex))
    others = {name: list(table[name]) for name in config.templates}
    return [
        Attributes(
            site=_words(site[row]),
            age=_age_band(age[row], image),
            sex=_SEXES.get(sex[row].strip().lower(), ""),
            more=_fill_templates(config, {name: cells[row] for name, cells in others.items()}),
        )
        for row, image in enumerate(table["image_id"])
    ]


def _fill_templates(config: PromptConfig, cells: Mapping[str, str]) -> str:
    """The filled template of each column whose cell is known, in the config's order."""
    known = {name: _words(cell) for name, cell in cells.items()}
    return ", ".join(config.templates[name].replace("{}", words) for name, words in known.items() if words)


def _words(value: str) -> str:
    words = " ".join(value.replace("_", " ").split()).lower()
    return "" if words in UNKNOWN else words


def _age_band(value: str, image: str) -> str:
    if value.strip().lower() in UNKNOWN:
        return ""
    try:
        years = float(value)
    except ValueError:
        years = math.nan
    if not 0 <= years < math.inf:
        raise DataError(f"image {image!r}: its age is {value!r}; write years as a number, or leave it empty")
    return next(band for limit, band in _AGES if years < limit)


def _article(words: str) -> str:
    return "an" if words[0].lower() in "aeiou" else "a"
