import copy

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from augment.base.param_count import base_parts
from augment.diffusion.conditioning import encode_prompt, encode_prompts
from augment.methods.module_trainable import trained_parameters
from augment.methods.textual_inversion import FILE, WORD, TextualInversionConfig
from data.errors import BaseError

CONFIG = TextualInversionConfig(vectors=2)


@pytest.fixture
def trainable(pipe):
    return CONFIG.trainable(pipe, pipe.device)


@pytest.fixture
def adapter(trainable, tmp_path):
    parameters = trainable.parameters(0, "melanoma")
    for parameter in parameters.values():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    trainable.bind([parameters])
    assert trainable.save(parameters, tmp_path / "adapter") == tmp_path / "adapter" / FILE
    return CONFIG.adapter(tmp_path / "adapter")


def test_only_the_word_is_trained_and_the_base_is_left_alone(base, pipe):
    before = copy.deepcopy(pipe.text_encoder.state_dict())
    size = len(pipe.tokenizer)
    trainable = CONFIG.trainable(pipe, pipe.device)
    parameters = trainable.parameters(0, "melanoma")
    trainable.bind([parameters])
    assert trained_parameters(trainable.pipe).keys() == parameters.keys()
    assert sum(each.numel() for each in parameters.values()) == CONFIG.trained_params(base_parts(base, 32)) == 2 * 32
    encode_prompts(trainable.pipe, [f"dermoscopy of a {WORD}"]).sum().backward()
    optimizer = torch.optim.AdamW(parameters.values(), 0.1)
    others = {name: value.clone() for name, value in trainable.pipe.text_encoder.state_dict().items()}
    optimizer.step()
    changed = [
        name for name, value in trainable.pipe.text_encoder.state_dict().items() if (value != others[name]).any()
    ]
    assert [f"text_encoder.{name}" for name in changed] == list(parameters)
    assert before.keys() == pipe.text_encoder.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in pipe.text_encoder.state_dict().items())
    assert len(pipe.tokenizer) == size


@pytest.mark.parametrize(
    ("vectors", "init_word", "class_name", "tokens"),
    [
        (3, None, "basal cell carcinoma", "basal cell carcinoma"),
        (4, None, "vascular lesion", "vascular vascular lesion lesion"),
        (2, "lesion", "melanoma", "lesion lesion"),
        (1, None, "", "lesion"),
    ],
)
def test_the_word_starts_as_the_class_s_own_words_or_those_that_are_named(pipe, vectors, init_word, class_name, tokens):
    config = TextualInversionConfig(vectors=vectors, init_word=init_word)
    trainable = config.trainable(pipe, pipe.device)
    trainable.bind([trainable.parameters(0, class_name)])
    found, expected = (f"dermoscopy of a {words}" for words in (WORD, tokens))
    assert torch.equal(encode_prompt(trainable.pipe, found), encode_prompt(pipe, expected))


def test_what_was_saved_comes_back_to_the_bit(pipe, trainable, adapter, with_adapter):
    prompt = f"dermoscopy of a {WORD}"
    assert torch.equal(encode_prompt(with_adapter(pipe, adapter), prompt), encode_prompt(trainable.pipe, prompt))
    assert list(load_file(adapter.folder / FILE)) == [WORD]


def test_a_plain_pipeline_loads_the_file(pipe, trainable, adapter):
    plain = copy.deepcopy(pipe)
    plain.load_textual_inversion(str(adapter.folder))
    prompt = f"dermoscopy of a {WORD}"
    assert torch.equal(encode_prompt(plain, prompt), encode_prompt(trainable.pipe, prompt))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({WORD: torch.zeros(2, 7)}, r"has the shape \(2, 7\), this base needs \(2, 32\)"),
        ({WORD: torch.zeros(3, 32)}, "has the shape"),
        ({WORD: torch.zeros(1, 2, 32)}, "has the shape"),
        ({WORD: torch.full((2, 32), torch.nan)}, "not finite"),
        ({"another": torch.zeros(2, 32)}, "1 of 1 tensors missing and 1 too many"),
    ],
)
def test_weights_that_do_not_fit_are_refused(pipe, adapter, with_adapter, tensors, message):
    save_file(tensors, adapter.folder / FILE)
    with pytest.raises(BaseError, match=message):
        with_adapter(pipe, adapter)


def test_prompts_are_encoded_at_every_step():
    with pytest.raises(ValidationError, match="text_encoder"):
        TextualInversionConfig(text_encoder=False)
    assert CONFIG.text_encoder
