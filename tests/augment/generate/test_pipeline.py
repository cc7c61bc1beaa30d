import dataclasses

import numpy as np
import pytest
import torch

from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.generate import pipeline as module
from augment.generate.batches import generate_pixels
from augment.generate.config import GenerateConfig
from augment.generate.few_step import FewStepConfig
from augment.generate.pipeline import AdapterPipeline
from augment.methods.controlnet import ControlNetConfig
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.lora import LoraConfig
from augment.methods.table import read_adapter
from augment.methods.textual_inversion import TextualInversionConfig
from data.errors import BaseError

CONFIG = GenerateConfig(steps=3, batch_size=2)
PROMPTS = ["dermoscopy of a melanoma"] * 3
METHODS = {
    "lora": LoraConfig(rank=2),
    "attention": LoraConfig(rank=2, conv_layers=False),
    "text": LoraConfig(rank=2, text_encoder=True),
    "dreambooth": DreamBoothConfig(),
    "inversion": TextualInversionConfig(vectors=2),
    "other inversion": TextualInversionConfig(vectors=2),
    "long inversion": TextualInversionConfig(vectors=3),
    "hypernetwork": HypernetworkConfig(),
    "other hypernetwork": HypernetworkConfig(),
    "controlnet": ControlNetConfig(),
    "other controlnet": ControlNetConfig(condition="canny"),
}


@pytest.fixture(scope="module")
def adapters(base, write_adapter_record, tmp_path_factory):
    """Adapters that change the base much, by all methods."""
    folder = tmp_path_factory.mktemp("adapters")
    for number, (name, config) in enumerate(METHODS.items()):
        pipe = load_base(base)
        for part in (pipe.unet, pipe.text_encoder, pipe.vae):
            part.requires_grad_(requires_grad=False)
        trainable = config.trainable(pipe, torch.device("cpu"))
        parameters = trainable.parameters(0)
        generator = torch.Generator().manual_seed(number)
        for parameter in parameters.values():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        trainable.save(parameters, folder / name)
        write_adapter_record(folder / name, config, base_identity(base))
    return folder


@pytest.fixture
def alone(base, adapters, with_adapter):
    """The base's weights with one adapter merged, which no pipeline has held before."""

    def merged(name):
        pipe = load_base(base)
        if name is None:
            return weights(pipe)
        return weights(with_adapter(pipe, read_adapter(adapters / name, base_identity(base))))

    return merged


def weights(pipe):
    return {name: tensor.float().cpu() for name, tensor in module._weights(pipe).items()}


def same(one, other, tolerance=0.0):
    return all(torch.allclose(one[name], other[name], rtol=tolerance, atol=tolerance) for name in other)


@pytest.mark.parametrize(
    "order",
    [
        ["lora", "attention", None],
        ["dreambooth", "lora"],
        ["attention", "text", "dreambooth"],
        ["inversion", "other inversion", "inversion"],
        ["hypernetwork", "other hypernetwork", "hypernetwork"],
        ["controlnet", "other controlnet", None, "controlnet"],
        ["inversion", "dreambooth", "long inversion", "controlnet", "hypernetwork", "lora"],
    ],
)
def test_each_adapter_in_turn_gives_the_weights_that_it_gives_alone(base, adapters, alone, order):
    pipeline = AdapterPipeline(base)
    for name in order:
        assert same(weights(pipeline.load_adapter(name and adapters / name, CONFIG)), alone(name)), name


def test_from_adapter_to_adapter_nothing_is_loaded_and_no_memory_moves(base, adapters, monkeypatch):
    pipeline = AdapterPipeline(base)
    pipe = pipeline.load_adapter(adapters / "lora", CONFIG)
    addresses = {name: tensor.data_ptr() for name, tensor in module._weights(pipe).items()}
    monkeypatch.setattr(module, "load_base", None)
    for name in ("attention", None, "lora"):
        assert pipeline.load_adapter(name and adapters / name, CONFIG) is pipe
        assert {name: tensor.data_ptr() for name, tensor in module._weights(pipe).items()} == addresses


@pytest.mark.parametrize("method", ["inversion", "hypernetwork"])
def test_what_is_installed_is_swapped_in_place_and_empty_it_is_the_base(base, adapters, monkeypatch, method):
    def images(pipe, prompt):
        return np.concatenate(list(generate_pixels(pipe, [prompt] * 2, [1, 2], CONFIG, 32)))

    word = "dermoscopy of a <class>" if method == "inversion" else PROMPTS[0]
    fresh = {
        name: images(AdapterPipeline(base).load_adapter(adapters / name, CONFIG), word)
        for name in (method, f"other {method}")
    }
    plain = images(AdapterPipeline(base).load_adapter(None, CONFIG), PROMPTS[0])
    lora = images(AdapterPipeline(base).load_adapter(adapters / "lora", CONFIG), PROMPTS[0])
    pipeline = AdapterPipeline(base)
    pipe = pipeline.load_adapter(adapters / method, CONFIG)
    with monkeypatch.context() as loads:
        loads.setattr(module, "load_base", None)
        for name in (method, f"other {method}", method):
            assert pipeline.load_adapter(adapters / name, CONFIG) is pipe
            assert np.array_equal(images(pipe, word), fresh[name]), name
        assert np.array_equal(images(pipeline.load_adapter(None, CONFIG), PROMPTS[0]), plain)
    assert not np.array_equal(fresh[method], fresh[f"other {method}"])
    assert np.array_equal(images(pipeline.load_adapter(adapters / "lora", CONFIG), PROMPTS[0]), lora)


def test_only_weights_that_an_adapter_changes_are_kept(base, adapters):
    pipeline = AdapterPipeline(base)
    pipeline.load_adapter(None, CONFIG)
    assert not pipeline._base_weights
    pipeline.load_adapter(adapters / "attention", CONFIG)
    few = set(pipeline._base_weights)
    pipeline.load_adapter(adapters / "lora", CONFIG)
    assert few < set(pipeline._base_weights)


def test_weights_are_merged_in_float32_and_then_cast(base, adapters, alone, monkeypatch):
    monkeypatch.setattr(module.devices, "dtype_for", lambda *_given: torch.float16)
    pipeline = AdapterPipeline(base)
    for name in (
        "lora",
        "attention",
        "dreambooth",
        "lora",
        "inversion",
        "other inversion",
        "hypernetwork",
    ):  # from the base's own weights, not from those cast
        found = weights(pipeline.load_adapter(adapters / name, CONFIG))
        assert same(found, {key: value.half().float() for key, value in alone(name).items()}), name


def test_another_precision_is_another_pipeline(base):
    pipeline = AdapterPipeline(base)
    first = pipeline.load_adapter(None, CONFIG)
    assert pipeline.load_adapter(None, dataclasses.replace(CONFIG, precision="float32")) is not first


def test_an_unloaded_pipeline_loads_again(base, adapters):
    pipeline = AdapterPipeline(base)
    first = pipeline.load_adapter(adapters / "lora", CONFIG)
    pipeline.unload()
    again = pipeline.load_adapter(adapters / "lora", CONFIG)
    assert again is not first
    assert same(weights(again), weights(first))


def test_weights_that_do_not_fit_are_refused(base, adapters, write_adapter_record, tmp_path):
    write_adapter_record(tmp_path, LoraConfig(), {"source": "tiny", "sha256": "0" * 64})
    with pytest.raises(BaseError, match="made for the base tiny"):
        AdapterPipeline(base).load_adapter(tmp_path, CONFIG)
    write_adapter_record(tmp_path, LoraConfig(rank=2), base_identity(base))
    file = "pytorch_lora_weights.safetensors"
    (tmp_path / file).write_bytes((adapters / "attention" / file).read_bytes())
    with pytest.raises(BaseError, match="tensors missing"):
        AdapterPipeline(base).load_adapter(tmp_path, CONFIG)


def test_compiling_is_for_a_device_where_it_pays_or_on_request(monkeypatch):
    cpu = torch.device("cpu")
    assert not module._compiles(CONFIG, cpu, 10**6)
    assert module._compiles(dataclasses.replace(CONFIG, compile=True), cpu, 1)
    monkeypatch.setattr(module.devices, "compiles", lambda _device: True)
    assert module._compiles(CONFIG, cpu, 1000)
    assert not module._compiles(CONFIG, cpu, 999)
    assert not module._compiles(dataclasses.replace(CONFIG, compile=False), cpu, 10**6)


@pytest.mark.slow
def test_a_compiled_unet_makes_the_same_images_and_is_compiled_once_for_all_adapters(
    base, adapters, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # of what other tests compiled
    config = dataclasses.replace(CONFIG, compile=True, guidance_end=0.5)  # guided and unguided steps alike
    ways = [(AdapterPipeline(base), config), (AdapterPipeline(base), dataclasses.replace(config, compile=False))]
    for name in ("lora", "attention"):
        compiled, plain = (
            np.concatenate(
                list(generate_pixels(pipeline.load_adapter(adapters / name, how), PROMPTS, [1, 2, 3], how, 32))
            ).astype(int)
            for pipeline, how in ways
        )
        assert np.abs(compiled - plain).max() <= 1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_few_step_lora_stays_merged_under_every_adapter(base, adapters, alone, monkeypatch):
    """Both are sums: the order does not matter."""
    few_step = FewStepConfig(lora="lcm.safetensors")

    def shifted(pipe, _few_step):
        for parameter in pipe.unet.parameters():
            parameter.data += 0.01
        return pipe

    monkeypatch.setattr(module, "with_few_step_lora", shifted)
    config = GenerateConfig(preset="few-step", few_step=few_step)
    pipeline = AdapterPipeline(base)
    for name in ("lora", "attention"):
        found = weights(pipeline.load_adapter(adapters / name, config))
        expected = {key: value + 0.01 if key.startswith("unet.") else value for key, value in alone(name).items()}
        assert same(found, expected, 1e-6)
