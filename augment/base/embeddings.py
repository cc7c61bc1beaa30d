"""Learnt words of others in a folder, `base.embeddings`: each file is a word, which prompts may then hold."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from augment.base.embedding_files import SUFFIXES, read_embedding
from augment.base.words import install_word, word_vectors
from data.errors import BaseError
from data.store import file_sha256


def embedding_paths(folder: Path) -> dict[str, Path]:
    """The files of a folder by their words, in small letters and in order. Raises BaseError."""
    if not folder.is_dir():
        raise BaseError(f"base.embeddings: {folder}: no such folder; name one with embeddings, {', '.join(SUFFIXES)}")
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if not paths:
        raise BaseError(f"base.embeddings: {folder}: has no embeddings ({', '.join(SUFFIXES)}); leave the key out")
    words: dict[str, Path] = {}
    for path in paths:
        word = path.stem.lower()
        if word in words:
            raise BaseError(f"{path}: is the word {word!r}, as {words[word].name} is; rename one of them")
        words[word] = path
    return dict(sorted(words.items()))


def embeddings_identity(folder: Path) -> dict[str, str]:
    """The SHA-256 of each word's file."""
    return {word: file_sha256(path) for word, path in embedding_paths(folder).items()}


def add_embeddings(pipe: StableDiffusionPipeline, folder: Path) -> None:
    """Add the words of a folder to a pipeline, in place. Raises BaseError for a file or a word that does not fit."""
    for word, path in embedding_paths(folder).items():
        vectors = read_embedding(path, pipe.text_encoder.get_input_embeddings().embedding_dim)
        try:
            install_word(pipe, word, len(vectors))
        except BaseError as error:
            raise BaseError(f"{path}: {error}") from error
        with torch.no_grad():
            word_vectors(pipe, word).copy_(vectors)
