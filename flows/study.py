"""A study's whole config, and what each of its artifacts depends on.

Digests cover config, seeds, the images' bytes, the base and the libraries that matter; not what only
changes speed (batch size of sampling, device, threads), and not the settings of later stages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from augment.base.config import BaseConfig
from augment.finetune.run import FinetuneConfig
from augment.generate.run import GenerateConfig
from augment.prompts import PromptConfig
from classify.arms import ARMS
from classify.config import ClassifierConfig
from data import config as configs
from data.config import STRICT, Seed
from data.pixels import PixelConfig
from data.sources.external import FolderArm
from data.sources.load import DataConfig
from data.splits.split import SplitConfig
from data.store import digest

Arm = Annotated[
    Annotated[Literal["real", "oversampled", "synthetic"], Tag("arm")] | Annotated[FolderArm, Tag("folder")],
    Discriminator(lambda given: "folder" if isinstance(given, (Mapping, FolderArm)) else "arm"),
]

# Raise a stage's number when its code makes other results from the same inputs.
STAGE_VERSIONS = {"split": 1, "base": 1, "fine-tune": 1, "images": 2, "folder": 1, "arm": 1, "careless": 1}
LIBRARIES = {
    "split": ("numpy", "pandas", "scikit-learn"),
    "base": ("torch", "diffusers", "transformers"),
    "fine-tune": ("torch", "diffusers", "transformers", "peft"),
    "images": ("torch", "diffusers", "transformers", "peft", "pillow"),
    "folder": ("numpy", "pandas", "opencv-python-headless", "pillow"),
    "arm": ("torch", "timm", "albumentations"),
    "careless": ("torch", "timm", "albumentations"),
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StudyConfig:
    """Which data, base and models a study compares, and how. Each section is a stage's own config."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "study"  # folder under runs; a-z, 0-9, dashes
    study_seed: Seed = 0  # varies split, shots, fine-tune and images
    data: DataConfig = DataConfig()
    pixels: PixelConfig = PixelConfig()
    split: SplitConfig = SplitConfig()
    base: BaseConfig = BaseConfig()
    prompts: PromptConfig = PromptConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    generate: GenerateConfig = GenerateConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    arms: tuple[Arm, ...] = ("real", "oversampled", "synthetic")
    fill_to: Annotated[int, Field(ge=1)] | None = (
        None  # images a rare class in the filled arms; None: the median class's
    )
    photographs: bool = True  # False: the report shows none of the data set's images, and the run folder keeps none
    random_split: bool = False  # True: also show what a random split of images would have reported, beside the arms
    seeds: tuple[Seed, ...] = (0, 1)  # one classifier an arm and seed
    runs: str = "runs"  # folder of all runs

    def __post_init__(self) -> None:
        """Refuse what no study could mean."""
        for name, values in (("arms", self.arm_names), ("seeds", self.seeds), ("split.rare", self.split.rare)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must name at least one, each once, not {list(values)}")
        if self.arms[0] != "real":
            raise ValueError("arms must begin with 'real', which the others are compared with")
        if self.random_split and self.split.limit_real_to_shots:
            raise ValueError("random_split trains on a whole train part; set split.limit_real_to_shots: false")
        taken = sorted({arm.name for arm in self.folder_arms} & {*ARMS, "random-split"})
        if taken:
            raise ValueError(f"arms: a folder cannot be called {taken[0]!r}, which is another arm; give it a name")
        own = self.base.own
        if own is not None and own.start == "scratch" and own.sizes.image_size != self.pixels.size:
            raise ValueError(
                f"base.pretrain.sizes.image_size is {own.sizes.image_size}, pixels.size {self.pixels.size}; "
                "a base is trained at the study's size, so make them equal"
            )

    @property
    def arm_names(self) -> tuple[str, ...]:
        """What the arms are called, in order."""
        return tuple(arm.name if isinstance(arm, FolderArm) else arm for arm in self.arms)

    @property
    def folder_arms(self) -> tuple[FolderArm, ...]:
        """The arms of images made elsewhere."""
        return tuple(arm for arm in self.arms if isinstance(arm, FolderArm))

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.runs) / self.name

    def seed_for(self, stage: str, label: str) -> int:
        """Seed of one class's fine-tune or images."""
        return int(digest(stage, label, self.study_seed)[:7], 16)


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Load the study of a YAML file; overrides are `classifier.steps=40` and the like. Raises ConfigError."""
    return configs.load(StudyConfig, Path(path), overrides)


def inputs(stage: str, **depends: Any) -> Mapping[str, Any]:  # noqa: ANN401 - plain JSON of any shape
    """Gather what an artifact depends on: what the stage says, its version and its libraries'."""
    libraries = {name: version(name) for name in LIBRARIES[stage]}
    return {"stage": stage, "version": STAGE_VERSIONS[stage], "libraries": libraries, **depends}


def settings(config: object, *without: str) -> dict[str, Any]:
    """Give a stage's config as plain JSON, less the fields that only change speed."""
    unknown = set(without) - {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    if unknown:
        raise KeyError(f"{type(config).__name__} has no {sorted(unknown)}")
    return {name: value for name, value in configs.to_dict(config).items() if name not in without}
