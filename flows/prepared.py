"""A study whose images are read and divided: what all its steps are planned from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from augment.context import Context
from classify.arms import Arm, limit_to_shots
from classify.mix import Coding
from data.manifest import Manifest, identity_of
from data.splits.class_counts import fill_counts
from data.splits.duplicates import Links
from data.splits.split import Split, few_shot, first_photographs
from flows.steps import StepResult
from flows.study import StudyConfig

SPARE = 1.5  # images generated for each that a gated arm needs


@dataclass(frozen=True, kw_only=True)
class Images(StepResult):
    """The data set, the SHA-256 of every image's bytes by its id, and its leakage groups once they were looked for."""

    manifest: Manifest
    contents: Mapping[str, str]
    cache: Path | None = None  # where decoded photographs of people are kept; None: the images are drawn
    joined: dict[str, tuple[Manifest, Links]] = field(default_factory=dict, compare=False, repr=False)  # by geometry

    @property
    def outcome(self) -> str:
        """What was read, in words; images that lie in a folder are read anew by every run."""
        found = f"{len(self.manifest):,} images of {len(self.manifest.labels)} classes"
        if self.reused:
            return f"{found}, kept from before"
        kept = f"; decoded ones are kept in {self.cache}, and `lesionloom clean` removes them" if self.cache else ""
        return f"{found}, {self.seconds:.0f} s{kept}"

    def identity_of(self, part: Manifest) -> str:
        """Digest of a part's table and of its images' bytes, wherever they lie."""
        return identity_of(part, self.contents)


@dataclass(frozen=True)
class Prepared:
    """The study, its images and its split."""

    study: StudyConfig
    images: Images
    split: Split
    split_result: StepResult
    classifier_bytes: int  # of one classifier's weights

    @cached_property
    def shots(self) -> dict[str, Manifest]:
        """The few images of each rare class that the generator may see."""
        config, seed = self.study.split, self.study.study_seed
        return {label: few_shot(self.split.train, label, config.shots, seed) for label in config.rare}

    @cached_property
    def train(self) -> Manifest:
        """The real images that classifiers train on: all of the train part, or of rare classes only the shots."""
        limited = self.study.split.limit_real_to_shots
        return limit_to_shots(self.split.train, self.shots) if limited else self.split.train

    def train_of(self, arm: Arm) -> Manifest:
        """The real images that an arm's classifiers train on."""
        if arm.photographs is None:
            return self.train
        whole, config, seed = self.split.train, self.study.split, self.study.study_seed
        few = {label: first_photographs(whole, label, arm.photographs, seed) for label in config.rare}
        return limit_to_shots(whole, few)

    @cached_property
    def fill_counts(self) -> dict[str, int]:
        """How many images the filled arms add to each rare class."""
        return fill_counts(self.train, self.study.split.rare, self.study.fill_to)

    def counts_of(self, arm: Arm) -> dict[str, int]:
        """How many images an arm adds to each rare class: up to `fill_to`, or by its dose."""
        if arm.dose is None:
            return self.fill_counts if arm.source else {}
        counts = self.train.counts()
        return {label: round(arm.dose * counts[label]) if added else 0 for label, added in self.fill_counts.items()}

    @cached_property
    def synthetic_counts(self) -> dict[str, int]:
        """How many images to generate of each rare class that needs some; empty where no arm trains on them."""
        arms = [arm for arm in self.study.arm_table.values() if arm.source == "synthetic"]
        spare = {arm.name: SPARE if arm.gate else 1.0 for arm in arms}
        most = {
            label: max((math.ceil(spare[arm.name] * self.counts_of(arm)[label]) for arm in arms), default=0)
            for label in self.fill_counts
        }
        return {label: count for label, count in most.items() if count}

    @cached_property
    def needs_base(self) -> bool:
        """Whether some arm's images come from the base: generated with it, or passed through its autoencoder."""
        coded = self.study.trains_on("autoencoded") and any(self.fill_counts.values())
        return bool(self.synthetic_counts) or coded

    @cached_property
    def coding(self) -> Coding:
        """How photographs are coded; "none" where no arm trains on images of the base, so that no trace can tell."""
        return self.study.coding if self.needs_base else "none"

    @property
    def most_made(self) -> int:
        """At most so many images stand beside the data set's: synthetic ones, external ones, and its own, coded."""
        external = len(self.study.external_arms) * sum(self.fill_counts.values())
        coded = len(self.images.manifest) if self.needs_base else 0
        return sum(self.synthetic_counts.values()) + external + coded

    @property
    def context(self) -> Context:
        """The settings that the stages of `augment` share; its seed is the generator's."""
        study = self.study
        return Context(pixels=study.pixels, prompts=study.prompts, seed=study.generator_seed, cache=study.cache)
