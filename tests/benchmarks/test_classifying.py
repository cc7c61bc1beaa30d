import classifying
import pytest
from classifying_table import Measurement, Options, _row, report


@pytest.mark.slow
@pytest.mark.parametrize("augment_device", ["cpu", "device"])
def test_both_trainings_take_turns_and_stand_in_one_table(tmp_path, capsys, augment_device):
    command = ["--model", "test_efficientnet", "--sizes", "32", "--batch", "8", "--rounds", "2", "--steps", "2"]
    assert classifying.main([*command, "--augment-device", augment_device, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    row = next(line for line in printed if line.startswith("| 32 |")).split(" | ")
    assert len(row) == 9
    assert float(row[1].split()[0]) > 0
    assert "64 images: " in row[7]
    assert row[8].count(" s") == 3


def test_the_row_holds_medians_and_the_ratio_turn_by_turn():
    found = Measurement(
        size=64, images=256, ours=[100.0, 120.0, 110.0], theirs=[50.0, 40.0, 55.0], data=0.04, waiting=0.25,
        loading=(1.5, 0.002), seeds=[0.5, 0.4, 0.4], flops=1e9,
    )  # fmt: skip
    assert _row(found).split(" | ")[1:7] == [
        "110 [100, 120]",
        "0.110",
        "50 [40, 55]",
        "2.00 [2.00, 3.00]",
        "4.0%",
        "25.0%",
    ]
    assert "less than 10% of a step" in report([found], Options())


def test_a_batch_that_is_too_small_is_refused_in_one_line(capsys):
    assert classifying.main(["--batch", "2"]) == 2
    assert capsys.readouterr().err == "error: --sizes and --rounds must be 1 or more, --batch 7 or more\n"


def test_a_training_image_of_efficientnet_b0_takes_what_is_known_of_it():
    assert classifying._flops("efficientnet_b0", 224) == pytest.approx(3 * 2 * 0.386e9, rel=0.05)  # 0.39 GMAC forward
