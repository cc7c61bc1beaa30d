"""A tiny Stable Diffusion: the same five parts, small enough for a laptop.

The sizes are a config; the parts are diffusers' and transformers' own classes, so that whatever works
on the result works on Stable Diffusion.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from pydantic.dataclasses import dataclass
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from augment.prompts import DIAGNOSES, RARE_TOKENS, SUPERCLASS
from data.config import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable

START, END = "<|startoftext|>", "<|endoftext|>"

# Words of prompts beside the diagnoses, which come from augment/prompts.py.
WORDS = """a an and of on the in with without at from no
dermoscopy dermoscopic image photo photograph close up skin lesion mole patient
male female man woman year years old young child adult elderly aged age
back lower extremity trunk upper abdomen face chest foot neck scalp hand ear genital acral unknown arm leg
light dark pale pink red brown black blue grey gray white yellow purple orange tan
round oval irregular symmetric asymmetric small large flat raised scaly crusted
network globules dots vessels lacunae scale crust hair ruler border center
sharp blurred dirty clean artifact drawing benign malignant cancer tumor
0 1 2 3 4 5 6 7 8 9""".split()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TinyModelConfig:
    """Sizes of a tiny model. The defaults are those of the embedded base: 9.6 million parameters."""

    image_size: int = 64  # pixels
    vae_channels: tuple[int, ...] = (24, 48, 96)  # per level; each level after the first halves the image
    latent_channels: int = 8
    unet_channels: tuple[int, ...] = (48, 112, 160)  # per level; the first has no attention
    unet_layers: int = 1  # ResNet blocks per level
    attention_heads: int = 8
    text_width: int = 128
    text_layers: int = 2
    prompt_tokens: int = 16


def build_tiny_model(config: TinyModelConfig, seed: int = 0) -> StableDiffusionPipeline:
    """A pipeline with random weights, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = word_tokenizer(config.prompt_tokens)
        factor = 2 ** (len(config.vae_channels) - 1)
        pipe = StableDiffusionPipeline(
            vae=_vae(config),
            text_encoder=_text_encoder(config, tokenizer),
            tokenizer=tokenizer,
            unet=_unet(config, config.image_size // factor),
            scheduler=DPMSolverMultistepScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                prediction_type="v_prediction",
                timestep_spacing="trailing",
                steps_offset=1,  # diffusers warns of any other
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    for model in (pipe.vae, pipe.unet):
        _init_as_identity(model)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def word_tokenizer(prompt_tokens: int) -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer with a small vocabulary: each word of our prompts is one token, others are split."""
    words = dict.fromkeys([*WORDS, *_words(DIAGNOSES.values()), *SUPERCLASS.split(), *RARE_TOKENS])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,  # more than there are merges, so every word becomes one token
        min_frequency=1,
        show_progress=False,
        end_of_word_suffix="</w>",
        special_tokens=[*alphabet, *(f"{letter}</w>" for letter in alphabet), START, END],
    )
    tokenizer.train_from_iterator(words, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pairs: Any = [tuple(pair) for pair in model["merges"]]  # tuples, although the annotation says strings
    return CLIPTokenizer(vocab=model["vocab"], merges=pairs, model_max_length=prompt_tokens)


def _words(names: Iterable[str]) -> list[str]:
    return [word for name in names for word in name.split()]


def _vae(config: TinyModelConfig) -> AutoencoderKL:
    levels = len(config.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.vae_channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=1,  # one group: normalising groups apart loses the colour of a whole image
        sample_size=config.image_size,
        scaling_factor=1.0,
    )


def _unet(config: TinyModelConfig, latent_size: int) -> UNet2DConditionModel:
    levels = len(config.unet_channels)
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        layers_per_block=config.unet_layers,
        block_out_channels=config.unet_channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * (levels - 1)),
        up_block_types=(*("CrossAttnUpBlock2D",) * (levels - 1), "UpBlock2D"),
        cross_attention_dim=config.text_width,
        attention_head_dim=config.attention_heads,  # diffusers' old name for the number of heads
        norm_num_groups=16,
    )


def _init_as_identity(model: nn.Module) -> None:
    """Zero the last layer of every residual block, so that it passes its input on, as DDPM's own code does."""
    for module in model.modules():
        last = {ResnetBlock2D: "conv2", Transformer2DModel: "proj_out"}.get(type(module))
        if last:
            for weights in getattr(module, last).parameters():
                nn.init.zeros_(weights)


def _text_encoder(config: TinyModelConfig, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=2 * config.text_width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=4,
            max_position_embeddings=config.prompt_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
