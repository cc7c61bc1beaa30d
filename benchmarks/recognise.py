"""Are the synthetic images of a rare class recognisably of that class? A judge that no study uses says.

For each rare class it names true phantoms, images of the base as it is, and images of the fine-tuned base, the last
two drawn from the same prompt and seeds. The aim: after fine-tuning at least half the judge's recall on true phantoms,
and at least 0.3 above the base.

    python benchmarks/recognise.py [--method lora|dreambooth|both] [--images 64] [key=value ...]
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.synthesize import finetune_together, images_step

from augment.generate.pipeline import AdapterPipeline
from augment.generate.run import ImageRequest, generate, synthetic_manifest
from classify.metrics import Recall
from classify.oracle import OracleConfig, oracle_predictions, reaches_aim, recognised, train_oracle, true_phantoms
from data.errors import ConfigError, exit_code
from data.manifest import Manifest
from data.phantoms.table import CODES
from data.store import read_json, write_json
from flows.prepare import read_images, read_split, shots_of, split_step
from flows.steps import Step
from flows.study import StudyConfig, load_study

STUDIES = {"lora": "configs/demo.yaml", "dreambooth": "configs/demo-dreambooth.yaml"}
ROOT = "recognise"  # name of the benchmark's folder as a root of paths


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How often the judge named one class rightly."""

    label: str
    true: Recall  # phantoms
    before: Recall  # the base's images
    after: Recall  # the fine-tuned base's

    @property
    def met(self) -> bool:
        """Say whether the class reaches the aim."""
        return reaches_aim(self.true, self.before, self.after)


def recognise(config: StudyConfig, images: int, judge: OracleConfig) -> list[Verdict]:
    """Fine-tune as the study does, draw before and after, and let the judge name all of it."""
    strange = sorted(set(config.split.rare) - set(CODES))
    if strange or config.data.source != "phantom":
        raise ConfigError(f"the judge knows phantoms alone, not {strange or config.data.source}; give a phantom study")
    where = Path(config.runs) / "judge"
    judge = dataclasses.replace(judge, pixels=config.pixels)
    model = train_oracle(where, judge, lambda step, steps, loss: _watch(step, steps, f"judge, loss {loss:.3f}"))
    true = oracle_predictions(model, true_phantoms(where, judge, images), where / "cache")
    verdicts = []
    for label, (before, after) in _drawn(config, images).items():
        named = [recognised(oracle_predictions(model, drawn), label) for drawn in (before, after)]
        verdicts.append(Verdict(label=label, true=recognised(true, label), before=named[0], after=named[1]))
    return verdicts


def _drawn(config: StudyConfig, images: int) -> dict[str, tuple[Manifest, Manifest]]:
    """Draw each rare class with the base as it is and with the study's adapter, which is trained unless it is there."""
    folder = config.folder / ROOT
    found = read_images(config, _watch)
    split_done = split_step(config, found)(_watch)
    shots = shots_of(config, read_split(split_done.folder, found.manifest.roots))
    drawn, tuning = {}, finetune_together(config, found, shots)
    tuning(_watch)
    for tuned in tuning.steps:
        label = tuned.what
        after = images_step(config, label, images, tuned)
        after = dataclasses.replace(after, folder=folder / "after" / label)
        before = _before(config, label, images, tuned, folder / "before" / label)
        for step in (before, after):
            step(_watch)
        drawn[label] = (_read(before, folder), _read(after, folder))
    return drawn


def _before(config: StudyConfig, label: str, images: int, tuned: Step, folder: Path) -> Step:
    """Draw with the base as it is, by the adapter's prompt and the same seeds."""

    def make(out: Path, _: object) -> None:
        prompt = read_json(tuned.target / "adapter.json")["prompt"]
        request = ImageRequest(
            label=label, prompt=prompt, count=images, seed=config.study_seed, size=config.pixels.size
        )
        generate(pipeline=AdapterPipeline(config.base), request=request, config=config.generate, out=out)

    inputs = {**images_step(config, label, images, tuned).inputs, "stage": "images of the base"}
    return Step(stage="images of the base", what=label, folder=folder, inputs=inputs, make=make)


def _read(step: Step, folder: Path) -> Manifest:
    return synthetic_manifest(step.target, ROOT, {ROOT: folder})


def table(method: str, verdicts: Sequence[Verdict]) -> str:
    """Set out the figures as Markdown."""
    rows = []
    for verdict in verdicts:
        shares = " | ".join(_share(recall) for recall in (verdict.true, verdict.before, verdict.after))
        rows.append(f"| {method} | {verdict.label} | {shares} | {'yes' if verdict.met else 'no'} |")
    head = "| method | class | true phantoms | base before | after fine-tuning | aim reached |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _share(recall: Recall) -> str:
    return f"{recall.hits}/{recall.n} = {recall.value:.2f} [{recall.low:.2f}, {recall.high:.2f}]"


def _watch(done: int, total: int, note: str = "") -> None:
    if done == total or done % 50 == 0:
        print(f"  {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="recognise", description="Judge synthetic images of the rare classes.")
    parser.add_argument("--config", help="a study of phantoms (default: the method's demo)")
    parser.add_argument("--method", choices=("lora", "dreambooth", "both"), default="both")
    parser.add_argument("--images", type=int, default=64, help="of each class (default: 64)")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _judged(given))


def _judged(given: argparse.Namespace) -> int:
    for method in STUDIES if given.method == "both" else (given.method,):
        overrides = [f"finetune.method={method}", *given.overrides]
        config = load_study(given.config or STUDIES[method], overrides)
        verdicts = recognise(config, given.images, OracleConfig())
        print(table(method, verdicts))
        rows = [{**asdict(verdict), "met": verdict.met} for verdict in verdicts]
        write_json(config.folder / ROOT / f"{method}.json", {"method": method, "images": given.images, "classes": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
