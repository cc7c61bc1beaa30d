"""Are the synthetic images of a rare class recognisably of that class? Measured by an oracle that no study uses.

The oracle, a classifier of phantoms, predicts the class of real phantoms, of images of the base, and of images of the
fine-tuned base, the last two generated from the same prompt and seeds. The aim: after fine-tuning at least half the
oracle's recall on real phantoms, and at least 0.3 above the base.

    python benchmarks/recognise.py [--method lora|dreambooth|both] [--images 64] [key=value ...]
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from study_plan import StderrRunner, images_of, images_of_base, make_stage, print_progress, titled, with_counts

from classify.metrics import Recall
from classify.oracle import OracleConfig, oracle_predictions, reaches_aim, recognised, train_oracle, true_phantoms
from data.errors import ConfigError, exit_code
from data.manifest import Manifest
from data.phantoms.table import CODES
from data.store import write_json
from flows.execute import run_group
from flows.plan import Plan
from flows.prepare import prepare
from flows.stages.table import make_plan
from flows.steps import Step
from flows.study import StudyConfig, load_study

STUDIES = {"lora": "configs/demo.yaml", "dreambooth": "configs/demo-dreambooth.yaml"}
FOLDER = "recognise"  # of the benchmark, in the run folder


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """The oracle's recall of one class."""

    label: str
    real: Recall  # of phantoms
    before: Recall  # of the base's images
    after: Recall  # of the fine-tuned base's images

    @property
    def reaches_aim(self) -> bool:
        """Whether the class reaches the aim."""
        return reaches_aim(self.real, self.before, self.after)


def recognise(study: StudyConfig, images: int, oracle: OracleConfig) -> list[ClassResult]:
    """Fine-tune as the study does, generate before and after, and let the oracle predict each image's class."""
    unknown = sorted(set(study.split.rare) - set(CODES))
    if unknown or study.data.source != "phantom":
        raise ConfigError(
            f"the oracle knows phantoms alone, not {unknown or study.data.source}; give a study of phantoms"
        )
    folder = Path(study.output_dir) / "oracle"
    oracle = dataclasses.replace(oracle, pixels=study.pixels)
    model = train_oracle(folder, oracle, titled("oracle"))
    real = oracle_predictions(model, true_phantoms(folder, oracle, images), folder / "cache")
    plan = fine_tuned(study, images)
    results = []
    for step in plan.steps_of("images"):
        generated = (images_of_base(plan, step, study.folder / FOLDER / step.what), _after(plan, step))
        before, after = (recognised(oracle_predictions(model, each), step.what) for each in generated)
        results.append(ClassResult(label=step.what, real=recognised(real, step.what), before=before, after=after))
    return results


def fine_tuned(study: StudyConfig, images: int) -> Plan:
    """The study's plan for this number of images of each rare class, with the adapters trained."""
    study = dataclasses.replace(study, arms=("real", "synthetic"))
    prepared = prepare(study, StderrRunner())
    plan = make_plan(with_counts(prepared, dict.fromkeys(study.split.rare, images)))
    for stage in ("base", "fine-tune"):
        make_stage(plan, stage)
    return plan


def _after(plan: Plan, step: Step) -> Manifest:
    """Images of the fine-tuned base."""
    run_group(plan, (step,), print_progress)
    return images_of(plan, step)


def table(method: str, results: Sequence[ClassResult]) -> str:
    """The recalls as Markdown."""
    rows = []
    for result in results:
        recalls = " | ".join(_recall(recall) for recall in (result.real, result.before, result.after))
        rows.append(f"| {method} | {result.label} | {recalls} | {'yes' if result.reaches_aim else 'no'} |")
    head = "| method | class | real phantoms | base before | after fine-tuning | aim reached |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _recall(recall: Recall) -> str:
    return f"{recall.hits}/{recall.n} = {recall.value:.2f} [{recall.low:.2f}, {recall.high:.2f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="recognise", description="Recall of synthetic images by an oracle.")
    parser.add_argument("--config", help="a study of phantoms (default: the method's demo)")
    parser.add_argument("--method", choices=("lora", "dreambooth", "both"), default="both")
    parser.add_argument("--images", type=int, default=64, help="of each class (default: 64)")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    for method in STUDIES if options.method == "both" else (options.method,):
        overrides = [f"finetune.method={method}", *options.overrides]
        study = load_study(options.config or STUDIES[method], overrides)
        results = recognise(study, options.images, OracleConfig())
        print(table(method, results))
        rows = [{**asdict(result), "reaches_aim": result.reaches_aim} for result in results]
        path = study.folder / FOLDER / f"{method}.json"
        write_json(path, {"method": method, "images": options.images, "classes": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
