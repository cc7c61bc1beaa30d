import copy

import pytest
import torch
from safetensors.torch import save_file

from augment.methods.weights import read_weights, with_parts
from data.errors import BaseError

SHAPES = {"a": (2, 3), "b": (4,)}


@pytest.fixture
def written(tmp_path):
    def write(**tensors):
        whole = {name: torch.ones(shape) for name, shape in SHAPES.items()} | tensors
        save_file({name: tensor for name, tensor in whole.items() if tensor is not None}, tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"

    return write


def test_weights_that_fit_come_back_in_single_precision(written):
    half = torch.tensor([0.1, -2.0, 3.0, 4.0], dtype=torch.float16)
    read = read_weights(written(b=half), SHAPES)
    assert {name: tuple(tensor.shape) for name, tensor in read.items()} == SHAPES
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    assert torch.equal(read["b"], half.float())


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"a": None}, "1 of 2 tensors missing and 0 too many for this base (a is missing)"),
        ({"c": torch.ones(1)}, "0 of 2 tensors missing and 1 too many for this base (c is unknown to it)"),
        ({"a": None, "c": torch.ones(1)}, "1 of 2 tensors missing and 1 too many for this base (a is missing)"),
        ({"a": torch.ones(3, 2)}, "a has the shape (3, 2), this base needs (2, 3); made for another model"),
        ({"b": torch.tensor([1, 2, torch.nan, 4])}, "b holds numbers that are not finite; fine-tune again"),
        ({"b": torch.tensor([1, 2, 3, -torch.inf])}, "b holds numbers that are not finite; fine-tune again"),
    ],
)
def test_weights_that_would_load_without_a_word_are_refused(written, tensors, says):
    path = written(**tensors)
    with pytest.raises(BaseError) as fault:
        read_weights(path, SHAPES)
    assert str(fault.value).startswith(f"{path}: ")
    assert says in str(fault.value)


@pytest.mark.parametrize("content", [None, b"", b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_a_file_that_is_missing_or_broken_is_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(BaseError, match="cannot be read as safetensors") as fault:
        read_weights(tmp_path / "w.safetensors", SHAPES)
    assert "\n" not in str(fault.value)


def test_a_pipeline_with_other_parts_shares_the_rest_and_leaves_the_first_as_it_was(pipe):
    unet = copy.deepcopy(pipe.unet)
    other = with_parts(pipe, unet=unet)
    assert other.unet is unet
    assert pipe.unet is not unet
    for name in ("vae", "text_encoder", "tokenizer"):
        assert getattr(other, name) is getattr(pipe, name)
