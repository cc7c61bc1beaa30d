"""Every way of fine-tuning takes its turns, and the figures stand in one table."""

import finetuning
import pytest
from finetuning_ways import ALL, OURS, PEFT, SAME, SCRIPT, Way

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from data.store import read_json


def small():
    config = TinyModelConfig(
        image_size=32, vae_channels=(8, 16, 16, 16), unet_channels=(16, 32), text_width=32, text_layers=1
    )
    return build_tiny_model(config)


@pytest.mark.slow
def test_all_ways_take_turns_and_stand_in_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(finetuning.BASES, "tiny", small)
    command = ["--classes", "2", "--batch", "2", "--rounds", "2", "--steps", "1", "--out", str(tmp_path)]
    assert finetuning.main(command) == 0
    printed = capsys.readouterr().out
    for name in (SCRIPT, SAME, PEFT, OURS, ALL):
        assert f"| {name} | " in printed
    assert "is reached." in printed or "is missed." in printed
    (kept,) = tmp_path.glob("tiny-*.json")
    ways = {row["way"]: row for row in read_json(kept)["ways"]}
    assert all(len(row["samples_a_second"]) == 2 and row["flops_a_sample"] > 0 for row in ways.values())
    assert ways[SAME]["flops_a_sample"] > ways[ALL]["flops_a_sample"]  # it encodes image and prompt at every step
    assert ways[ALL]["flops_a_sample"] == pytest.approx(ways[OURS]["flops_a_sample"])


def test_ratios_are_of_one_round_s_turns_and_compared_with_the_targets():
    found = [
        finetuning.Measurement(way=Way(name=name, samples=1, turn=list), flops=1e9, rates=rates, memory=[1.0, 2.0])
        for name, rates in ((SCRIPT, [1.0, 2.0]), (SAME, [2.0, 2.5]), (PEFT, [4.0, 4.0]), (OURS, [4.5, 4.5]))
    ]
    found.append(
        finetuning.Measurement(way=Way(name=ALL, samples=1, turn=list), flops=1e9, rates=[5.0, 6.0], memory=[1.0, 2.0])
    )
    rows = finetuning.table(found, 1e10).splitlines()
    assert rows[2].split(" | ")[1:] == ["1.5 [1, 2]", "4 [3, 5]", "1", "0.0015", "15%", "2.0 |"]
    assert finetuning.targets(found).splitlines() == [
        f"4.00 times {SCRIPT}: the target of 2 is reached.",
        f"2.45 times {SAME}: the target of 2 is reached.",
        f"1.38 times {PEFT}: the target of 1.2 is reached.",
        f"1.22 times {OURS}: the target of 1.2 is reached.",
    ]


def test_numbers_that_mean_nothing_are_refused_in_one_line(capsys):
    assert finetuning.main(["--classes", "9"]) == 2
    assert capsys.readouterr().err == "error: --classes must be 1 to 7, the other numbers 1 or more\n"
