"""A stopped fine-tune is made unfinished again, with the checkpoint that it goes on from."""

import filelock
import pytest

from augment.methods.record import RECORD, Stopped
from data.errors import InputError
from data.store import building, finished
from flows import cli
from flows.resume import resume


@pytest.fixture
def artefact(tmp_path, write_adapter_record):
    """Writes the artefact of a fine-tune; gives its folder."""

    def written(label, stopped=None):
        folder = tmp_path / "finetune" / f"{label}-0123"
        with building(folder, {"of": label}) as partial:
            write_adapter_record(partial, label=label, stopped=stopped)
            (partial / "checkpoint").mkdir()
            (partial / "checkpoint" / "a.pt").write_bytes(b"state")
        return folder

    return written


STOPPED = Stopped(step=40, of=400)


def test_the_working_folder_has_the_checkpoint_and_the_artefact_is_not_finished(tmp_path, artefact):
    df, vasc, mel = artefact("df", STOPPED), artefact("vasc", STOPPED), artefact("mel")
    assert resume(tmp_path, ["df"]) == {"df": 40}
    assert not finished(df, {"of": "df"})
    assert finished(vasc, {"of": "vasc"})
    with building(df, {"of": "df"}) as partial:
        assert (partial / "checkpoint" / "a.pt").read_bytes() == b"state"
        assert not (partial / RECORD).exists()
    assert resume(tmp_path) == {"vasc": 40}
    assert finished(mel, {"of": "mel"})


def test_a_run_without_a_stopped_fine_tune_is_one_line(tmp_path, artefact):
    with pytest.raises(InputError, match="no fine-tune there was stopped by request; give the folder of a run"):
        resume(tmp_path)
    df, _ = artefact("df", STOPPED), artefact("mel")
    with pytest.raises(InputError, match=r"the fine-tune of 'mel' was not stopped; name one of df$"):
        resume(tmp_path, ["df", "mel"])
    assert finished(df, {"of": "df"})


def test_one_that_a_process_works_on_is_left_alone(tmp_path, artefact):
    df = artefact("df", STOPPED)
    with building(df, {"of": "other"}), pytest.raises(InputError, match="a process is at work there"):
        resume(tmp_path)


def test_nothing_is_taken_from_a_run_that_is_at_work(tmp_path, artefact):
    df = artefact("df", STOPPED)
    at_work = filelock.FileLock(tmp_path.with_name(f".{tmp_path.name}.lock"))
    with at_work, pytest.raises(InputError, match="a run is at work there; wait for it, or end it"):
        resume(tmp_path)
    assert finished(df, {"of": "df"})


def test_the_command_says_from_which_step(tmp_path, artefact, capsys):
    assert cli.main(["resume", str(tmp_path)]) == 2
    artefact("df", STOPPED)
    capsys.readouterr()
    assert cli.main(["resume", str(tmp_path), "df"]) == 0
    assert capsys.readouterr().out == "df: goes on from step 40 with the next `lesionloom run`\n"
