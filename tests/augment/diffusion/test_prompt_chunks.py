"""Prompts in chunks of the embedded base's 16 tokens, two of which are start and end."""

import copy

import pytest

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.diffusion.prompt_chunks import count_chunks, prompt_chunks, token_ids


def words(pipe, prompt, **settings):
    """The words of each chunk, without start, end and padding."""
    rows = prompt_chunks(pipe, prompt, **settings).token_ids.tolist()
    special = set(pipe.tokenizer.all_special_ids)
    kept = [[token for token in row if token not in special] for row in rows]
    return [[token.removesuffix("</w>") for token in pipe.tokenizer.convert_ids_to_tokens(row)] for row in kept]


def test_the_embedded_base_reads_16_tokens():
    pipe = load_base(BaseConfig())
    assert pipe.tokenizer.model_max_length == pipe.text_encoder.config.max_position_embeddings == 16
    assert prompt_chunks(pipe, "").token_ids.shape == (1, 16)


@pytest.mark.parametrize("prompt", ["", "dermoscopy of a melanoma", "a-b, c!  5", "skin " * 14])
def test_a_prompt_that_fits_has_the_tokens_that_the_tokenizer_gives_it(pipe, prompt):
    expected = pipe.tokenizer([prompt], padding="max_length", truncation=True, return_tensors="pt").input_ids
    chunks = prompt_chunks(pipe, prompt)
    assert chunks.token_ids.tolist() == expected.tolist()
    assert chunks.weights.tolist() == [[1.0] * 16]


def test_a_longer_prompt_goes_on_in_the_next_chunk(pipe):
    assert words(pipe, "skin " * 15) == [["skin"] * 14, ["skin"]]
    assert count_chunks(pipe, ["", "skin " * 29, "skin"]) == 3
    assert count_chunks(pipe, ["skin " * 14]) == 1


def test_a_chunk_ends_after_its_last_comma(pipe):
    first = ["skin"] * 5 + [","]
    assert words(pipe, "skin " * 5 + ", " + "back " * 10) == [first, ["back"] * 10]
    assert words(pipe, "skin " * 13 + ", " + "back " * 3) == [["skin"] * 13 + [","], ["back"] * 3]
    assert words(pipe, "skin " * 14 + ", back") == [["skin"] * 14, [",", "back"]]  # the webui's, too
    assert words(pipe, ", " + "skin " * 14) == [[","] + ["skin"] * 13, ["skin"]]


def test_a_comma_more_than_20_tokens_before_the_end_does_not_end_a_chunk(pipe):
    longer = copy.copy(pipe)
    longer.tokenizer = copy.deepcopy(pipe.tokenizer)
    longer.tokenizer.model_max_length = 77
    assert [len(row) for row in words(longer, "skin " * 50 + ", " + "skin " * 30)] == [75, 6]
    assert [len(row) for row in words(longer, "skin " * 56 + ", " + "skin " * 30)] == [57, 30]


def test_break_starts_a_chunk_and_leaves_no_empty_one_at_the_end(pipe):
    assert words(pipe, "skin BREAK back") == [["skin"], ["back"]]
    assert words(pipe, "skin BREAK") == [["skin"]]
    assert words(pipe, "BREAK skin") == [[], ["skin"]]
    assert words(pipe, "skin BREAK back", emphasis="off")[0][:1] == ["skin"]
    assert count_chunks(pipe, ["skin BREAK back"], "off") == 1


def test_weights_lie_on_their_tokens_in_whatever_chunk(pipe):
    chunks = prompt_chunks(pipe, "skin " * 13 + "(back back:2) face")
    assert chunks.weights.tolist() == [[1.0] * 14 + [2.0, 1.0], [1.0, 2.0] + [1.0] * 14]
    plain = prompt_chunks(pipe, "skin " * 13 + "back back face")
    assert chunks.token_ids.tolist() == plain.token_ids.tolist()


def test_missing_chunks_are_empty_prompts(pipe):
    chunks, empty = prompt_chunks(pipe, "skin", n_chunks=3), prompt_chunks(pipe, "")
    assert chunks.token_ids[1:].tolist() == empty.token_ids.tolist() * 2
    assert len(prompt_chunks(pipe, "skin " * 15, n_chunks=1).token_ids) == 2


def test_prompts_to_train_on_have_as_many_chunks_as_the_longest_and_no_weights(pipe):
    ids = token_ids(pipe, ["", "(skin:2) ", "skin " * 15])
    assert ids.shape == (3, 2, 16)
    assert ids[1].tolist() == prompt_chunks(pipe, "skin", n_chunks=2).token_ids.tolist()


def test_a_word_of_textual_inversion_stands_for_all_its_vectors(pipe):
    learned = copy.copy(pipe)
    learned.tokenizer = copy.deepcopy(pipe.tokenizer)
    learned.tokenizer.add_tokens(["<mole>", "<mole>_1", "<mole>_2"])
    vectors = ["<mole>", "<mole>_1", "<mole>_2"]
    assert words(learned, "a <mole>") == [["a", *vectors]]
    chunks = prompt_chunks(learned, "a (<mole>:1.5) back")
    assert words(learned, "a (<mole>:1.5) back") == [["a", *vectors, "back"]]
    assert chunks.weights[0, :7].tolist() == [1.0, 1.0, 1.5, 1.5, 1.5, 1.0, 1.0]
