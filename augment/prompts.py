"""Prompts: the imaging modality, the class in words, and attributes of the image from the table.

    dermoscopy of a melanoma on the lower extremity of an elderly woman

The defaults are for HAM10000: the embedded base's tokenizer has its words, and its longest prompt fits in 16 tokens.
Other data sets name their own. A cell that is empty or unknown adds nothing to the prompt. Brackets in the config are
emphasis (docs/prompts.md); those in labels, cells and captions are text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from augment.ages import years_of
from augment.captions import Captions, captions_identity, captions_of
from augment.diffusion.prompt_weighting import FILEWORDS, fill_filewords, has_emphasis, literal, parse_prompt
from data.config import STRICT, to_dict
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
NAME = "[name]"
ClassTemplate = Annotated[str, Field(pattern=r"^(\S.*)?\[name\](.*\S)?$")]  # the webui's
_LATER = ("class_template", "captions", "caption_column", "blip")  # settings that a digest has only where they are used


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
    class_template: ClassTemplate | None = None  # such as "photo of a [name], [filewords]"; None: "modality of a name"
    captions: Captions = "none"  # `files`: NAME.txt beside each image; `column` of the table; `blip`: a network's
    caption_column: str = "caption"
    blip: str = "Salesforce/blip-image-captioning-base"  # folder, or a hub id that the hub's cache holds

    def __post_init__(self) -> None:
        """Refuse syntax that is not read."""
        for text in self.texts:
            parse_prompt(text)

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of the config that prompts are made of."""
        names = (self.superclass, *self.class_names.values())
        filled = [self.class_template.replace(NAME, name) for name in names] if self.class_template else []
        return (self.modality, *names, *self.templates.values(), *filled)

    @property
    def has_emphasis(self) -> bool:
        """Whether some words of the config are emphasised."""
        return any(has_emphasis(text) for text in self.texts)

    @property
    def describes_images(self) -> bool:
        """Whether prompts tell of single images: columns of the table, or captions."""
        return bool(self.site or self.age or self.sex or self.templates or self.captions != "none")

    @property
    def without_blip(self) -> PromptConfig:
        """The same without what a network would have to say of each image."""
        return replace(self, captions="none") if self.captions == "blip" else self

    def result_settings(self) -> dict[str, Any]:
        """The settings that prompts depend on, as plain JSON; those of captions and template only where they are used.

        BLIP's weights are not among them: `captions_identity`.
        """
        used = {"captions"} if self.captions != "none" else set()
        used |= {"caption_column"} if self.captions == "column" else set()
        used |= {"class_template"} if self.class_template else set()
        kept = {name: value for name, value in to_dict(self).items() if name not in _LATER or name in used}
        return kept | ({"syntax": "emphasis"} if self.has_emphasis else {})  # brackets were text before 0.1.0

    def captions_identity(self, manifest: Manifest) -> dict[str, Any]:
        """What the captions of images depend on besides the table and the images; {} for nothing."""
        return captions_identity(manifest, self.captions, self.blip)


DEFAULT = PromptConfig()


@plain_dataclass(frozen=True, kw_only=True)
class Attributes:
    """Attributes of one image from the table, in words; empty where they are not known."""

    site: str = ""
    age: str = ""  # child, young, adult or elderly
    sex: str = ""  # female or male
    more: str = ""  # the filled templates of other columns, and the caption

    def added_to(self, prompt: str) -> str:
        """The prompt with the known attributes in the place of its `[filewords]`, else appended."""
        site = f" on the {_SITES.get(self.site, self.site)}" if self.site else ""
        person = self._person()
        known = site + (f" of {_article(person)} {person}" if person else "")
        if FILEWORDS in prompt:
            return fill_filewords(prompt, _listed(known.strip(), self.more))
        return prompt + known + (f", {self.more}" if self.more else "")

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
    return _prompt_of(_class_words(label, config), config)


def class_prompt(config: PromptConfig = DEFAULT) -> str:
    """Prompt of the superclass, as DreamBooth uses for prior preservation."""
    return _prompt_of(config.superclass, config)


def instance_prompt(label: str, token: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt that binds a rare token to a class, as DreamBooth does."""
    return _prompt_of(f"{token} {_class_words(label, config)}", config, "a")


def fill_name(
    template: str, label: str, token: str | None, config: PromptConfig = DEFAULT, *, token_replaces_class: bool = False
) -> str:
    """A prompt whose `[name]` is the class in words, with the rare token that a method binds to it, or the token."""
    words = _class_words(label, config)
    name = words if not token else token if token_replaces_class else f"{token} {words}"
    return fill_filewords(template.replace(NAME, name), "")


def token_prompt(token: str, config: PromptConfig = DEFAULT) -> str:
    """Prompt in which a learnt word stands for the class, as textual inversion has it."""
    return _prompt_of(token, config, "a")


def require_labels(key: str, named: Iterable[str], labels: Iterable[str]) -> None:
    """Raise ConfigError if a setting, such as `prompts.class_names`, names a class that the data set does not have."""
    known = sorted(labels)
    for label in named:
        if label not in known:
            raise ConfigError(f"{key}: the data set has no class {label!r}; it has {', '.join(known)}")


def captions_for(manifest: Manifest, config: PromptConfig) -> list[str]:
    """The caption of each image, in row order; "" for none. Raises ConfigError, DataError."""
    return captions_of(manifest, config.captions, config.caption_column, config.blip)


def attributes_of(manifest: Manifest, config: PromptConfig, captions: Sequence[str] | None = None) -> list[Attributes]:
    """Attributes of each image, in row order; all empty if the config names no column. `captions` None: read here.

    Raises ConfigError for a column that the table lacks, DataError for an age that is no number or a file that is no
    caption.
    """
    table, rows = manifest.table, len(manifest)
    templates = {f"templates.{column}": column for column in config.templates}
    columns = {"site": config.site, "age": config.age, "sex": config.sex, **templates}
    for key, name in columns.items():
        if name is not None and name not in table.columns:
            raise ConfigError(f"prompts.{key}: the table has no column {name!r}; it has {', '.join(table.columns)}")
    site, age, sex = (list(table[name]) if name else [""] * rows for name in (config.site, config.age, config.sex))
    others = {name: list(table[name]) for name in config.templates}
    captions = captions_for(manifest, config) if captions is None else captions
    return [
        Attributes(
            site=_words(site[row]),
            age=_age_band(age[row], image),
            sex=_SEXES.get(sex[row].strip().lower(), ""),
            more=_listed(
                *_filled_templates(config, {name: cells[row] for name, cells in others.items()}), captions[row]
            ),
        )
        for row, image in enumerate(table["image_id"])
    ]


def _class_words(label: str, config: PromptConfig) -> str:
    words = words_for(label, config.class_names)
    return words if label in config.class_names else literal(words)


def _prompt_of(name: str, config: PromptConfig, article: str | None = None) -> str:
    if config.class_template is not None:
        return config.class_template.replace(NAME, name)
    return f"{config.modality} of {article or _article(name)} {name}"


def _filled_templates(config: PromptConfig, cells: Mapping[str, str]) -> list[str]:
    """The filled template of each column whose cell is known, in the config's order."""
    known = {name: _words(cell) for name, cell in cells.items()}
    return [config.templates[name].replace("{}", words) for name, words in known.items() if words]


def _listed(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _words(value: str) -> str:
    words = " ".join(value.replace("_", " ").split()).lower()
    return "" if words in UNKNOWN else literal(words)


def _age_band(value: str, image: str) -> str:
    if value.strip().lower() in UNKNOWN:
        return ""
    years = years_of(value)
    if years is None:
        raise DataError(f"image {image!r}: its age is {value!r}; write years as a number, or leave it empty")
    return next(band for limit, band in _AGES if years < limit)


def _article(words: str) -> str:
    return "an" if words.lstrip("([\\")[:1].lower() in {*"aeiou"} else "a"
