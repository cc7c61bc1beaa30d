"""What a study would refuse of prompts, all of it at once: for the doctor, which imports this by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from augment.ages import years_of
from augment.captions import captions_of
from augment.prompts import PromptConfig, attributes_of, prompt_for, require_labels
from data.config import parse
from data.errors import Fault, InputError, OnFault
from data.manifest import Manifest
from data.sources.tables import UNKNOWN


def check_prompts(section: Mapping[str, Any], manifest: Manifest, on_fault: OnFault) -> None:
    """Report settings that are none, names of no class or column, ages that are none, and classes of one prompt."""
    try:
        config = parse(PromptConfig, section, "prompts")
    except InputError as fault:
        on_fault(_as_fault(fault))
        return
    for work in (_check_names, _check_attributes, _check_captions):
        try:
            work(config, manifest)
        except InputError as fault:
            on_fault(_as_fault(fault))
    if config.age is not None and config.age in manifest.table.columns:
        _check_ages(config.age, manifest, on_fault)
    _check_distinct(config, manifest, on_fault)


def _as_fault(fault: InputError) -> Fault:
    what, _, fix = str(fault).rpartition("; ")
    return Fault("", (what or fix,), fix if what else "")


def _check_names(config: PromptConfig, manifest: Manifest) -> None:
    require_labels("prompts.class_names", config.class_names, manifest.labels)


def _check_attributes(config: PromptConfig, manifest: Manifest) -> None:
    """Raise ConfigError for a column that the table lacks; ages are checked one by one, captions apart."""
    known = config.age if config.age not in manifest.table.columns else None
    attributes_of(manifest, replace(config, captions="none", age=known))


def _check_captions(config: PromptConfig, manifest: Manifest) -> None:
    if config.captions in {"files", "column"}:
        captions_of(manifest, config.captions, config.caption_column, config.blip)


def _check_ages(column: str, manifest: Manifest, on_fault: OnFault) -> None:
    wrong = [
        f"image {image!r}: its age is {age!r}"
        for image, age in zip(manifest.table["image_id"], manifest.table[column], strict=True)
        if age.strip().lower() not in UNKNOWN and years_of(age) is None
    ]
    if wrong:
        on_fault(Fault("", tuple(wrong), "write years as a number, or leave it empty"))


def _check_distinct(config: PromptConfig, manifest: Manifest, on_fault: OnFault) -> None:
    """Classes of one prompt would be drawn alike."""
    classes = defaultdict(list)
    for label in manifest.labels:
        classes[prompt_for(label, config).casefold()].append(label)
    alike = tuple(f"{' and '.join(same)} have the prompt {prompt!r}" for prompt, same in classes.items() if same[1:])
    if alike:
        on_fault(Fault("", alike, "give each its own words in `prompts.class_names`"))
