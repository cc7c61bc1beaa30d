import copy

import pytest
import torch

from augment.base.words import WordEmbedding, added_words, install_word, require_words, word_weight
from augment.diffusion.conditioning import encode_prompt, encode_prompts
from augment.diffusion.prompt_chunks import prompt_chunks
from augment.methods.weights import with_parts
from data.errors import BaseError, ConfigError

PROMPT = "dermoscopy of a skin lesion"


@pytest.fixture
def own(pipe):
    """A pipeline whose text encoder and tokenizer a test may change."""
    return with_parts(pipe, text_encoder=copy.deepcopy(pipe.text_encoder), tokenizer=copy.deepcopy(pipe.tokenizer))


def fill(pipe, word, value):
    pipe.text_encoder.get_input_embeddings().words[f"word-{word}"].copy_(value)


def test_a_word_changes_no_prompt_without_it(pipe, own):
    install_word(own, "<class>", 3)
    fill(own, "<class>", torch.randn(3, 32))
    assert torch.equal(encode_prompt(own, PROMPT), encode_prompt(pipe, PROMPT))
    assert added_words(pipe) == {}
    assert len(own.tokenizer) == len(pipe.tokenizer) + 3


def test_a_word_of_the_base_s_own_vectors_encodes_as_the_base_s_own_words(pipe, own):
    install_word(own, "<class>", 2)
    ids = pipe.tokenizer("skin lesion", add_special_tokens=False).input_ids
    fill(own, "<class>", pipe.text_encoder.get_input_embeddings().weight[ids])
    assert torch.equal(encode_prompt(own, "dermoscopy of a <class>"), encode_prompt(pipe, PROMPT))


def test_words_take_their_own_vectors_beside_each_other(own):
    for word, vectors in (("<class>", 2), ("gel-7", 1)):
        install_word(own, word, vectors)
        fill(own, word, torch.full((vectors, 32), float(vectors)))
    assert added_words(own) == {"<class>": 2, "gel-7": 1}
    ids = own.tokenizer(own.maybe_convert_prompt("a <class> gel-7", own.tokenizer), add_special_tokens=False).input_ids
    assert own.text_encoder.get_input_embeddings()(torch.tensor(ids[1:]))[:, 0].tolist() == [2.0, 2.0, 1.0]


def test_a_word_that_is_there_is_not_added_again(own):
    install_word(own, "<class>", 2)
    embedding, size = own.text_encoder.get_input_embeddings(), len(own.tokenizer)
    install_word(own, "<class>", 2)
    assert own.text_encoder.get_input_embeddings() is embedding
    assert len(own.tokenizer) == size


def test_a_gradient_reaches_the_word_alone(own):
    install_word(own, "<class>", 2)
    embedding = own.text_encoder.get_input_embeddings()
    assert isinstance(embedding, WordEmbedding)
    rows = embedding.words["word-<class>"].requires_grad_()
    encode_prompts(own, ["a <class>"]).sum().backward()
    assert rows.grad.any()
    assert [name for name, each in own.text_encoder.named_parameters() if each.grad is not None] == [
        word_weight(own, "<class>").removeprefix("text_encoder.")
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("melanoma", "is in the base's vocabulary"),
        ("Gel", "has capitals, blanks or punctuation"),
        ("two words", "has capitals, blanks or punctuation"),
        ("a.b", "has capitals, blanks or punctuation"),
        ("", "has capitals, blanks or punctuation"),
        ("<class>", "is in the base's vocabulary"),
        ("<class>_1", "is in the base's vocabulary"),
        ("class", "cannot be told from the learnt word '<class>'"),
    ],
)
def test_a_word_that_would_be_mistaken_is_refused_before_the_vocabulary_grows(own, word, message):
    install_word(own, "<class>", 2)
    before = len(own.tokenizer)
    with pytest.raises(BaseError, match=message):
        install_word(own, word, 3)
    assert len(own.tokenizer) == before
    assert list(added_words(own)) == ["<class>"]


@pytest.mark.parametrize("prompt", ["skin", "a kin on skin", "Kin", "kin_1"])
def test_a_prompt_with_the_word_inside_another_or_in_capitals_is_refused(own, prompt):
    install_word(own, "kin", 2)
    with pytest.raises(ConfigError, match="'kin' stands inside another word or in capitals"):
        encode_prompt(own, prompt)
    require_words(own, ["a kin, of it", "kin"])


def test_more_vectors_than_the_text_encoder_reads_at_once_are_refused(own):
    with pytest.raises(
        BaseError, match=r"has 15 vectors, and the text encoder reads 14; train fewer \(finetune.vectors\)"
    ):
        install_word(own, "<class>", 15)
    assert added_words(own) == {}


def test_a_word_that_does_not_fit_beside_the_rest_of_the_prompt_stays_whole_in_a_chunk_of_its_own(own):
    install_word(own, "<class>", 12)
    ids = prompt_chunks(own, "dermoscopy of a <class> on skin").token_ids
    inside = (ids >= own.text_encoder.get_input_embeddings().first_id).sum(dim=1)
    assert inside.tolist() == [0, 12]
    assert encode_prompt(own, "dermoscopy of a <class> on skin").shape[1] == 2 * 16


@pytest.mark.parametrize("word", ["half", "copy", "keys", "popitem"])
def test_a_word_that_torch_uses_itself_is_a_word_as_any_other(own, word):
    install_word(own, word, 1)
    assert added_words(own) == {word: 1}
    assert word_weight(own, word).endswith(f"words.word-{word}")
