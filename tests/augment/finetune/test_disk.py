"""The estimate of what fine-tuning writes, by hand and against what it wrote."""

import copy
import dataclasses

import pytest
from safetensors.torch import load_file

from augment.context import Context
from augment.diffusion.sample import SamplerConfig
from augment.finetune.disk import adapter_bytes, checkpoint_bytes, checkpoint_saves
from augment.finetune.preview import preview_bytes
from augment.finetune.run import finetune
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from augment.methods.record import AdapterRecord
from augment.methods.textual_inversion import TextualInversionConfig
from augment.prompts import PromptConfig
from data.pixels import PixelConfig

MIB = 2**20
SETTINGS = {"steps": 5, "batch_size": 4, "checkpointing_steps": 1, "preview_every": 0}
LORA = LoraConfig(rank=2, **SETTINGS)
DREAM = DreamBoothConfig(num_class_images=0, **SETTINGS)
INVERSION = TextualInversionConfig(**SETTINGS)
HYPER = HypernetworkConfig(**SETTINGS)


class StopError(Exception):
    pass


def stop_at_three(done, _total, _note=""):
    if done == 3:
        raise StopError


@pytest.mark.parametrize("method", [LORA, DREAM, INVERSION, HYPER], ids=lambda method: method.method)
def test_what_is_written_takes_no_more_of_the_disk_than_estimated(pipe, base, shots, tmp_path, monkeypatch, method):
    monkeypatch.setattr("augment.finetune.session.load_base", lambda _base: copy.deepcopy(pipe))
    config = dataclasses.replace(method, preview_every=1, preview=SamplerConfig(steps=1, batch_size=2))
    context, few = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=0), {"df": shots["df"]}

    def train(progress=None):
        list(finetune(base=base, shots=few, config=config, out={"df": tmp_path}, context=context, progress=progress))

    with pytest.raises(StopError):
        train(stop_at_three)
    checkpoints = sum(path.stat().st_size for path in (tmp_path / "checkpoint").iterdir())
    train()
    params = sum(tensor.numel() for tensor in load_file(tmp_path / AdapterRecord.read(tmp_path).weights).values())
    assert checkpoints < checkpoint_bytes(params)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 0.5 * params * config.bytes_per_param < written < adapter_bytes(config, params, 32)


def test_an_adapter_keeps_its_weights_a_row_a_step_and_a_strip_a_preview():
    rows_and_record = 64 * 5 + MIB // 4
    assert adapter_bytes(LORA, 1000, 32) == 4000 + rows_and_record
    assert adapter_bytes(DREAM, 1000, 32) == 2000 + rows_and_record  # it is saved in 16 bits
    often = dataclasses.replace(LORA, preview_every=2)  # after the steps 2, 4 and 5
    assert adapter_bytes(often, 1000, 32) == 4000 + rows_and_record + 3 * preview_bytes(often.preview, 32)


def test_a_checkpoint_holds_the_parameters_and_two_moments_in_32_bits():
    assert checkpoint_bytes(1000) == 1000 * 4 * 3 + MIB
    assert checkpoint_bytes(1000, selects=True) == 1000 * 4 * 4 + MIB  # and those of the kept step


def test_the_last_step_saves_no_checkpoint():
    saves = [checkpoint_saves(dataclasses.replace(LORA, steps=4, checkpointing_steps=n)) for n in (1, 2, 4, 5)]
    assert saves == [3, 1, 0, 0]
