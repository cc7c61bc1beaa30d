"""The figures of the benchmark of methods, on a base of random weights, and what its bars say."""

import dataclasses

import methods
import pytest

from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from data.store import read_json


def row(**values):
    return methods.Row(**{"method": "m", "images": "phantoms", "before": 1.0, "after": 0.5, **values})


def test_a_word_passes_with_four_fifths_of_the_gap_to_the_class_s_name():
    assert row(after=0.6, own_name=0.5).passes
    assert row(after=0.6, own_name=0.5).gap == pytest.approx(0.8)
    assert not row(after=0.7, own_name=0.5).passes


def test_the_negative_control_passes_where_nothing_is_learnt():
    assert row(after=0.96).passes
    assert not row(after=0.9).passes


def test_a_hypernetwork_passes_with_a_lower_loss_and_the_colour_on_its_way():
    def colours(after):
        return [0.0, 0.0, 0.0], [after, 5.0, 0.0], [10.0, 0.0, 0.0]  # green is across the way

    assert row(colours=colours(4.0)).way == pytest.approx(0.4)
    assert row(colours=colours(4.0)).passes
    assert not row(colours=colours(3.0)).passes
    assert not row(colours=colours(4.0), after=0.7).passes


@pytest.mark.slow
def test_every_method_has_a_row(tmp_path, capsys, monkeypatch):
    config = TinyModelConfig(
        image_size=32, vae_channels=(8, 16, 16, 16), unet_channels=(16, 32), text_width=32, text_layers=1
    )
    monkeypatch.setattr(methods, "load_base", lambda _base: build_tiny_model(config))
    monkeypatch.setattr(methods, "HELD_OUT", 4)
    monkeypatch.setattr(methods, "IMAGES", 2)
    for name in ("INVERSION", "HYPERNETWORK"):
        monkeypatch.setattr(methods, name, dataclasses.replace(getattr(methods, name), steps=1))
    assert methods.main(["--out", str(tmp_path)]) in {0, 1}
    printed = capsys.readouterr().out
    assert printed.count("| Textual Inversion |") == 2
    assert printed.count("| Hypernetwork |") == 1
    assert len(read_json(tmp_path / "methods.json")["rows"]) == 3
