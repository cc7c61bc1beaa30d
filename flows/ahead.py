"""The steps of a study after its split, as they will be: what is asked before any of them is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from augment.base.config import BaseConfig
from augment.prompts import attributes_of
from data.manifest import Manifest
from data.splits.random_split import divide_carelessly
from data.splits.split import Split
from data.store import finished
from flows.base import base_step
from flows.careless import careless_step
from flows.compare import arm_step, counts_to_draw
from flows.elsewhere import Elsewhere
from flows.prepare import Images, base_part
from flows.steps import Step
from flows.study import StudyConfig
from flows.synthesize import finetune_step, images_step


def steps_ahead(
    config: StudyConfig,
    images: Images,
    split: Split,
    train: Manifest,
    shots: Mapping[str, Manifest],
    given: Mapping[str, Elsewhere],
) -> list[Step]:
    """Give all steps, finished or not. Of a base that is still to be trained they follow from what it starts from.

    What such a base will be is not known, so those steps' targets are not what they will be, and none is finished.
    Raises InputError for what prompts cannot tell, and for files that a recipe of images names in vain.
    """
    steps = [folder.step for folder in given.values()]
    drawn: dict[str, Step] = {}
    counts = {label: count for label, count in counts_to_draw(config, train).items() if count}
    if counts:
        attributes_of(split.train, config.prompts)  # what prompts cannot tell is said before anything is trained
    if counts and config.base.own is not None:
        own = base_step(config, images, base_part(config, split))
        steps.append(own)
        if finished(own.target, own.inputs):
            config = dataclasses.replace(config, base=BaseConfig(source=str(own.target)))
    for label, count in counts.items():
        tuned = finetune_step(config, images, label, shots[label])
        drawn[label] = images_step(config, label, count, tuned, train.of(label))
        steps += [tuned, drawn[label]]
    for arm in config.arm_names:
        steps += [arm_step(config, images, split, train, arm, n, drawn, given.get(arm)) for n in config.seeds]
    if config.random_split:
        careless = divide_carelessly(split, config.study_seed)
        steps += [careless_step(config, images, careless, seed) for seed in config.seeds]
    return steps
