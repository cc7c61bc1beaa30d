"""An adapter of each method as files of each program, on the embedded base's smaller kin."""

import dataclasses

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from augment.base.config import BaseConfig
from augment.base.embedding_files import read_embedding
from augment.base.identity import base_identity
from augment.base.load import from_file, from_folder, load_base
from augment.export.adapters import export_adapter, kind_of
from augment.methods.dreambooth import DreamBoothConfig
from augment.methods.hypernetwork import HypernetworkConfig
from augment.methods.hypernetwork_files import read_hypernetwork
from augment.methods.lora import LoraConfig
from augment.methods.lora_files import FILE
from augment.methods.lycoris import LohaConfig, LokrConfig
from augment.methods.record import AdapterRecord
from augment.methods.textual_inversion import TextualInversionConfig
from data.errors import BaseError
from data.store import file_sha256


@pytest.fixture
def saved(base, tmp_path, write_adapter_record):
    """Saves an adapter of these settings that is far from nothing; gives its folder."""

    def save(config):
        pipe = load_base(base)
        for part in (pipe.unet, pipe.text_encoder):
            part.requires_grad_(requires_grad=False)
        trainable, folder = config.trainable(pipe, pipe.device), tmp_path / config.method
        parameters = trainable.parameters(0)
        for parameter in parameters.values():
            parameter.data += 0.01
        folder.mkdir()
        weights = trainable.save(parameters, folder)
        write_adapter_record(folder, config, base_identity(base))
        record = AdapterRecord.read(folder)
        named = {"weights": weights.relative_to(folder).as_posix(), "sha256": file_sha256(weights)}
        dataclasses.replace(record, **named).write(folder)
        return folder

    return save


def exported(folder, base, program, out, **options):
    return export_adapter(folder, base=base, program=program, out=out, name="demo-df", **options)


@pytest.mark.parametrize("program", ["webui", "kohya"])
def test_a_lora_is_one_file_with_alpha(base, saved, program, tmp_path):
    found = exported(saved(LoraConfig(rank=2)), base, program, tmp_path / "out")
    assert (found.kind, [file.name for file in found.files]) == ("lora", ["demo-df.safetensors"])
    tensors = load_file(found.files[0])
    assert tensors["lora_unet_mid_block_resnets_0_conv1.alpha"].item() == 2


def test_a_lora_for_diffusers_is_the_file_as_it_is(base, saved, tmp_path):
    folder = saved(LoraConfig(rank=2))
    found = exported(folder, base, "diffusers", tmp_path / "out")
    assert (found.files[0] / FILE).read_bytes() == (folder / FILE).read_bytes()
    pipe = load_base(base)
    pipe.load_lora_weights(found.files[0])
    assert pipe.get_active_adapters()


@pytest.mark.parametrize("config", [LohaConfig(rank=2), LokrConfig(rank=2)], ids=["loha", "lokr"])
def test_loha_and_lokr_keep_lycoris_names_for_the_webui_and_are_merged_for_diffusers(
    base, saved, config, tmp_path, with_adapter
):
    folder = saved(config)
    found = exported(folder, base, "webui", tmp_path / "webui")
    own = load_file(folder / "lycoris_weights.safetensors")
    assert all(torch.equal(tensor, own[name]) for name, tensor in load_file(found.files[0]).items())
    merged = from_folder(exported(folder, base, "diffusers", tmp_path / "diffusers").files[0]).unet.state_dict()
    expected = with_adapter(load_base(base), config.adapter(folder)).unet.state_dict()
    assert all(torch.equal(weight, expected[name].half().float()) for name, weight in merged.items())


def test_dreambooth_is_a_pipeline_for_diffusers(base, saved, tmp_path):
    folder = saved(DreamBoothConfig())
    found = exported(folder, base, "diffusers", tmp_path / "out")
    pipe = StableDiffusionPipeline.from_pretrained(found.files[0], safety_checker=None)
    trained = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(weight, trained[name].float()) for name, weight in pipe.unet.state_dict().items())
    assert load_base(BaseConfig(source=str(found.files[0]))).unet.config.in_channels == pipe.unet.config.in_channels


def test_dreambooth_is_one_file_for_the_webui_and_a_pickle_on_request(base, saved, tmp_path):
    folder = saved(DreamBoothConfig(text_encoder=True))
    found = exported(folder, base, "webui", tmp_path / "out", ckpt=True)
    assert [file.name for file in found.files] == ["demo-df.safetensors", "demo-df.ckpt"]
    trained = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    for file in found.files:
        pipe = from_file(file, base.source)
        assert all(torch.equal(weight, trained[name].float()) for name, weight in pipe.unet.state_dict().items())
        assert all(torch.equal(weight, text[name].float()) for name, weight in pipe.text_encoder.state_dict().items())
    again = exported(folder, base, "kohya", tmp_path / "again")
    assert again.files[0].read_bytes() == found.files[0].read_bytes()


def test_an_adapter_of_another_base_a_changed_one_and_an_unfinished_one_are_refused(base, saved, tmp_path):
    folder = saved(DreamBoothConfig())
    with pytest.raises(BaseError, match="was made for the base"):
        exported(folder, BaseConfig(), "webui", tmp_path / "out")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"other")
    with pytest.raises(BaseError, match="is not the file that the fine-tune wrote"):
        exported(folder, base, "webui", tmp_path / "out")
    with pytest.raises(BaseError, match="no finished adapter"):
        exported(tmp_path / "nowhere", base, "webui", tmp_path / "out")


def test_a_method_without_another_form_is_refused():
    with pytest.raises(BaseError, match=r"webui reads no adapters of the method words$"):
        kind_of("words", "webui")
    with pytest.raises(BaseError, match="kohya reads no adapters of the method hypernetwork; webui can"):
        kind_of("hypernetwork", "kohya")


@pytest.mark.parametrize(("program", "name"), [("webui", "demo-df.pt"), ("diffusers", "demo-df.safetensors")])
def test_a_learnt_word_is_one_file_that_is_read_back_to_the_bit(base, saved, program, name, tmp_path):
    folder = saved(TextualInversionConfig(vectors=2))
    (file,) = exported(folder, base, program, tmp_path / "out").files
    (vectors,) = load_file(folder / AdapterRecord.read(folder).weights).values()
    assert file.name == name
    assert torch.equal(read_embedding(file, vectors.shape[1]), vectors.float())


def test_a_hypernetwork_is_the_webuis_file(base, saved, tmp_path):
    folder = saved(HypernetworkConfig())
    (file,) = exported(folder, base, "webui", tmp_path / "out").files
    (shape, tensors), (ours, own) = (
        read_hypernetwork(file),
        read_hypernetwork(folder / AdapterRecord.read(folder).weights),
    )
    assert (file.name, shape) == ("demo-df.pt", ours)
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], own[name]) for name in own)
