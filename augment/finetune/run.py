"""Fine-tune a base on the rare classes, each from a handful of images, by any method.

One adapter a class; all classes in one batch where the method allows it. Everything random of a class follows from
the seed and its label, so its adapter is the same, within rounding, whichever others are trained with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.context import Context
from augment.finetune.config import result_settings
from augment.finetune.held_out import HeldOut
from augment.finetune.loop import OnStep
from augment.finetune.select import Selection
from augment.finetune.session import FinetuneSession
from augment.finetune.trainer import ClassTrainer
from augment.methods.contract import FinetuneSettings
from augment.methods.record import AdapterRecord
from data.errors import BaseError, DataError, TrainingError
from data.manifest import Manifest
from data.progress import Progress
from data.store import digest


def finetune(
    *,
    base: BaseConfig,
    shots: Mapping[str, Manifest],
    config: FinetuneSettings,
    out: Mapping[str, Path],
    context: Context,
    selection: Selection | None = None,
    held_out: HeldOut | None = None,
    run: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[str, float]]:
    """Write an adapter for each class of `shots` into its folder of `out`.

    Yields each class's label and its share of the seconds spent, once its adapter is written; it stays written if the
    caller stops there. `progress` counts the steps of all classes. Where the prompts name columns or captions, an
    image's prompt also has what they say of it. With `config.select_every` and a `selection` the kept step is chosen,
    with `config.held_out_every` the loss of photographs that are held out is measured. `augment.finetune.stopping` can
    ask classes to stop, through the folder of their `run`: the adapter is then that of the last step done.

    A folder holds the weights, adapter.json (written last), loss.csv, held_out.csv, choice.csv where a step is chosen,
    and previews/;
    during training also checkpoint/, from which an interrupted call resumes. A class that is finished is left as it
    is. Raises TrainingError for a loss that is not finite, after the other classes are done.
    """
    empty = sorted(label for label, manifest in shots.items() if not len(manifest))
    if empty:
        raise DataError(f"no images to train {', '.join(empty)} on; give 5 to 20 a class or leave it out")
    selection = selection if config.select_every else None
    keys = _keys(base, shots, config, context, selection)
    seconds = {label: _seconds_if_finished(out[label], keys[label]) for label in shots}
    yield from ((label, spent) for label, spent in seconds.items() if spent is not None)
    missing = [label for label, spent in seconds.items() if spent is None]
    if not missing:
        return
    if held_out is not None:
        held_out.refuse_shared(shots)
    session = FinetuneSession.prepare(base, config, context, len(missing), selection, held_out, run)
    on_step = _step_reporter(progress, len(shots) - len(missing), len(shots))
    failures = []
    for group in [missing] if session.trainable.max_classes != 1 else [[label] for label in missing]:
        try:
            yield from session.train({label: shots[label] for label in group}, out, keys, on_step)
        except TrainingError as error:
            failures.append(str(error))
    if failures:
        raise TrainingError("; ".join(failures))


def _keys(
    base: BaseConfig,
    shots: Mapping[str, Manifest],
    config: FinetuneSettings,
    context: Context,
    selection: Selection | None,
) -> dict[str, str]:
    """Digest of all that each class's adapter depends on. Raises DataError for images that train and choose."""
    prompts, source = context.prompts, config.condition_source
    parts = (base_identity(base), context.pixels, result_settings(config), context.seed, prompts.result_settings())
    if selection is not None:
        selection.refuse_shared(shots)
    return {
        label: digest(
            manifest.digest(),
            label,
            *parts,
            *(selection.key_parts(label) if selection else ()),
            *prompts.captions_identity(manifest).values(),
            *(source.identity(manifest).values() if source else ()),
        )
        for label, manifest in shots.items()
    }


def _step_reporter(progress: Progress | None, finished: int, classes: int) -> OnStep:
    """Report the steps of all classes together, and the last loss of each."""
    steps, losses = dict[str, int](), dict[str, str]()

    def on_step(trainer: ClassTrainer) -> None:
        if progress is None:
            return
        label, total = trainer.examples.label, trainer.config.steps
        steps[label] = total if trainer.done else len(trainer.losses)  # one that has stopped leaves none to do
        losses[label] = f"{label} {trainer.losses[-1]:.3f}{_held_out_in_words(trainer)}"
        progress(finished * total + sum(steps.values()), classes * total, f"loss {', '.join(losses.values())}")

    return on_step


def _held_out_in_words(trainer: ClassTrainer) -> str:
    """The last held-out loss; "" before the first."""
    points = trainer.held_out.points if trainer.held_out else []
    return f" (held-out {points[-1][1]:.3f})" if points else ""


def _seconds_if_finished(folder: Path, key: str) -> float | None:
    """The seconds that an adapter of this key took; None if the folder holds none."""
    try:
        record = AdapterRecord.read(folder)
    except BaseError:
        return None
    return record.seconds if record.key == key else None
