"""A summary on disk."""

from __future__ import annotations

import json

import pytest

from data.errors import InputError
from reports.schema import Summary


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "demo"}'])
def test_what_is_no_summary_is_refused(tmp_path, text):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=r"summary\.json: is no summary of a run"):
        Summary.read(tmp_path / "summary.json")


def test_a_missing_summary_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Summary.read(tmp_path / "summary.json")


def test_an_unknown_verdict_is_refused(make_run, tmp_path):
    from reports.summary import summarise

    summarise(make_run()).write(tmp_path / "summary.json")
    plain = json.loads((tmp_path / "summary.json").read_text())
    plain["differences"][0]["verdict"] = "marvellous"
    (tmp_path / "summary.json").write_text(json.dumps(plain))
    with pytest.raises(InputError):
        Summary.read(tmp_path / "summary.json")
