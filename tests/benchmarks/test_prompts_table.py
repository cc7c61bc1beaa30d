"""The table of emphasis: the projection rises with the weight, and a sheet has a row a weight."""

import numpy as np
import prompts
from PIL import Image

from data.store import read_json


def test_the_projection_rises_and_a_long_prompt_s_last_word_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prompts, "SEEDS", 2)
    monkeypatch.setattr(prompts, "SAMPLER", prompts.SamplerConfig(steps=2, guidance_scale=3.0, batch_size=2))
    assert prompts.main(["--out", str(tmp_path)]) == 0
    kept = read_json(tmp_path / "prompts.json")
    projections = {row["weight"]: row["projection"] for row in kept["rows"]}
    assert projections[0.25] < projections[1.0] < projections[3.0]
    assert abs(projections[1.0] - 1) < 1e-4
    assert next(row["difference"] for row in kept["rows"] if row["weight"] == 1.0) == 0
    assert kept["chunks"] > 1
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape == (6 * 128, 2 * 128, 3)
    assert "| 3 | 1.14 |" in capsys.readouterr().out
