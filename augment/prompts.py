"""What the text encoder is told: the kind of picture, its class in words, and what the table knows of it.

    dermoscopy of a melanoma on the lower extremity of an elderly woman

Those are HAM10000's words, which the embedded base's tokenizer knows, and its longest prompt fits in 16 tokens;
other data sets name their own. What the table does not know is left out.
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

RARE_TOKENS = ("sks", "zwx", "ktn", "qvm", "ohw", "bnk", "pfj")  # no word of any prompt; one a class
SUBJECT = "skin lesion"

DIAGNOSES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}

_SITES = {"acral": "acral skin", "genital": "genital skin"}  # no nouns
_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
_PEOPLE = {"female": "woman", "male": "man", "": "patient"}
_AGES = ((18, "child"), (40, "young"), (65, "adult"), (math.inf, "elderly"))  # below so many years


Words = Annotated[str, Field(pattern=r"^\S(.*\S)?$")]
Phrase = Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")]  # {} stands for a cell of the table


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PromptConfig:
    """How prompts are worded, and the columns of the table that they tell from; None: not told."""

    picture: Words = "dermoscopy"  # what kind of picture all of them are
    subject: Words = SUBJECT  # what an image of any class shows
    words: Mapping[str, Words] = field(default_factory=dict)  # a class's name where its label is none
    site: str | None = None  # on the body; HAM10000: localization
    age: str | None = None  # years
    sex: str | None = None
    phrases: Mapping[str, Phrase] = field(default_factory=dict)  # of any other column: stain -> "stained with {}"

    @property
    def tells_columns(self) -> bool:
        """Whether any column is named."""
        return bool(self.site or self.age or self.sex or self.phrases)


DEFAULT = PromptConfig()


@plain_dataclass(frozen=True, kw_only=True)
class Attributes:
    """What prompts tell of one image, in words; empty where it is not known."""

    site: str = ""
    age: str = ""  # child, young, adult or elderly
    sex: str = ""  # female or male
    more: str = ""  # the phrases of other columns

    def added_to(self, prompt: str) -> str:
        """The prompt, with what is known behind it."""
        where = f" on the {_SITES.get(self.site, self.site)}" if self.site else ""
        who = self._person()
        return prompt + where + (f" of {_article(who)} {who}" if who else "") + (f", {self.more}" if self.more else "")

    def _person(self) -> str:
        if self.age == "child":
            return f"{self.sex} child".strip()
        if self.age or self.sex:
            return f"{self.age} {_PEOPLE[self.sex]}".strip()
        return ""


def words_for(label: str, words: Mapping[str, str] = DEFAULT.words) -> str:
    """The class in words; a label that is not HAM10000's says itself, with blanks for punctuation."""
    known = {**DIAGNOSES, **words}
    return known.get(label, " ".join(label.replace("_", " ").replace("-", " ").split()).lower())


def prompt_for(label: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt of a class, the same at pretraining, fine-tuning and generation."""
    words = words_for(label, config.words)
    return f"{config.picture} of {_article(words)} {words}"


def class_prompt(config: PromptConfig = DEFAULT) -> str:
    """Prompt of any class: the prior that DreamBooth preserves."""
    return f"{config.picture} of {_article(config.subject)} {config.subject}"


def instance_prompt(label: str, token: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt that binds a rare token to a class, as DreamBooth does."""
    return f"{config.picture} of a {token} {words_for(label, config.words)}"


def require_labels(config: PromptConfig, labels: Iterable[str]) -> None:
    """Raise ConfigError for words of a class that the data set has not."""
    known = sorted(labels)
    for label in config.words:
        if label not in known:
            raise ConfigError(f"prompts.words: the data set has no class {label!r}; it has {', '.join(known)}")


def attributes_of(manifest: Manifest, config: PromptConfig) -> list[Attributes]:
    """What is known of each image, in row order; nothing where no column is named.

    Raises ConfigError for a column that the table lacks, DataError for an age that is no number.
    """
    table, rows = manifest.table, len(manifest)
    named = {"site": config.site, "age": config.age, "sex": config.sex, **{f"phrases.{c}": c for c in config.phrases}}
    for key, name in named.items():
        if name is not None and name not in table.columns:
            raise ConfigError(f"prompts.{key}: the table has no column {name!r}; it has {', '.join(table.columns)}")
    site, age, sex = (list(table[name]) if name else [""] * rows for name in (config.site, config.age, config.sex))
    others = {name: list(table[name]) for name in config.phrases}
    return [
        Attributes(
            site=_words(site[row]),
            age=_age_band(age[row], image),
            sex=_SEXES.get(sex[row].strip().lower(), ""),
            more=_phrases(config, {name: cells[row] for name, cells in others.items()}),
        )
        for row, image in enumerate(table["image_id"])
    ]


def _phrases(config: PromptConfig, cells: Mapping[str, str]) -> str:
    """The phrase of each column whose cell is known, in the config's order."""
    known = {name: _words(cell) for name, cell in cells.items()}
    return ", ".join(config.phrases[name].replace("{}", words) for name, words in known.items() if words)


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
