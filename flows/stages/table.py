"""All stages at once: which steps a study has, and which function makes a step of a stage.

The graph of a study is stated here alone. A step is made by name, in this process or in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.progress import Progress
from flows import stopped
from flows.plan import Plan
from flows.prepared import Prepared
from flows.stages import arm, autoencoded, base, external, fidelity, finetune, gate, images, probe, random_split
from flows.steps import Step

Make = Callable[[Plan, Step, Path, Progress], None]
MakeGroup = Callable[[Plan, Sequence[Step], Mapping[str, Path], Progress], Iterator[tuple[Step, float]]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How the steps of one stage are made."""

    make: Make  # writes one step's artefact into the folder that it is given
    make_group: MakeGroup | None = None  # several at once; gives each with its seconds once written
    leave: Callable[[Plan], None] | None = None  # called when a run goes on to another stage
    note: Callable[[Step], str] = lambda _step: ""  # what whoever uses a finished step has to know


STAGES: Mapping[str, Stage] = {
    "external": Stage(make=external.make),
    "base": Stage(make=base.make),
    "fine-tune": Stage(make=finetune.make, make_group=finetune.make_group, note=stopped.note),
    "images": Stage(make=images.make, leave=images.unload),
    "autoencoded": Stage(make=autoencoded.make),
    "probe": Stage(make=probe.make),
    "gate": Stage(make=gate.make, make_group=gate.make_group),
    "fidelity": Stage(make=fidelity.make, make_group=fidelity.make_group),
    "arm": Stage(make=arm.make),
    "random split": Stage(make=random_split.make),
}


def make_plan(prepared: Prepared) -> Plan:
    """Plan every step. Nothing is made or trained.

    Raises InputError for prompt columns that cannot be read, for files that the config names but that do not exist, and
    for too few external images.
    """
    from_others = external.plan(prepared)
    own = base.plan(prepared)
    adapters = finetune.plan(prepared, own)
    synthetic = images.plan(prepared, adapters)
    coded = autoencoded.plan(prepared, own)
    probed = probe.plan(prepared, own)
    gated = gate.plan(prepared, synthetic)
    made = (*from_others, *synthetic, *gated, *coded, *probed)
    measured = fidelity.plan(prepared, own, synthetic)
    arms = arm.plan(prepared, made)
    return Plan(prepared, (*own, *adapters, *made, *measured, *arms, *random_split.plan(prepared)))


def as_made(plan: Plan) -> Plan:
    """The plan, made anew where a fine-tune was stopped since, or trained to its end: what follows it is another."""
    planned = {step.what: step.inputs["adapter"] for step in plan.steps_of("images")}
    made = {step.what: stopped.adapter_digest(step) for step in plan.steps_of("fine-tune")}
    return plan if all(made[label] == planned[label] for label in planned) else make_plan(plan.prepared)
