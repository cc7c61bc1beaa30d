"""Which way of fine-tuning to take: all methods on the same shots, with equal steps and batches, and what they draw.

Each row is a method. Its images are compared with real ones that no generator has seen: an oracle of phantoms names
their class, precision, recall and coverage are of the oracle's features (of ImageNet's for photographs), and an image
is a copy by the gate's own limit. On phantoms classifiers are trained with them too. Beside the methods stand the base
without any, and photographs edited by the LoRA. No test part of a study is read.

    python benchmarks/compare_methods.py [--config configs/demo.yaml] [--images 64] [--methods lora,...] [...]

Finished work is kept: the same command goes on. Figures, images and a sheet are written to methods/ in the run folder.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compare_methods_data import Compared, compared
from compare_methods_table import MethodResult, table, write_sheet
from gate import Studied
from quality import OVERSAMPLED, ClassifierArm, compare_arms, train_arms
from quality_settings import generate_timed, images_per_second
from quality_table import to_rows
from study_plan import images_of, images_of_base, make_stage, print_progress

from augment.fidelity import compare
from augment.generate.config import GenerateConfig
from augment.methods.record import AdapterRecord
from augment.methods.table import METHODS
from classify.oracle import oracle_predictions, recognised
from data.config import parse, to_dict
from data.errors import ConfigError, exit_code
from data.manifest import Manifest
from data.store import write_json
from flows.execute import run_group
from flows.plan import Plan
from flows.stages import images as images_stage
from flows.stages.table import make_plan
from flows.study import StudyConfig, load_study

FOLDER = "methods"  # in the run folder
FEWEST = 12  # images of a class, for a comparison


@dataclass(frozen=True, kw_only=True)
class Way:
    """A method with the settings that are its own, and how its images are drawn."""

    method: str
    finetune: Mapping[str, Any]  # learning rates are those that a hundred steps of the embedded base bear
    generate: Mapping[str, Any] = field(default_factory=dict)

    def applied_to(self, study: StudyConfig) -> StudyConfig:
        """The study with this method, and as many steps and samples of the shots as it has."""
        shared = {"steps": study.finetune.steps, "batch_size": study.finetune.batch_size, "preview_every": 0}
        finetune = parse(METHODS[self.method], {"method": self.method, **shared, **self.finetune}, self.method)
        generate = parse(GenerateConfig, {**to_dict(study.generate), **self.generate}, self.method)
        return dataclasses.replace(study, finetune=finetune, generate=generate)


WAYS: Mapping[str, Way] = {
    "lora": Way(method="lora", finetune={"learning_rate": 2e-3}),
    "dreambooth": Way(method="dreambooth", finetune={"learning_rate": 6e-4, "num_class_images": 32}),
    "loha": Way(method="loha", finetune={"learning_rate": 1e-2}),
    "lokr": Way(method="lokr", finetune={"learning_rate": 1e-2}),
    "textual-inversion": Way(
        method="textual-inversion", finetune={"learning_rate": 2e-2, "vectors": 2, "init_word": "lesion"}
    ),
    "hypernetwork": Way(method="hypernetwork", finetune={"learning_rate": 3e-3}),
    "controlnet": Way(method="controlnet", finetune={"learning_rate": 1e-3}),
    "lora-edited": Way(method="lora", finetune={"learning_rate": 2e-3}, generate={"edit": {"mode": "img2img"}}),
}
BASE = "none: the base"  # drawn by the prompt alone


class Comparison:
    """The ways of one study, made and measured one after another."""

    def __init__(self, data: Compared) -> None:
        self.data, self.gate = data, Studied(data.prepared, "compared")
        self.features = {label: data.extractor(part, data.cache) for label, part in data.real.items()}
        self.limits = {label: self.gate.control(label) for label in data.real}

    def made(self, way: Way) -> Plan:
        """The plan of one way, with its adapters and images; each class is trained alone, so that seconds compare."""
        prepared = self.data.prepared
        plan = make_plan(dataclasses.replace(prepared, study=way.applied_to(prepared.study)))
        make_stage(plan, "base")
        for step in plan.steps_of("fine-tune"):
            run_group(plan, (step,), print_progress)
        for step in plan.steps_of("images"):
            generate_timed(plan, step, print_progress)
        images_stage.unload(plan)
        return plan

    def base(self, plan: Plan) -> list[MethodResult]:
        """Images of the base alone."""
        folder = plan.prepared.study.folder / FOLDER
        images = {step.what: images_of_base(plan, step, folder / step.what) for step in plan.steps_of("images")}
        return [self._row(BASE, label, found) for label, found in images.items()]

    def measured(self, name: str, plan: Plan) -> list[MethodResult]:
        """One row a class."""
        rows = []
        for step in plan.steps_of("images"):
            folder = plan.target("finetune", step.what)
            record = AdapterRecord.read(folder)
            row = self._row(name, step.what, images_of(plan, step))
            cost = {"seconds": record.seconds, "size": _adapter_bytes(folder, record), "speed": images_per_second(step)}
            rows.append(dataclasses.replace(row, **cost))
        return rows

    def _row(self, name: str, label: str, images: Manifest) -> MethodResult:
        images = Manifest(images.table.head(self.data.images).reset_index(drop=True), images.roots)
        oracle, cache = self.data.oracle, self.data.cache
        return MethodResult(
            name=name,
            label=label,
            images=images,
            figures=compare(self.features[label], self.data.extractor(images, cache), halves=100),
            recognised=recognised(oracle_predictions(oracle, images, cache), label) if oracle else None,
            copies=self.gate.above(self.gate.pixels(images), self.limits[label])[0],
        )


def run(study: StudyConfig, names: Sequence[str], images: int, *, classify: bool = True) -> str:
    """Make and measure these ways, with classifiers of their images if asked; gives the table as Markdown."""
    data = compared(study, images)
    work = Comparison(data)
    plans = {name: work.made(WAYS[name]) for name in names}
    rows = work.base(next(iter(plans.values()))) + [row for name in names for row in work.measured(name, plans[name])]
    classifiers = []
    if classify and data.classifies:
        arms = {OVERSAMPLED: ClassifierArm(plans[names[0]], "oversampled")}
        arms |= {name: ClassifierArm(plan, "synthetic") for name, plan in plans.items()}
        classifiers = compare_arms(data, train_arms(arms, data.prepared.study.seeds, float("inf")))
    out = data.prepared.study.folder / FOLDER
    figures = {"images": [row.to_record() for row in rows], "classifiers": to_rows(classifiers)}
    write_json(out / "methods.json", {"data": data.description, **figures})
    for label, real in data.real.items():
        drawn = {row.name: row.images for row in rows if row.label == label}
        write_sheet(out / f"{label}.png", real, drawn, data.prepared.study)
    return f"{data.description}\n\n{table(rows, classifiers)}\n\nfigures and images: {out}"


def _adapter_bytes(folder: Path, record: AdapterRecord) -> int:
    """Size of what has to be kept of an adapter: its weights, one file or a folder of them."""
    weights = folder / record.weights
    files = [weights] if weights.is_file() else [path for path in weights.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/demo.yaml", help="a study (default: the demo)")
    parser.add_argument("--images", type=int, default=64, help="of each class and method (default: 64)")
    parser.add_argument("--methods", default=",".join(WAYS), help="rows, separated by commas (default: all)")
    parser.add_argument("--without-classifiers", action="store_true", help="measure the images alone")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    names = options.methods.split(",")
    if options.images < FEWEST or not set(names) <= set(WAYS):
        raise ConfigError(f"--images must be {FEWEST} or more, and --methods some of {', '.join(WAYS)}")
    print(
        run(
            load_study(options.config, options.overrides),
            names,
            options.images,
            classify=not options.without_classifiers,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
