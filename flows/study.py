"""A study's whole config: which data, base and models it compares, and how. Each section is a stage's own config."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from augment.base.config import BaseConfig
from augment.finetune.config import FinetuneConfig
from augment.generate.config import GenerateConfig
from augment.methods.lora import LoraConfig
from augment.prompts import PromptConfig
from classify.arms import ARMS, FULL, Arm, arm_of, external_arm
from classify.config import ClassifierConfig
from classify.mix import Coding
from classify.oracle import STUDY_SEEDS
from data import config as configs
from data.config import STRICT, Seed
from data.pixels import PixelConfig
from data.sources.external import ExternalArm
from data.sources.load import DataConfig
from data.splits.split import SplitConfig

REPEATS = "repeats"  # the folder within a run that holds each repeat's records


def _known_arm(name: str) -> str:
    if arm_of(name) is None:
        raise ValueError(
            f"{name!r} is no arm; known: {', '.join(ARMS)}, real@NUMBER, synthetic@NUMBERx, or "
            "{folder: ..., name: ...}"
        )
    return name


def _all_arms(arms: object) -> object:
    return FULL if arms == "full" else arms


ArmEntry = Annotated[
    Annotated[str, AfterValidator(_known_arm), Tag("arm")] | Annotated[ExternalArm, Tag("folder")],
    Discriminator(lambda entry: "folder" if isinstance(entry, (Mapping, ExternalArm)) else "arm"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyConfig:
    """Which data, base and models a study compares, and how."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)] = "study"  # folder under output_dir
    study_seeds: tuple[Seed, ...] = (0,)  # of the split and the few-shot images; the study is repeated for each
    generator_seeds: tuple[Seed, ...] = ()  # of adapters and synthetic images, for each study seed; (): the study's own
    is_repeat: bool = False  # one of several repeats, whose records have a folder of their own; set by `repeats`
    data: DataConfig = DataConfig()
    pixels: PixelConfig = PixelConfig()
    split: SplitConfig = SplitConfig()
    base: BaseConfig = BaseConfig()
    prompts: PromptConfig = PromptConfig()
    finetune: FinetuneConfig = LoraConfig()
    generate: GenerateConfig = GenerateConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    arms: Annotated[tuple[ArmEntry, ...], BeforeValidator(_all_arms)] = ("real", "oversampled", "synthetic")  # or full
    coding: Coding = (
        "mixed"  # photographs in training: some of every class passed through the autoencoder, all, or none
    )
    fill_to: Annotated[int, Field(ge=1)] | None = None  # images a rare class in filled arms; None: the median class's
    embed_real_images: bool = True  # False: neither report nor run folder holds thumbnails of the data set's images
    malignant: tuple[str, ...] = ()  # labels that the report also takes together, against all others
    fidelity: bool = True  # compare synthetic images with photographs that the generator has not seen; takes seconds
    random_split: bool = False  # True: also report what a random split of images would have given
    seeds: tuple[Seed, ...] = (0, 1)  # of the classifiers: one an arm and seed
    output_dir: str = "runs"  # folder of all runs

    def __post_init__(self) -> None:
        """Refuse combinations that no study can have."""
        each_once = {"arms": self.arm_names, "seeds": self.seeds, "study_seeds": self.study_seeds}
        for name, values in (each_once | {"split.rare": self.split.rare}).items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must name at least one, each once, not {list(values)}")
        self._refuse_repeats()
        if self.generate.emphasis == "off" and self.prompts.has_emphasis:
            raise ValueError(
                "generate.emphasis is off, but fine-tuning reads brackets in prompts as emphasis; write \\( and \\) "
                "for those that are text"
            )
        if self.coding == "all" and self.external_arms:
            raise ValueError(
                "coding: all is for images that have passed the base's autoencoder, and those of a folder have not; "
                "set coding: mixed, or leave the folder out"
            )
        edit = self.generate.edit
        if self.coding == "all" and edit is not None and edit.mode != "img2img":
            raise ValueError(
                f"coding: all is for images that have passed the base's autoencoder, and what {edit.mode} keeps of a "
                "photograph has not; set coding: mixed"
            )
        if len(set(self.malignant)) != len(self.malignant):
            raise ValueError(f"malignant must name each class once, not {list(self.malignant)}")
        if self.arms[0] != "real":
            raise ValueError("arms must begin with 'real', which the others are compared with")
        if self.random_split and self.split.limit_real_to_shots:
            raise ValueError("random_split trains on a whole train part; set split.limit_real_to_shots: false")
        taken = sorted({arm.name for arm in self.external_arms} & {*ARMS, "random-split"})
        if taken:
            raise ValueError(f"arms: a folder cannot be called {taken[0]!r}, which is another arm; give it a name")
        self._refuse_images()

    def _refuse_images(self) -> None:
        """Refuse phantoms that a classifier has been trained on, and a base of another size."""
        if self.data.source == "phantom" and self.data.phantom.seed >= STUDY_SEEDS:
            raise ValueError(
                f"data.phantom.seed is {self.data.phantom.seed}; from {STUDY_SEEDS} on, phantoms are those that the "
                "embedded classifiers were trained on; take a smaller seed"
            )
        if self.generate.edit is not None and self.finetune.condition_source is not None:
            raise ValueError(
                f"generate.edit and finetune.method: {self.finetune.method} both choose a photograph for each image; "
                "leave generate.edit out, or take another method"
            )
        if self.classifier.soft_labels and (self.generate.edit is None or self.generate.edit.source != "other"):
            raise ValueError(
                "classifier.soft_labels is for images that are edited from other classes' photographs; set "
                "generate.edit.source: other, or leave it out"
            )
        own = self.base.own
        if own is not None and own.init_from == "scratch" and own.model.image_size != self.pixels.size:
            raise ValueError(
                f"base.pretrain.model.image_size is {own.model.image_size}, pixels.size {self.pixels.size}; "
                "a base is trained at the study's size, so make them equal"
            )

    def _refuse_repeats(self) -> None:
        """Refuse generator seeds that are named twice or change nothing, and several repeats in one of several."""
        if len(set(self.generator_seeds)) != len(self.generator_seeds):
            raise ValueError(f"generator_seeds must name each once, not {list(self.generator_seeds)}")
        if len(self.generator_seeds) > 1 and not self.trains_on("synthetic"):
            raise ValueError("generator_seeds are those of synthetic images, which no arm trains on; leave them out")
        if self.is_repeat and self.n_repeats > 1:
            raise ValueError("is_repeat is set, so give one study seed, one generator seed and one fold")

    @property
    def n_repeats(self) -> int:
        """How many repeats the study has: study seeds x generator seeds x folds."""
        return len(self.study_seeds) * max(1, len(self.generator_seeds)) * len(self._folds)

    @property
    def _folds(self) -> Sequence[int | None]:
        """The folds that are run in turn; None for a split that is no fold."""
        each = self.split.n_splits is not None and self.split.fold is None
        return range(self.split.n_splits or 0) if each else (self.split.fold,)

    def repeats(self) -> tuple[StudyConfig, ...]:
        """The study for each study seed, generator seed and fold alone, the folds in turn; itself where it is one.

        All have one folder: artefacts are named by what they depend on, so that equal ones are made once.
        """
        if self.n_repeats == 1:
            return (self,)
        generators: list[tuple[Seed, ...]] = [(seed,) for seed in self.generator_seeds] or [()]
        return tuple(
            dataclasses.replace(
                self, study_seeds=(seed,), generator_seeds=generator, is_repeat=True,
                split=dataclasses.replace(self.split, fold=fold),
            )
            for seed, generator, fold in product(self.study_seeds, generators, self._folds)
        )  # fmt: skip

    @property
    def study_seed(self) -> int:
        """The study seed of a single study: of split and few-shot images."""
        return self.study_seeds[0]

    @property
    def generator_seed(self) -> int:
        """The generator seed of a single study: of adapters and synthetic images."""
        return self.generator_seeds[0] if self.generator_seeds else self.study_seed

    @property
    def repeat(self) -> tuple[tuple[str, int], ...]:
        """What tells a repeat from the others: its study seed, and generator seed and fold where the config has any."""
        generator = [("generator", self.generator_seed)] if self.generator_seeds else []
        fold = [("fold", self.split.fold)] if self.split.fold is not None else []
        return (("seed", self.study_seed), *generator, *fold)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Names of the arms, in order."""
        return tuple(arm.name if isinstance(arm, ExternalArm) else arm for arm in self.arms)

    @property
    def arm_table(self) -> dict[str, Arm]:
        """The arms by name, in order: rows of `classify.arms.ARMS`, and one a folder of external images."""
        entries = (external_arm(arm.name) if isinstance(arm, ExternalArm) else arm_of(arm) for arm in self.arms)
        return {arm.name: arm for arm in entries if arm is not None}

    @property
    def external_arms(self) -> tuple[ExternalArm, ...]:
        """The arms of images made by other programs."""
        return tuple(arm for arm in self.arms if isinstance(arm, ExternalArm))

    def trains_on(self, source: str) -> bool:
        """Whether some arm fills its rare classes from this source, such as `synthetic`."""
        return any(arm.source == source for arm in self.arm_table.values())

    @property
    def folder(self) -> Path:
        """The run's folder, which holds the artefacts of all repeats."""
        return Path(self.output_dir) / self.name

    @property
    def records(self) -> Path:
        """The folder of plan, records and report: the run's, or the repeat's within it where there are several."""
        name = "-".join(f"{what}-{number}" for what, number in self.repeat)
        return self.folder / REPEATS / name if self.is_repeat else self.folder

    @property
    def title(self) -> str:
        """The repeat in words, e.g. "seed 1, fold 2"; "" where there is one."""
        return ", ".join(f"{what} {number}" for what, number in self.repeat) if self.is_repeat else ""

    @property
    def cache(self) -> Path:
        """Decoded pixels and digests of files, shared by all runs of `output_dir`."""
        return Path(self.output_dir) / "cache"


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Load the study of a YAML file; overrides are `classifier.steps=40` and the like. Raises ConfigError."""
    return configs.load(StudyConfig, Path(path), overrides)
