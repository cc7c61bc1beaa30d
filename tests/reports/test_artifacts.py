"""What the records of artifacts say, shortened to what a report shows."""

from __future__ import annotations

import pytest

from data.errors import InputError
from reports.artifacts import external_images
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
