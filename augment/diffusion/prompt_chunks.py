"""Prompts as the text encoder reads them: rows of as many tokens as it has places, and each token's weight.

A prompt that is longer is cut, and the chunks are encoded one by one, as AUTOMATIC1111's webui does. A chunk that is
full ends after its last comma, if that is among its last 20 tokens.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int
from torch import Tensor

from augment.base.words import inner_tokens, require_words
from augment.diffusion.prompt_weighting import Emphasis, Span, parse_prompt

_BACKTRACK = 20  # tokens, the webui's default
_COMMA = ",</w>"
_WeightedToken = tuple[int, float]


@dataclass(frozen=True)
class PromptChunks:
    """One prompt's chunks, each with the tokens of start, end and padding, whose weight is 1."""

    token_ids: Int[Tensor, "chunks tokens"]
    weights: Float[Tensor, "chunks tokens"]


def prompt_chunks(
    pipe: StableDiffusionPipeline, prompt: str, emphasis: Emphasis = "plain", n_chunks: int = 1
) -> PromptChunks:
    """The prompt's chunks, and empty ones up to `n_chunks`. Raises ConfigError for syntax that is not read."""
    tokenizer: Any = pipe.tokenizer
    chunks = _chunks(pipe, prompt, emphasis)
    chunks += [[] for _ in range(n_chunks - len(chunks))]
    rows = [_framed(tokenizer, chunk) for chunk in chunks]
    ids, weights = ([[token[part] for token in row] for row in rows] for part in (0, 1))
    return PromptChunks(torch.tensor(ids), torch.tensor(weights))


def count_chunks(pipe: StableDiffusionPipeline, prompts: Iterable[str], emphasis: Emphasis = "plain") -> int:
    """Chunks of the prompt that has the most."""
    return max(len(_chunks(pipe, prompt, emphasis)) for prompt in set(prompts))


def token_ids(pipe: StableDiffusionPipeline, prompts: Sequence[str]) -> Int[Tensor, "n chunks tokens"]:
    """Tokens of prompts to train on, without their weights; all have the chunks of the longest."""
    n_chunks = count_chunks(pipe, prompts)
    return torch.stack([prompt_chunks(pipe, prompt, n_chunks=n_chunks).token_ids for prompt in prompts])


def _chunks(pipe: StableDiffusionPipeline, prompt: str, emphasis: Emphasis) -> list[list[_WeightedToken]]:
    """Tokens between start and end of each chunk; an empty prompt has one that is empty."""
    tokenizer: Any = pipe.tokenizer
    size, comma = tokenizer.model_max_length - 2, tokenizer.convert_tokens_to_ids(_COMMA)
    parsed = parse_prompt(prompt, emphasis)
    require_words(pipe, [span.text for section in parsed for span in section])
    sections = [_tokens(pipe, section) for section in parsed]
    if sections[1:] and not sections[-1]:  # BREAK at the end
        sections.pop()
    inner = inner_tokens(pipe)
    return [chunk for section in sections for chunk in _cut(section, size, comma, inner)]


def _tokens(pipe: StableDiffusionPipeline, section: Iterable[Span]) -> list[_WeightedToken]:
    """Each span is tokenized by itself; a word that textual inversion added stands for all of its vectors."""
    tokenizer: Any = pipe.tokenizer
    has_words, found = len(tokenizer) > tokenizer.vocab_size, list[_WeightedToken]()
    for span in section:
        text = pipe.maybe_convert_prompt(span.text, tokenizer) if has_words else span.text
        ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        found += [(token, span.weight) for token in ids]
    return found


def _cut(tokens: list[_WeightedToken], size: int, comma: int, inner: Container[int]) -> list[list[_WeightedToken]]:
    """Chunks of at most `size` tokens; none begins with an `inner` token, so that a learnt word stays whole."""
    chunks = list[list[_WeightedToken]]()
    while len(tokens) > size:
        end = size
        if tokens[size][0] != comma:
            last = [place for place in range(max(1, size - _BACKTRACK), size) if tokens[place][0] == comma]
            end = last[-1] + 1 if last else size
        while tokens[end][0] in inner:
            end -= 1
        chunks.append(tokens[:end])
        tokens = tokens[end:]
    return [*chunks, tokens]


def _framed(tokenizer: Any, chunk: list[_WeightedToken]) -> list[_WeightedToken]:  # noqa: ANN401 - transformers' own
    padding = [(tokenizer.pad_token_id, 1.0)] * (tokenizer.model_max_length - 2 - len(chunk))
    return [(tokenizer.bos_token_id, 1.0), *chunk, (tokenizer.eos_token_id, 1.0), *padding]
