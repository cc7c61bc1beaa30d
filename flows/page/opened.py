"""A run that the page is opened over: its steps, the photographs that may be shown, and its generators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.methods.record import AdapterRecord
from augment.prompts import prompt_for
from data.errors import InputError
from data.manifest import Manifest
from flows.execute import set_up_libraries
from flows.page.recorded import RecordedStep, recorded_steps
from flows.prepare import prepare
from flows.prepared import Prepared
from flows.step import study_of
from flows.steps import Runner
from flows.study import StudyConfig

BASE_ALONE = "the base alone"


@dataclass(frozen=True, kw_only=True)
class Generator:
    """What draws a class's images: an adapter, or the base as it is."""

    name: str  # in the page's menu
    folder: Path | None  # of the adapter; None: the base alone
    prompt: str  # that the class's images are generated with
    method: str  # of the fine-tune; "": none


@dataclass(frozen=True)
class OpenedRun:
    """A study that has begun, finished or not. Nothing of its validation and test part is ever shown."""

    prepared: Prepared

    @property
    def study(self) -> StudyConfig:
        """The study's config."""
        return self.prepared.study

    @property
    def labels(self) -> tuple[str, ...]:
        """The rare classes, for which images are drawn."""
        return self.study.split.rare

    @property
    def shows_photographs(self) -> bool:
        """Whether photographs, and images that are edited from them, may be shown."""
        return self.study.embed_real_images

    @cached_property
    def photographs(self) -> Manifest:
        """The photographs of all classes that classifiers train on: the only ones that the page reads."""
        train = self.prepared.train
        return train.where(train.table["source"] == "real")

    @property
    def report(self) -> Path:
        """The report, if the run has written one."""
        return self.study.records / "report.html"

    def steps(self, stage: str = "") -> tuple[RecordedStep, ...]:
        """The run's steps, of one stage or of all."""
        return tuple(step for step in recorded_steps(self.study) if stage in ("", step.stage))

    @property
    def base(self) -> BaseConfig:
        """The base that is fine-tuned; the study's own one lies where its step puts it."""
        base, own = self.study.base, self.steps("base")
        return BaseConfig(source=str(own[0].folder), embeddings=base.embeddings) if own else base

    def generators(self, label: str) -> tuple[Generator, ...]:
        """The class's finished adapters, the study's own first, then the base alone; () before there is a base.

        Adapters of earlier settings of the run are among them, unless they have seen validation or test images.
        """
        try:
            base = base_identity(self.base)
        except InputError:  # the study trains it, and has not finished
            return ()
        own = [step.folder for step in self.steps("fine-tune") if step.what == label]
        others = sorted(set((self.study.folder / "finetune").glob(f"{label}-*/")) - set(own))
        found = [self._generator(label, folder, base, is_own=folder in own) for folder in (*own, *others)]
        prompt = prompt_for(label, self.study.prompts)
        alone = Generator(name=BASE_ALONE, folder=None, prompt=prompt, method="")
        return (*(each for each in found if each is not None), alone)

    def generator(self, label: str, name: str) -> Generator:
        """The generator of this name. Raises InputError."""
        found = self.generators(label)
        for each in found:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in found) or "none yet; wait until the study has trained its base"
        raise InputError(f"{label}: no generator is called {name!r}; take {known}")

    def _generator(self, label: str, folder: Path, base: object, *, is_own: bool) -> Generator | None:
        try:
            record = AdapterRecord.read(folder)
            self.prepared.split.refuse_seen(record.seen, str(folder))
        except InputError:
            return None
        if record.label != label or record.base != base:
            return None
        kept = record.chosen.step if record.chosen else record.steps
        words = f"{record.display_name}, {kept:,} steps"
        name = words if is_own else f"{words}, of other settings ({folder.name.rpartition('-')[2][:6]})"
        return Generator(name=name, folder=folder, prompt=record.prompt, method=record.method)


def open_run(folder: Path, run: Runner) -> OpenedRun:
    """Open a run, finished or not, by the plan.json in its folder. Raises InputError."""
    study, _ = study_of(folder)
    set_up_libraries(study)
    return OpenedRun(prepare(study, run))
