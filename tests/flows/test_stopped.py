"""A stopped fine-tune is kept, and said; what is made with it is never taken for that of the whole training."""

import io
import json
import shutil

import pytest
from rich.console import Console

from augment.finetune.stopping import in_training, request_stop
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord, Stopped
from data.store import building
from flows.execute import result_of
from flows.pipeline import run_study
from flows.show_plan import plans_without_writing, replanned, show_plans, write_plans
from flows.stages.table import as_made, make_plan
from flows.step import make_step
from flows.stopped import adapter_digest, note
from flows.study import StudyConfig, load_study
from reports.schema import Summary

# diffusers' scheduler hands a tensor to numpy the old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def plan(make_split, prepare_study, tmp_path):
    study = StudyConfig(split={"rare": ("df",)}, output_dir=str(tmp_path / "runs"), seeds=(0,))
    return make_plan(prepare_study(study, make_split(drawn=False)))


@pytest.fixture
def finish(plan, write_record):
    """Writes the artefact of the fine-tune, stopped at a step or not."""

    def finished(step=None):
        finetune = plan.step("finetune", "df")
        with building(finetune.target, finetune.inputs) as folder:
            write_record(folder, None if step is None else Stopped(step=step, of=400))
            (folder / "cost.json").write_text('{"seconds": 2.0, "device": "cpu"}')
        return finetune

    return finished


@pytest.fixture
def write_record():
    def write(folder, stopped):
        from data.config import to_dict
        from data.splits.provenance import Provenance

        AdapterRecord(
            method="lora", display_name="LoRA", label="df", prompt="p", negative_prompt="", token=None,
            steps=stopped.step if stopped else 400, final_loss=0.1, config=to_dict(LoraConfig()), key="k",
            weights="w.safetensors", sha256="0" * 64, base={}, provenance=Provenance(), pixels={}, seed=0,
            trained_with=["df"], seconds=2.0, stopped=stopped,
        ).write(folder)  # fmt: skip

    return write


def test_what_follows_a_stopped_fine_tune_is_another_than_what_follows_a_whole_one(plan, finish):
    whole = {step.id: step.target for step in plan.steps}
    assert as_made(plan) is plan, "it is not made yet"
    finetune = finish()
    assert as_made(plan) is plan
    assert (adapter_digest(finetune), note(finetune)) == (finetune.digest, "")
    shutil.rmtree(finetune.target)
    finish(step=40)
    made = as_made(plan)
    stopped = {step.id: step.target for step in made.steps}
    assert {name for name in whole if whole[name] != stopped[name]} == {"images df", "fidelity df", "arm synthetic 0"}
    shutil.rmtree(finetune.target)
    finish(step=41)
    later = {step.id: step.target for step in as_made(made).steps}
    assert later["images df"] not in (whole["images df"], stopped["images df"])
    shutil.rmtree(finetune.target)
    finish()
    assert {step.id: step.target for step in as_made(made).steps} == whole


def test_a_stopped_fine_tune_that_is_kept_says_so_and_how_it_is_trained_to_its_end(plan, finish):
    finetune = finish(step=40)
    told = f"stopped by request at step 40 of 400; delete {finetune.target} to have it trained to its end"
    assert result_of(finetune, reused=True).outcome == f"kept from before (took 2 s), {told}"
    out = io.StringIO()
    show_plans([as_made(plan)], Console(file=out, width=400, highlight=False))
    assert f"finished, {told}" in out.getvalue()


def test_the_plan_in_the_run_folder_becomes_that_of_what_was_made(plan, finish, plain_runner):
    study = plan.prepared.study
    write_plans(study, [plan])
    before = (study.folder / "plan.json").read_bytes()
    assert replanned(plan) is plan
    assert (study.folder / "plan.json").read_bytes() == before
    finish(step=40)
    made = replanned(plan)
    digests = {
        name: step["digest"] for name, step in json.loads((study.folder / "plan.json").read_text())["steps"].items()
    }
    assert digests == {step.id: step.digest for step in made.steps}
    with pytest.raises(ValueError, match="is wanted"):
        make_step(make_plan(plan.prepared), "images df", plain_runner, plan.step("images", "df").digest)


class Stopping:
    """A runner that asks for a stop of each fine-tune after its first step, and keeps what the pieces of work say."""

    def __init__(self, run, labels=(), *, asks=True):
        self.run, self.labels, self.asks, self.outcomes = run, labels, asks, {}

    def expect(self, pieces):
        """Nothing is counted."""

    def __call__(self, stage, what, work):
        """Run one piece of work."""

        def progress(done, _total, _note=""):
            if self.asks and stage == "fine-tune" and done == 1:
                request_stop(self.run, self.labels)

        done = work(progress)
        self.outcomes[f"{stage} {what}".strip()] = done.outcome
        return done


@pytest.mark.slow
def test_a_run_whose_fine_tune_is_stopped_goes_on_and_says_it_and_later_trains_to_the_end(small_study, tmp_path):
    own = [f"output_dir={tmp_path}", "name=stopped", "finetune.steps=5", "finetune.held_out_every=2", "fidelity=false"]
    study = load_study(small_study[0], [*small_study[1:], *own])
    first = Stopping(study.folder)
    found = run_study(study, first)
    assert "stopped by request at step 2 of 5; delete" in first.outcomes["fine-tune df"]
    assert in_training(study.folder) == ()
    summary = Summary.read(found.summary)
    assert summary.stopped == ("df stopped by request at step 2 of 5",)
    assert (summary.finetunes["df"].steps, summary.finetunes["df"].stopped) == (2, "stopped by request at step 2 of 5")
    assert summary.finetunes["df"].held_out.reason.endswith("are too few, 16 are needed: half are held out")
    page = found.report.read_text()
    assert f"No held-out loss: {summary.finetunes['df'].held_out.reason}." in page
    assert "Fine-tunes that were not trained to their end: df stopped by request at step 2 of 5." in page
    rows = json.loads((study.folder / "provenance.json").read_text())["rows"]
    assert [row["note"] for row in rows if "note" in row] == ["stopped by request at step 2 of 5"]
    (images,) = study.folder.glob("images/df-*")
    assert json.loads((images / "generation.json").read_text())["stopped"] == {"step": 2, "of": 5}
    assert "stopped by request at step 2 of 5" in (study.folder / "datasheet.md").read_text()

    again = Stopping(study.folder, asks=False)
    run_study(study, again)
    kept = {name for name, outcome in again.outcomes.items() if outcome.startswith("kept from before")}
    assert {"fine-tune df", "images df", "arm synthetic 0", "arm real 0"} <= kept
    assert "stopped by request at step 2 of 5; delete" in again.outcomes["fine-tune df"]
    out = io.StringIO()
    show_plans(plans_without_writing(study), Console(file=out, width=400, highlight=False))
    assert "0 to be made" in out.getvalue()

    (adapter,) = study.folder.glob("finetune/df-*")
    shutil.rmtree(adapter)
    whole = Stopping(study.folder, asks=False)
    found = run_study(study, whole)
    made = {name for name, outcome in whole.outcomes.items() if not outcome.startswith("kept from before")}
    assert {"fine-tune df", "images df", "arm synthetic 0"} <= made
    assert "arm real 0" not in made
    assert Summary.read(found.summary).stopped == ()
    assert "not trained to their end" not in found.report.read_text()
    assert len(list(study.folder.glob("images/df-*"))) == 2
