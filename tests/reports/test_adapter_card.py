"""The card of an exported adapter: what it is and what it has seen, in counts."""

import dataclasses
from pathlib import Path

import pytest

from augment.export.adapters import Exported
from augment.methods.record import AdapterRecord, Stopped
from reports.adapter_card import _USAGE, adapter_card
from reports.run_folder import RunFolder


@pytest.fixture
def run(make_run):
    return RunFolder.open(make_run())


def card(run, label="df", kind="lora", program="webui"):
    adapter = AdapterRecord.read(run.artifact("finetune", label))
    adapter = dataclasses.replace(adapter, config={"rank": 16, "learning_rate": 1e-4})
    return adapter_card(run, adapter, Exported(kind=kind, files=(Path("out/demo-df.safetensors"),)), program)


def test_the_card_says_what_the_adapter_is_and_how_it_is_used(run):
    text = card(run)
    assert text.startswith("# demo: LoRA of df\n")
    for words in ("for webui", "`demo-df.safetensors`: a LoRA", "Base: tiny", "rank 16, alpha 16", "200 steps",
                  "8 images of df", "Prompt: `dermoscopy of df`", "models/Lora", "`lora:demo-df:1`",
                  "Licence: Apache-2.0, as this program, which drew them"):  # fmt: skip
        assert words in text, words
    assert "None" not in text


def test_the_card_counts_what_was_seen_and_says_where_that_is_not_known(run):
    assert "| this adapter and its base | 8 + ? | ? | ? |" in card(run)
    assert "| this adapter and its base | ? | ? | ? |" in card(run, label="vasc")  # without a row of its own
    assert "It may have seen images of any part" in card(run)
    assert "train-df-0" not in card(run)  # ids


@pytest.mark.parametrize(("kind", "program"), list(_USAGE))
def test_each_form_has_its_use(run, kind, program):
    text = card(run, kind=kind, program=program)
    assert "{" not in text
    assert "## How to use it\n\n" in text


def test_the_card_of_a_stopped_adapter_says_so(run):
    folder = run.artifact("finetune", "df")
    dataclasses.replace(AdapterRecord.read(folder), stopped=Stopped(step=200, of=400)).write(folder)
    assert "- Training: 200 steps (stopped by request at step 200 of 400), learning rate" in card(run)
    assert "stopped" not in card(run, label="vasc")
