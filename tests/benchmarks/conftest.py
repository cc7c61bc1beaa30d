import sys
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
if BENCHMARKS not in sys.path:  # they are programs beside each other, not a package
    sys.path.insert(0, BENCHMARKS)

SMALL = (
    "data.phantom.images=200",
    "data.phantom.balanced=true",
    "pixels.size=32",
    "split.rare=[df]",
    "split.shots=4",
    "fill_to=20",
    "finetune.steps=2",
    "finetune.batch_size=2",
    "finetune.preview_every=2",
    "classifier.model=test_efficientnet",
    "classifier.weights=none",
    "classifier.steps=2",
    "classifier.batch_size=8",
    "classifier.validate_every=2",
    "seeds=[0]",
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Overrides that make the demo a study of seconds with a base of random weights; the oracle takes seconds too."""
    import quality_data
    import recognise

    from augment.base.tiny_model import TinyModelConfig, build_tiny_model
    from classify.config import ClassifierConfig
    from classify.oracle import OracleConfig
    from data.pixels import PixelConfig

    oracle = OracleConfig(
        images=140,
        pixels=PixelConfig(size=32),
        classifier=ClassifierConfig(model="test_efficientnet", steps=2, batch_size=8, validate_every=2),
    )
    for program in (quality_data, recognise):
        monkeypatch.setattr(program, "OracleConfig", lambda: oracle)
    build_tiny_model(TinyModelConfig(), 0).save_pretrained(tmp_path / "base")
    return [f"base.source={tmp_path / 'base'}", f"output_dir={tmp_path / 'runs'}", *SMALL]
