import dataclasses

import numpy as np
import pytest
import torch

from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.generate import pipeline as module
from augment.generate.batches import draw
from augment.generate.config import GenerateConfig
from augment.generate.few_step import DraftConfig
from augment.generate.pipeline import Wardrobe
from augment.methods import RECORD, apply_adapter, method_for, trained
from data.errors import BaseError
from data.store import write_json

CONFIG = GenerateConfig(steps=3, batch_size=2)
PROMPT = "dermoscopy of a melanoma"
MADE = {
    "lora": {"method": "lora", "rank": 2, "conv": True, "text_encoder": False},
    "attention": {"method": "lora", "rank": 2, "conv": False, "text_encoder": False},
    "text": {"method": "lora", "rank": 2, "conv": True, "text_encoder": True},
    "dreambooth": {"method": "dreambooth", "rank": 2, "conv": True, "text_encoder": False},
}


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Updates that are far from nothing, by all methods."""
    folder = tmp_path_factory.mktemp("adapters")
    for number, (name, options) in enumerate(MADE.items()):
        method = method_for(**options)
        opened = method.open(load_base(base), 0)
        generator = torch.Generator().manual_seed(number)
        for parameter in trained(opened).values():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        method.save(opened, folder / name)
        config = {key: value for key, value in options.items() if key != "method"}
        record = {"method": options["method"], "config": config, "base": base_identity(base)}
        write_json(folder / name / RECORD, record)
    return folder


def weights(pipe):
    return {name: tensor.float() for name, tensor in module._weights(pipe).items()}


def same(one, other, tolerance=0.0):
    return all(torch.allclose(one[name], other[name], rtol=tolerance, atol=tolerance) for name in other)


@pytest.mark.parametrize(
    "order", [["lora", "attention", None], ["dreambooth", "lora"], ["attention", "text", "dreambooth"]]
)
def test_each_class_in_turn_has_the_weights_that_it_has_alone(base, adapters, order):
    shared = Wardrobe(base)
    for name in order:
        worn = shared.wear(name and adapters / name, CONFIG)
        alone = load_base(base)
        if name:
            alone = apply_adapter(alone, adapters / name, base_identity(base))
        assert same(weights(worn), weights(alone)), name


def test_from_class_to_class_nothing_is_loaded_and_no_memory_moves(base, adapters, monkeypatch):
    shared = Wardrobe(base)
    pipe = shared.wear(adapters / "lora", CONFIG)
    places = {name: tensor.data_ptr() for name, tensor in module._weights(pipe).items()}
    monkeypatch.setattr(module, "load_base", None)
    for name in ("attention", None, "lora"):
        assert shared.wear(name and adapters / name, CONFIG) is pipe
        assert {name: tensor.data_ptr() for name, tensor in module._weights(pipe).items()} == places


def test_only_what_a_class_changes_is_kept(base, adapters):
    shared = Wardrobe(base)
    shared.wear(None, CONFIG)
    assert not shared._plain
    shared.wear(adapters / "attention", CONFIG)
    few = set(shared._plain)
    assert few
    assert all(any(part in name for part in ("to_", "ff.net")) for name in few)
    shared.wear(adapters / "lora", CONFIG)
    assert few < set(shared._plain)


def test_weights_are_merged_in_float32_and_then_cast(base, adapters, monkeypatch):
    monkeypatch.setattr(module.device, "dtype_for", lambda *_given: torch.float16)
    shared = Wardrobe(base)
    for name in ("lora", "attention", "dreambooth", "lora"):  # read anew, not taken from what was cast
        worn = weights(shared.wear(adapters / name, CONFIG))
        alone = weights(apply_adapter(load_base(base), adapters / name, base_identity(base)))
        assert same(worn, {key: value.half().float() for key, value in alone.items()}), name


def test_another_precision_is_another_pipeline(base):
    shared = Wardrobe(base)
    first = shared.wear(None, CONFIG)
    assert shared.wear(None, dataclasses.replace(CONFIG, precision="float32")) is not first


def test_an_emptied_wardrobe_loads_again(base, adapters):
    shared = Wardrobe(base)
    first = shared.wear(adapters / "lora", CONFIG)
    shared.empty()
    again = shared.wear(adapters / "lora", CONFIG)
    assert again is not first
    assert same(weights(again), weights(first))


def test_weights_that_do_not_fit_are_refused(base, adapters, tmp_path):
    write_json(tmp_path / RECORD, {"method": "lora", "config": {}, "base": {"source": "tiny", "sha256": "0" * 64}})
    with pytest.raises(BaseError, match="made for the base tiny"):
        Wardrobe(base).wear(tmp_path, CONFIG)
    record = {"method": "lora", "config": {"rank": 2, "conv": True, "text_encoder": False}}
    write_json(tmp_path / RECORD, {**record, "base": base_identity(base)})
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(
        (adapters / "attention" / "pytorch_lora_weights.safetensors").read_bytes()
    )
    with pytest.raises(BaseError, match="tensors missing"):
        Wardrobe(base).wear(tmp_path, CONFIG)


def test_compiling_is_for_a_device_where_it_pays_or_for_who_asks(monkeypatch):
    cpu = torch.device("cpu")
    assert not module._compiles(CONFIG, cpu, 10**6)
    assert module._compiles(dataclasses.replace(CONFIG, compile=True), cpu, 1)
    monkeypatch.setattr(module.device, "compiles", lambda _where: True)
    assert module._compiles(CONFIG, cpu, 1000)
    assert not module._compiles(CONFIG, cpu, 999)
    assert not module._compiles(dataclasses.replace(CONFIG, compile=False), cpu, 10**6)


@pytest.mark.slow
def test_a_compiled_denoiser_draws_the_same_and_is_compiled_once_for_all_classes(base, adapters, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # of what other tests compiled
    compiled, plain = Wardrobe(base), Wardrobe(base)
    config = dataclasses.replace(CONFIG, compile=True, guidance_until=0.5)  # guided and unguided steps alike
    for name in ("lora", "attention"):
        drawn = [
            np.concatenate(list(draw(shared.wear(adapters / name, how), PROMPT, [1, 2, 3], how, 32))).astype(int)
            for shared, how in ((compiled, config), (plain, dataclasses.replace(config, compile=False)))
        ]
        assert np.abs(drawn[0] - drawn[1]).max() <= 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_drafts_update_stays_under_every_class(base, adapters, monkeypatch):
    """Both are sums: the order does not matter."""
    draft = DraftConfig(lora="lcm.safetensors")

    def shifted(pipe, _draft):
        for parameter in pipe.unet.parameters():
            parameter.data += 0.01
        return pipe

    monkeypatch.setattr(module, "with_update", shifted)
    config = GenerateConfig(schedule="draft", draft=draft)
    alone = weights(apply_adapter(load_base(base), adapters / "attention", base_identity(base)))
    for name in ("lora", "attention"):
        worn = weights(Wardrobe(base).wear(adapters / name, config))
    assert same(worn, {key: value + 0.01 if key.startswith("unet.") else value for key, value in alone.items()}, 1e-6)
