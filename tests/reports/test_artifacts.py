"""What the records of artifacts say, shortened to what a report shows."""

from __future__ import annotations

import dataclasses

import pytest

from augment.methods.record import HELD_OUT_TABLE, AdapterRecord, HeldOutRecord, Stopped
from data.errors import InputError
from reports.artifacts import external_images
from reports.render import write_report
from reports.run_folder import RunFolder
from reports.summary import summarise


def test_a_long_loss_record_is_thinned_and_few_previews_kept(make_run):
    run = make_run()
    folder = run / "finetune/0-22"
    (folder / "loss.csv").write_text("step,loss,lr\n" + "".join(f"{i},{i % 2},1\n" for i in range(1, 1001)))
    for step in (300, 400, 500):
        (folder / f"previews/step-{step:06d}.jpg").write_bytes((folder / "previews/step-000100.jpg").read_bytes())
    tune = summarise(run).finetunes["akiec"]
    assert len(tune.losses) == 100
    assert tune.losses[-1] == (1000, 0.5)
    assert [path[-10:] for path in tune.previews] == ["000100.jpg", "000300.jpg", "000500.jpg"]


def test_a_loss_that_is_no_number_is_refused(make_run):
    run = make_run()
    (run / "finetune/2-22/loss.csv").write_text("step,loss,lr\n1,low,1\n")
    with pytest.raises(InputError, match=r"loss\.csv.*'low'"):
        summarise(run)


def test_settings_of_sampling_are_those_of_the_images(make_run):
    settings = summarise(make_run()).finetunes["df"].settings
    assert settings == {"steps": "20", "guidance scale": "2.0", "sampler": "dpmsolver++2m", "negative prompt": ""}


def test_external_images_are_counted_with_what_their_makers_have_seen(make_run):
    run = RunFolder.open(make_run(external={"theirs": None, "ours": ["g-1", "g-2"]}))
    theirs, ours = (external_images(run, arm) for arm in ("theirs", "ours"))
    assert (theirs.folder, theirs.images, theirs.different, theirs.copies_of_train) == ("/made/theirs", 30, 29, 2)
    assert (theirs.seen, ours.seen) == (None, 2)


def rewritten(run, label_folder, **changes):
    """The same run with another record of a fine-tune."""
    folder = run / label_folder
    dataclasses.replace(AdapterRecord.read(folder), **changes).write(folder)
    return folder


def test_a_held_out_loss_is_shown_beside_the_loss_and_why_there_is_none(make_run):
    run = make_run()
    seen = HeldOutRecord(loss=0.3, photographs=12, origin="other lesions of the train part")
    folder = rewritten(run, "finetune/0-22", held_out=seen, config={"preview_prompt": "dermoscopy of a [name]"})
    (folder / HELD_OUT_TABLE).write_text("step,loss\n100,0.4\n200,0.3\n")
    rewritten(run, "finetune/1-22", held_out=HeldOutRecord(reason="2 other lesions are too few"))
    tunes = summarise(run).finetunes
    assert tunes["akiec"].held_out.points == ((100, 0.4), (200, 0.3))
    assert (tunes["df"].held_out.points, tunes["df"].held_out.reason) == ((), "2 other lesions are too few")
    assert tunes["vasc"].held_out is None
    page = write_report(run).read_text()
    assert "Dashed: the held-out loss, of 12 photographs (other lesions of the train part)" in page
    assert "at the end 0.300, at the least 0.300" in page
    assert "No held-out loss: 2 other lesions are too few." in page
    assert "The previews’ prompt: “dermoscopy of a [name]”." in page
    (folder / HELD_OUT_TABLE).unlink()
    with pytest.raises(InputError, match=r"held_out\.csv: is not there; delete its folder and start the run again"):
        summarise(run)


def test_a_fine_tune_that_was_stopped_is_said_to_be_at_the_top_and_beside_its_images(make_run):
    run = make_run()
    assert summarise(run).stopped == ()
    rewritten(run, "finetune/0-22", stopped=Stopped(step=200, of=400))
    assert summarise(run).stopped == ("akiec stopped by request at step 200 of 400",)
    page = write_report(run).read_text()
    assert "Fine-tunes that were not trained to their end: akiec stopped by request at step 200 of 400." in page
    assert "200 steps (stopped by request at step 200 of 400)" in page
