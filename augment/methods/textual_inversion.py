"""Textual inversion: a new word's vectors are learnt, and the whole base stays as it is. Gal et al. 2023.

The word stands for the class in prompts. It can say only what the base can draw already.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from diffusers import StableDiffusionPipeline
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.base.embedding_files import write_embedding
from augment.base.words import install_word, word_weight
from augment.device import copied, training_dtype
from augment.diffusion.prompt_weighting import without_syntax
from augment.methods.contract import Adapter, FinetuneSettings, LearningRate
from augment.methods.module_trainable import ModuleTrainable
from augment.methods.weights import read_weights
from augment.prompts import SUPERCLASS, Words
from data.config import STRICT

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts

FILE = "learned_embeds.safetensors"  # diffusers' name
WORD = "<class>"  # in no vocabulary, and inside no word; each class has its own adapter, so one is enough


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextualInversionConfig(FinetuneSettings):
    """Settings of textual inversion. The learning rate is the web UI's and the paper's."""

    display_name: ClassVar[str] = "Textual Inversion"
    token: ClassVar[str | None] = WORD
    token_replaces_class: ClassVar[bool] = True

    method: Literal["textual-inversion"] = "textual-inversion"
    learning_rate: LearningRate = 5e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # it would pull a word towards one without a meaning
    text_encoder: Literal[True] = True  # is not trained, but encodes the changed word at every step
    vectors: Annotated[int, Field(ge=1, le=75)] = 3  # of the word; each takes a token of the prompt
    init_word: Words | None = None  # whose vectors the word's start from; None: the class's own words

    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> TextualInversion:
        """A frozen pipeline with the word."""
        return TextualInversion(pipe, self.vectors, self.init_word, device)

    def adapter(self, folder: Path) -> TextualInversionAdapter:
        """Open a saved word."""
        return TextualInversionAdapter(folder, self.vectors)

    def trained_params(self, parts: BaseParts) -> int:
        """The word's numbers."""
        embedding: nn.Embedding = parts.text_encoder.get_input_embeddings()  # type: ignore[operator]
        return self.vectors * embedding.embedding_dim


class TextualInversion(ModuleTrainable):
    """Frozen copies of the UNet and text encoder, and a word whose vectors are trained."""

    def __init__(
        self, base: StableDiffusionPipeline, vectors: int, init_word: str | None, device: torch.device
    ) -> None:
        dtype = training_dtype(device)
        parts = {part: copied(getattr(base, part), device, dtype) for part in ("unet", "text_encoder")}
        frozen = {part: module.requires_grad_(requires_grad=False) for part, module in parts.items()}
        super().__init__(base, {**frozen, "tokenizer": copy.deepcopy(base.tokenizer)})
        install_word(self.pipe, WORD, vectors)
        self._vectors, self._init_word, self._name = vectors, init_word, word_weight(self.pipe, WORD)

    def parameters(self, seed: int, class_name: str = "") -> dict[str, nn.Parameter]:  # noqa: ARG002 - nothing is drawn
        """The vectors of the first word's tokens, each as often as the others within one."""
        text = without_syntax(self._init_word or class_name or SUPERCLASS.split()[-1])
        ids = self.base.tokenizer(text, add_special_tokens=False).input_ids
        chosen = [ids[index * len(ids) // self._vectors] for index in range(self._vectors)]
        embedding = self.base.text_encoder.get_input_embeddings()
        start = embedding(torch.tensor(chosen, device=embedding.weight.device)).detach()
        return {self._name: nn.Parameter(start.to(self.pipe.text_encoder.device, torch.float32, copy=True))}

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write the word as diffusers does."""
        return write_embedding(parameters[self._name], WORD, folder / FILE)


@plain_dataclass(frozen=True)
class TextualInversionAdapter(Adapter):
    """A saved word."""

    folder: Path
    vectors: int

    @property
    def installs(self) -> Hashable:
        """The word and how many vectors it has."""
        return WORD, self.vectors

    def install(self, pipe: StableDiffusionPipeline) -> None:
        """Add the word, of zero vectors."""
        install_word(pipe, WORD, self.vectors)

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The word's vectors."""
        return [word_weight(pipe, WORD)]

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The saved vectors: of the base's own, which are zero, only the shape is used."""
        ((name, zeros),) = weights.items()
        saved = read_weights(self.folder / FILE, {WORD: tuple(zeros.shape)})
        return {name: saved[WORD]}
