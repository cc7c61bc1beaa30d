import pickle

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from augment.base.embedding_files import read_embedding, write_embedding, write_webui_embedding
from augment.base.words import install_word
from augment.diffusion.conditioning import encode_prompt
from data.errors import BaseError

VECTORS = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))


def test_either_form_comes_back_to_the_bit(tmp_path):
    for path in (
        write_embedding(VECTORS, "<class>", tmp_path / "one" / "class.safetensors"),
        write_webui_embedding(VECTORS, "class", tmp_path / "two" / "class.pt", step=7, checkpoint="tiny"),
    ):
        assert torch.equal(read_embedding(path, 32), VECTORS)
    values = torch.load(tmp_path / "two" / "class.pt", weights_only=True)
    assert {key: values[key] for key in ("string_to_token", "name", "step", "sd_checkpoint_name")} == {
        "string_to_token": {"*": 265}, "name": "class", "step": 7, "sd_checkpoint_name": "tiny"
    }  # fmt: skip
    assert list(load_file(tmp_path / "one" / "class.safetensors")) == ["<class>"]


def test_diffusers_loads_both_forms_and_encodes_as_we_do(base, tmp_path):
    ours = StableDiffusionPipeline.from_pretrained(base.source)
    install_word(ours, "<class>", 2)
    with torch.no_grad():
        ours.text_encoder.get_input_embeddings().words["word-<class>"].copy_(VECTORS)
    for path in (
        write_embedding(VECTORS, "<class>", tmp_path / "a.safetensors"),
        write_webui_embedding(VECTORS, "<class>", tmp_path / "a.pt"),
    ):
        plain = StableDiffusionPipeline.from_pretrained(base.source)
        plain.load_textual_inversion(str(tmp_path), weight_name=path.name)
        assert torch.equal(encode_prompt(ours, "a <class>"), encode_prompt(plain, "a <class>"))


def test_files_of_older_programs_are_read(tmp_path):
    torch.save({"string_to_param": nn.ParameterDict({"*": nn.Parameter(VECTORS)})}, tmp_path / "old.pt")
    save_file({"emb_params": VECTORS}, tmp_path / "new.safetensors")
    torch.save({"<one>": VECTORS[0]}, tmp_path / "learned_embeds.bin")
    assert torch.equal(read_embedding(tmp_path / "old.pt", 32), VECTORS)
    assert torch.equal(read_embedding(tmp_path / "new.safetensors", 32), VECTORS)
    assert torch.equal(read_embedding(tmp_path / "learned_embeds.bin", 32), VECTORS[:1])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.zeros(2, 7)}, "its vectors have 7 numbers, but the base's words have 32"),
        ({"a": torch.full((1, 32), torch.nan)}, "not finite"),
        ({"a": torch.zeros(1, 2, 32)}, r"a tensor of shape \(1, 2, 32\), not vectors"),
        ({"a": torch.zeros(0, 32)}, "not vectors"),
        ({"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(1, 64)}, "holds 2 entries"),
    ],
)
def test_what_is_no_word_of_this_base_is_refused(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        with pytest.raises(BaseError, match=message):
            read_embedding(tmp_path / name, 32)


class Harmful:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_broken_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x80\x02nothing")
    with pytest.raises(BaseError, match=r"cannot be read|no file of tensors alone"):
        read_embedding(path, 32)
    path.unlink()
    with pytest.raises(BaseError, match="cannot be read"):
        read_embedding(path, 32)


def test_a_file_that_would_run_code_is_not_run(tmp_path, capsys):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"string_to_param": Harmful()}))
    torch.save({"string_to_param": Harmful()}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(BaseError, match="could run code"):
            read_embedding(tmp_path / name, 32)
    assert capsys.readouterr().out == ""
