"""Every config that is shipped or shown can be read."""

import re
from pathlib import Path

import pytest
import yaml

from augment.base.pretrain import PretrainConfig
from classify.embedded import PHANTOMS
from classify.lite0 import LITE0_PACKAGE
from data.config import load, parse
from flows.study import StudyConfig

REPOSITORY = Path(__file__).parents[2]
PRETRAINING = {"tiny-base.yaml"}
SHOWN = [
    (page, n, block)
    for page in ("docs/datasets.md", "docs/running.md")
    for n, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    )
]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_a_shipped_config_can_be_read(path):
    config = load(PretrainConfig if path.name in PRETRAINING else StudyConfig, path)
    if isinstance(config, StudyConfig):
        assert config.classifier.weights in ("none", "pretrained", PHANTOMS, LITE0_PACKAGE)


@pytest.mark.parametrize(("page", "n", "block"), SHOWN, ids=[f"{page}-{n}" for page, n, _ in SHOWN])
def test_a_config_that_a_page_shows_can_be_read(page, n, block):
    config = parse(StudyConfig, yaml.safe_load(block), page)
    assert config.name != "study" or page == "docs/running.md", "each has a folder of its own"


def test_the_pages_show_their_configs():
    pages = [page for page, _, _ in SHOWN]
    assert pages.count("docs/datasets.md") == 8
    assert pages.count("docs/running.md") == 5
