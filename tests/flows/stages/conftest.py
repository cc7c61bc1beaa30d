import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.execute import run_group
from flows.stages import autoencoded, probe


def negatives(*, part, out, **_):
    """In place of `autoencode`: the negative of each image, which tests can tell from the photograph."""
    (out / "images").mkdir()
    names = [f"images/{i:06d}.png" for i in range(len(part))]
    for name, path in zip(names, part.paths(), strict=True):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(out / name)
    of = part.table
    rows = {"file_name": names, "label": of["label"], "source_id": of["image_id"], "group_id": of["group_id"]}
    pd.DataFrame(rows).to_csv(out / "metadata.csv", index=False)


@pytest.fixture
def code(monkeypatch):
    """Makes a plan's coded images, which are negatives here, and those of its probe."""
    for stage in (autoencoded, probe):
        monkeypatch.setattr(stage, "autoencode", negatives)

    def made(plan):
        for step in (*plan.steps_of("autoencoded"), *plan.steps_of("probe")):
            run_group(plan, (step,), lambda *_: None)
        return plan

    return made
