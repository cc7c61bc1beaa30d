"""The benchmark of the gate, on a few phantoms."""

import gate
import pytest

from data.store import read_json

SMALL = ("data.phantom.images=160", "data.phantom.test_lesions=2", "data.phantom.balanced=true", "split.rare=[df]")


@pytest.mark.slow
@pytest.mark.numerical
def test_each_class_is_measured_against_the_whole_train_part_and_the_rare_one_against_its_shots(tmp_path, capsys):
    arguments = ["--most", "4", f"output_dir={tmp_path}", "split.shots=4", *SMALL]
    assert gate.main(arguments) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[1] for line in lines] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc", "all", "df", "all"]
    assert {line[0] for line in lines} == {"| phantoms", "| phantoms, few shots"}
    rows = read_json(tmp_path / "demo-gate" / "gate.json")
    assert rows[-1]["photographs"] == 4
    whole = [row for row in rows if row["images"] == "phantoms"]
    assert {above == n for row in whole for above, n in row["caught"].values()} == {True}
    assert {n for row in whole for _, n in row["caught"].values()} == {4}
    caught = list(rows[-1]["caught"].values())
    assert sum(above for above, _ in caught) >= 27, "of 28 copies of four shots, whose limit four photographs set"


def test_a_share_has_its_count_and_without_photographs_there_is_none():
    row = gate.Measured(
        images="phantoms",
        label="df",
        photographs=3,
        limit=0.25,
        alarms=(1, 50),
        caught={"noise": (30, 30)},
        twins=(0, 0),
    )
    lines = gate.table([row]).splitlines()
    assert lines[2] == "| phantoms | df | 3 | 0.250 | 1/50 = 2.0 % | none | 30/30 = 100.0 % |"
    assert lines[3] == "| phantoms | all | 3 |  | 1/50 = 2.0 % | none | 30/30 = 100.0 % |"
    assert lines[1].count("---") == lines[0].count("|") - 1
