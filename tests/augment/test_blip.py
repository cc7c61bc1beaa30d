"""Captions by a BLIP of a few thousand random weights whose decoder is made to say one word."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from augment.blip import blip_captions, blip_identity
from data.errors import BaseError

# The start of a caption has a number beyond the tokenizer's, as in the published weights.
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mole", "(", "skin"]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(VOCABULARY) + 1, "encoder_hidden_size": 16, "max_position_embeddings": 40, **sizes}
    ids = {"bos_token_id": len(VOCABULARY), "pad_token_id": 0, "sep_token_id": 3, "eos_token_id": 3}
    torch.manual_seed(0)
    model = transformers.BlipForConditionalGeneration(
        transformers.BlipConfig(
            text_config=text | ids, vision_config={"image_size": 32, "patch_size": 16, **sizes}, projection_dim=16
        )
    )
    with torch.no_grad():
        model.text_decoder.cls.predictions.bias[VOCABULARY.index("mole")] += 100
    folder = tmp_path_factory.mktemp("blip")
    model.save_pretrained(folder)
    images = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    words = transformers.BertTokenizer(vocab={word: index for index, word in enumerate(VOCABULARY)})
    transformers.BlipProcessor(images, words).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(9)]
    for path in paths:
        Image.fromarray(numbers.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
    return paths


def test_each_image_has_the_words_that_the_network_says(blip, images):
    captions = blip_captions(images, str(blip))
    assert len(captions) == 9
    assert {word for caption in captions for word in caption.split()} == {"mole"}
    assert blip_captions(images, str(blip)) == captions
    assert len(blip_identity(str(blip))) == 64


def test_without_weights_there_are_no_captions_and_one_line_says_so(images, tmp_path, caplog):
    for source in (str(tmp_path), "nobody/no-such-blip"):
        assert blip_identity(source) is None
        caplog.clear()
        assert blip_captions(images, source) == [""] * 9
        (record,) = caplog.records
        assert f"no safetensors weights of {source} are on this machine" in record.getMessage()
        assert "\n" not in record.getMessage()
    assert blip_captions([], "nobody/no-such-blip") == []


def test_a_folder_that_is_no_blip_is_refused(images, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(BaseError, match=r"cannot be loaded as BLIP \(.*\); copy or fetch it anew"):
        blip_captions(images, str(tmp_path))
