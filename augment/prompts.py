"""What the text encoder is told: diagnoses in words, one template for all."""

from __future__ import annotations

RARE_TOKENS = ("sks", "zwx", "ktn", "qvm", "ohw", "bnk", "pfj")  # no word of any prompt; one a class
CLASS_NOUN = "skin lesion"

DIAGNOSES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}


def words_for(label: str) -> str:
    """The diagnosis in words; a label that is not HAM10000's says itself, with blanks for punctuation."""
    return DIAGNOSES.get(label, " ".join(label.replace("_", " ").replace("-", " ").split()).lower())


def prompt_for(label: str) -> str:
    """Prompt of a class, the same at pretraining, fine-tuning and generation."""
    words = words_for(label)
    return f"dermoscopy of {'an' if words[0] in 'aeiou' else 'a'} {words}"


def class_prompt() -> str:
    """Prompt of any lesion: the prior that DreamBooth preserves."""
    return f"dermoscopy of a {CLASS_NOUN}"


def instance_prompt(label: str, token: str) -> str:
    """Prompt that binds a rare token to a class, as DreamBooth does."""
    return f"dermoscopy of a {token} {words_for(label)}"
