"""A run's steps as its plan.json names them: what the run itself makes, whatever libraries the page has.

Digests cover the version of Pillow, of which the page needs an older one, so a plan made anew here would name others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import ConfigError
from data.store import RECORD, read_json
from flows.show_plan import PLAN
from flows.stages.table import STAGES
from flows.study import StudyConfig


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """One step of the run."""

    stage: str
    what: str
    digest: str
    folder: Path

    @property
    def is_finished(self) -> bool:
        """Whether its artefact is there; its files are not looked through."""
        try:
            return bool(read_json(self.folder / RECORD)["digest"] == self.digest)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def recorded_steps(study: StudyConfig) -> tuple[RecordedStep, ...]:
    """The steps, read anew, since a run that goes on may have other settings by now. Raises ConfigError."""
    path = study.records / PLAN
    try:
        steps = read_json(path)["steps"]
        return tuple(
            RecordedStep(
                stage=_stage(name), what=name.removeprefix(_stage(name)).strip(), digest=each["digest"],
                folder=study.folder / each["folder"],
            )
            for name, each in steps.items()
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(f"{path}: is not the plan of a run; run the study again, which writes it anew") from fault


def _stage(name: str) -> str:
    """The stage that a step's id begins with; the longest, as some stages' names have a blank."""
    fitting = [stage for stage in STAGES if name == stage or name.startswith(f"{stage} ")]
    return max(fitting, key=len, default=name)
