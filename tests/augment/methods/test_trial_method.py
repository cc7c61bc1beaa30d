"""A new method is its own file and a row of METHODS: here bias tuning, BitFit (Ben Zaken et al. 2022)."""

from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file

from augment.base.identity import base_identity
from augment.context import Context
from augment.device import copied
from augment.finetune.config import finetune_union, result_settings
from augment.finetune.run import finetune
from augment.generate.config import GenerateConfig
from augment.generate.pipeline import AdapterPipeline
from augment.generate.run import ImageRequest, generate
from augment.methods.contract import Adapter, FinetuneSettings, LearningRate
from augment.methods.module_trainable import ModuleTrainable
from augment.methods.record import AdapterRecord
from augment.methods.table import METHODS, read_adapter
from augment.methods.weights import read_weights
from augment.prompts import PromptConfig
from data.config import STRICT, parse
from data.errors import ConfigError
from data.pixels import PixelConfig

FILE = "biases.safetensors"


# The method, 30 lines ---------------------------------------------------------
@dataclass(frozen=True, kw_only=True, config=STRICT)
class BitFitConfig(FinetuneSettings):
    display_name: ClassVar[str] = "BitFit"
    method: Literal["bitfit"] = "bitfit"
    learning_rate: LearningRate = 1e-3

    def trainable(self, pipe, device):
        unet = copied(pipe.unet, device, torch.float32)
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(name.endswith(".bias"))
        return BitFit(pipe, {"unet": unet})

    def adapter(self, folder):
        return BitFitAdapter(folder)

    def trained_params(self, parts):
        return sum(p.numel() for name, p in parts.unet.named_parameters() if name.endswith(".bias"))


class BitFit(ModuleTrainable):
    def save(self, parameters, folder):
        save_file({name: parameter.detach().cpu() for name, parameter in parameters.items()}, folder / FILE)
        return folder / FILE


@plain_dataclass(frozen=True)
class BitFitAdapter(Adapter):
    folder: Path

    def target_weights(self, pipe):
        return [f"unet.{name}" for name, _ in pipe.unet.named_parameters() if name.endswith(".bias")]

    def merge(self, weights):
        return read_weights(self.folder / FILE, {name: tuple(weight.shape) for name, weight in weights.items()})


# ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Study:
    finetune: finetune_union({**METHODS, "bitfit": BitFitConfig}) = METHODS["lora"]()


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(METHODS, "bitfit", BitFitConfig)
    settings = {"method": "bitfit", "steps": 3, "batch_size": 2, "learning_rate": 0.01, "preview_every": 0}
    return parse(Study, {"finetune": settings}, "study.yaml").finetune


def test_a_new_method_is_trained_saved_merged_and_generates(base, shots, tmp_path, config):
    assert isinstance(config, BitFitConfig)
    folders = {label: tmp_path / label for label in shots}
    context = Context(pixels=PixelConfig(size=32), prompts=PromptConfig(), seed=0)
    finished = dict(finetune(base=base, shots=shots, config=config, out=folders, context=context))
    assert list(finished) == ["df", "vasc"]
    record = AdapterRecord.read(folders["df"])
    assert (record.method, record.config["learning_rate"], record.weights) == ("bitfit", 0.01, FILE)

    pipeline, generating = AdapterPipeline(base), GenerateConfig(steps=2, batch_size=2, precision="float32")
    identity = base_identity(base)
    made = {}
    for label, folder in {**folders, "none": None}.items():
        pipe = pipeline.load_adapter(folder, generating)
        if folder is not None:
            saved = load_file(folder / FILE)
            assert sorted(read_adapter(folder, identity).target_weights(pipe)) == sorted(saved)
            state = {f"unet.{name}": value.cpu() for name, value in pipe.unet.state_dict().items()}
            assert all(torch.equal(state[name], value) for name, value in saved.items())
        request = ImageRequest(label="df", prompt=record.prompt, count=2, seed=0, size=32, adapter=folder)
        drawn = generate(pipeline=pipeline, request=request, config=generating, out=tmp_path / f"images-{label}")
        made[label] = [path.read_bytes() for path in drawn.paths()]
    assert made["df"] != made["vasc"] != made["none"] != made["df"]


def test_its_settings_are_a_member_of_the_yaml_s_union(config):
    assert result_settings(config)["method"] == "bitfit"
    assert "cpu_offload" not in result_settings(config)
    assert parse(Study, {}, "study.yaml").finetune == METHODS["lora"]()
    with pytest.raises(ConfigError, match=r"finetune\.rank: unknown key"):
        parse(Study, {"finetune": {"method": "bitfit", "rank": 2}}, "study.yaml")
    with pytest.raises(ConfigError, match=r"finetune\.method: must be one of 'lora', .*, 'bitfit', got 'x'"):
        parse(Study, {"finetune": {"method": "x"}}, "study.yaml")
