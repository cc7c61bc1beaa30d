import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from augment.methods.lora_files import FILE, read_lora, write_lora
from augment.methods.lora_layers import lora_shapes
from data.errors import BaseError

LAYERS = {"unet.mid.conv1": (6, 4, 3, 3), "unet.mid.to_q": (6, 4), "text_encoder.q_proj": (5, 5)}


@pytest.fixture
def factors():
    return {name: torch.randn(shape) for name, shape in lora_shapes(LAYERS, 2).items()}


def test_what_was_written_is_read_again(factors, tmp_path):
    assert write_lora(factors, tmp_path) == tmp_path / FILE
    read = read_lora(tmp_path, LAYERS, 2)
    assert read.keys() == factors.keys()
    assert all(torch.equal(read[name], value) for name, value in factors.items())
    assert load_file(tmp_path / FILE).keys() == factors.keys()


def test_the_same_factors_are_the_same_bytes(factors, tmp_path):
    first, again = (write_lora(factors, tmp_path / name).read_bytes() for name in "ab")
    assert first == again
    (length,) = struct.unpack("<Q", first[:8])
    assert len(json.loads(first[8 : 8 + length])["__metadata__"]) <= 1


def test_factors_of_other_layers_or_another_rank_are_refused(factors, tmp_path):
    write_lora(factors, tmp_path)
    with pytest.raises(BaseError, match="too many for this base"):
        read_lora(tmp_path, {name: LAYERS[name] for name in LAYERS if name != "unet.mid.to_q"}, 2)
    with pytest.raises(BaseError, match="has the shape"):
        read_lora(tmp_path, LAYERS, 3)
