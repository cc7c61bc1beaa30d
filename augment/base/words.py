"""Words beyond a tokenizer's vocabulary, each of one or more vectors: textual inversion. Gal et al. 2023.

A prompt holds `word`, which diffusers' `maybe_convert_prompt` replaces by the tokens `word word_1 word_2`. A word's
vectors are a parameter of its own beside the frozen embedding, so that training moves no other word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn
from torch.nn import functional
from transformers import AddedToken

from data.errors import BaseError, ConfigError

_WORD = re.compile(r"[^\s.,:;|\\()\[\]{}\"'A-Z]+")  # none of the characters that end a word or weigh a prompt's parts

_KEY = "word-"  # before a word among the parameters: some words are names of torch's own


class WordEmbedding(nn.Embedding):
    """A token embedding with added words; for the base's own tokens it is the embedding as it is."""

    def __init__(self, embedding: nn.Embedding, first_id: int) -> None:
        """`first_id`: the first token's that the tokenizer gets from now on."""
        super().__init__(embedding.num_embeddings, embedding.embedding_dim, _weight=embedding.weight)
        self.weight = embedding.weight
        self.first_id = first_id
        self.words = nn.ParameterDict()  # each [vectors, width], in the order of their tokens

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of tokens."""
        own = super().forward(ids.clamp(max=self.num_embeddings - 1))
        place = ids - self.first_id
        added = functional.embedding(place.clamp(min=0), torch.cat(list(self.words.values())))
        return torch.where((place >= 0).unsqueeze(-1), added.to(own.dtype), own)


def install_word(pipe: StableDiffusionPipeline, word: str, vectors: int) -> None:
    """Add a word of `vectors` zero vectors to a pipeline's tokenizer and text encoder, in place.

    Nothing changes if the pipeline has it, nor for a prompt without it. Raises BaseError for an unusable word, or more
    vectors than the text encoder reads at once.
    """
    if added_words(pipe).get(word) == vectors:
        return
    _require_new(pipe, word)
    most = pipe.tokenizer.model_max_length - 2  # beside the tokens of start and end
    if vectors > most:
        raise BaseError(
            f"word {word!r}: has {vectors} vectors, and the text encoder reads {most}; train fewer (finetune.vectors)"
        )
    tokenizer, embedding = pipe.tokenizer, pipe.text_encoder.get_input_embeddings()
    if not isinstance(embedding, WordEmbedding):
        embedding = WordEmbedding(embedding, len(tokenizer))
        pipe.text_encoder.set_input_embeddings(embedding)
    names = [word, *(f"{word}_{index}" for index in range(1, vectors))]
    tokenizer.add_tokens([AddedToken(name, single_word=True) for name in names])
    zeros = embedding.weight.new_zeros(vectors, embedding.embedding_dim)
    embedding.words[_KEY + word] = nn.Parameter(zeros, requires_grad=False)


def added_words(pipe: StableDiffusionPipeline) -> dict[str, int]:
    """The words that were added to a pipeline, and how many vectors each has."""
    embedding = pipe.text_encoder.get_input_embeddings()
    if not isinstance(embedding, WordEmbedding):
        return {}
    return {key.removeprefix(_KEY): len(rows) for key, rows in embedding.words.items()}


def word_vectors(pipe: StableDiffusionPipeline, word: str) -> nn.Parameter:
    """An added word's vectors [vectors, width]."""
    vectors: nn.Parameter = pipe.text_encoder.get_input_embeddings().words[_KEY + word]
    return vectors


def word_weight(pipe: StableDiffusionPipeline, word: str) -> str:
    """The name of an added word's vectors among the pipeline's weights."""
    embedding = pipe.text_encoder.get_input_embeddings()
    path = next(path for path, module in pipe.text_encoder.named_modules() if module is embedding)
    return f"text_encoder.{path}.words.{_KEY}{word}"


def inner_tokens(pipe: StableDiffusionPipeline) -> frozenset[int]:
    """Tokens of all vectors of added words but each word's first."""
    names = [f"{word}_{index}" for word, vectors in added_words(pipe).items() for index in range(1, vectors)]
    return frozenset(pipe.tokenizer.convert_tokens_to_ids(names))


def require_words(pipe: StableDiffusionPipeline, texts: Sequence[str]) -> None:
    """Raise ConfigError for text of a prompt that holds an added word in part or in capitals."""
    for word in added_words(pipe):
        whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        for text in texts:
            if text.lower().count(word) != len(whole.findall(text)):
                raise ConfigError(
                    f"prompt {text!r}: the learnt word {word!r} stands inside another word or in capitals; write it "
                    "apart in small letters, or rename the file of its embedding"
                )


def _require_new(pipe: StableDiffusionPipeline, word: str) -> None:
    """Raise BaseError for a word that is none, or that the tokenizer or another added word would mistake."""
    if not _WORD.fullmatch(word):
        raise BaseError(f"word {word!r}: has capitals, blanks or punctuation, which prompts cannot hold; rename it")
    if {word, f"{word}</w>"} & pipe.tokenizer.get_vocab().keys():
        raise BaseError(f"word {word!r}: is in the base's vocabulary, so it has a meaning already; choose another word")
    mistaken = [other for other in added_words(pipe) if word in other or other in word]
    if mistaken:
        raise BaseError(f"word {word!r}: cannot be told from the learnt word {mistaken[0]!r}; choose another word")
