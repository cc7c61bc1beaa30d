"""The ways of generating images that are timed: diffusers' pipeline as its documentation uses it, and ours."""

import copy
import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.base.tiny_model import word_tokenizer
from augment.diffusion.samplers import build_scheduler
from augment.generate.batches import generate_pixels
from augment.generate.config import GenerateConfig
from augment.generate.few_step import FewStepConfig
from augment.generate.image_writer import ImageWriter
from augment.methods.weights import with_parts
from augment.prompts import prompt_for

PROMPT = prompt_for("mel")
DOCUMENTED, DPM, DPM_8, SAME = "as documented", "DPM-Solver++", "DPM-Solver++, 8 at a time", "at our settings"
QUALITY, FAST_NUMBERS = "quality, our default", "quality, fast numbers"
_GUIDANCE = 7.5  # diffusers' default
_SEEDS = 1000


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of generating a batch."""

    name: str
    ours: bool
    steps: int
    images: int  # at a time
    dtype: torch.dtype
    calls: int  # of the denoiser, an image
    sample: Callable[[int | None], None]  # generates a batch, in the given number of steps or (None) its own
    same: str | None = None  # the reference of equal steps, guidance, solver and batch
    compiled: bool = False
    small_decoder: bool = False


def tiny() -> StableDiffusionPipeline:
    """The embedded base."""
    return load_base(BaseConfig())


def stable_diffusion_15() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5's architecture with random weights, at 512 pixels."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(77)
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512, scaling_factor=0.18215,
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    )
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, scheduler=scheduler,
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.vae, pipe.text_encoder, pipe.unet):
        part.requires_grad_(requires_grad=False).eval()
    return pipe


BASES: dict[str, Callable[[], StableDiffusionPipeline]] = {"tiny": tiny, "sd15-shape": stable_diffusion_15}


def ways(base: StableDiffusionPipeline, batch: int, *, compiled: bool) -> list[Way]:
    """All ways, the references first; `compiled` adds ours with torch.compile."""
    device = devices.default_device()
    settings = GenerateConfig(batch_size=batch)
    found = [*_references(base, settings, device)]
    ready = _on_device(base, device, settings)
    fast_numbers = dataclasses.replace(settings, precision="fast")
    guided = dataclasses.replace(settings, guidance_scale=_GUIDANCE)
    found += [
        _ours("quality, one at a time", ready, dataclasses.replace(guided, batch_size=1), DPM),
        _ours("quality, 8 at a time", ready, dataclasses.replace(guided, batch_size=8), DPM_8),
        _ours(QUALITY, ready, settings, SAME),
        _ours("guidance in the first half", ready, dataclasses.replace(settings, guidance_end=0.5)),
        _ours("preset fast", ready, dataclasses.replace(settings, preset="fast")),
    ]
    few_step = dataclasses.replace(settings, preset="few-step", few_step=FewStepConfig(lora="none"))
    found.append(_ours("preset few-step, time alone: no LoRA", ready, few_step))
    if base.vae_scale_factor == 2 ** (len(AutoencoderTiny().config.decoder_block_out_channels) - 1):
        small = with_parts(ready, vae=devices.cast(AutoencoderTiny().eval(), ready.unet.dtype).to(device))
        found.append(_ours("few-step and TAESD, random weights", small, few_step))
    numbers = [settings]
    if devices.dtype_for(device, "fast") != ready.unet.dtype:
        numbers.append(fast_numbers)
        found.append(_ours(FAST_NUMBERS, _on_device(base, device, fast_numbers), fast_numbers, SAME))
    for each in numbers if compiled else ():
        pipe = _on_device(base, device, each)
        pipe.unet.compile(fullgraph=True, dynamic=False)
        name = QUALITY if each is settings else FAST_NUMBERS
        found.append(_ours(f"{name}, compiled", pipe, each, SAME))
    return found


def _references(base: StableDiffusionPipeline, settings: GenerateConfig, device: torch.device) -> list[Way]:
    """Diffusers' pipeline: moved to the device in its precision, called with a prompt."""
    pipe = StableDiffusionPipeline(**_copied(base), requires_safety_checker=False).to(device)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        devices.cast(part, devices.dtype_for(device))
    solver = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    sampling = settings.sampling()
    made = [
        (DOCUMENTED, base.scheduler, 50, _GUIDANCE, 1),
        (DPM, solver, 20, _GUIDANCE, 1),
        (DPM_8, solver, 20, _GUIDANCE, 8),
        (SAME, build_scheduler(base, "dpm++-2m"), sampling.steps, sampling.guidance_scale, sampling.batch_size),
    ]
    return [_reference(pipe, *each) for each in made]


def _reference(
    pipe: StableDiffusionPipeline, name: str, scheduler: object, steps: int, guidance: float, images: int
) -> Way:
    pipe = with_parts(pipe, scheduler=copy.deepcopy(scheduler))
    pipe.set_progress_bar_config(disable=True)

    def sample(given_steps: int | None) -> None:
        pipe(PROMPT, num_inference_steps=given_steps or steps, guidance_scale=guidance, num_images_per_prompt=images)

    pipe.scheduler.set_timesteps(steps)
    calls = 2 * len(pipe.scheduler.timesteps)  # PNDM takes one more than `steps`
    return Way(name=name, ours=False, steps=steps, images=images, dtype=pipe.unet.dtype, calls=calls, sample=sample)


def _ours(name: str, pipe: StableDiffusionPipeline, config: GenerateConfig, same: str | None = None) -> Way:
    sampling = config.sampling()
    size = pipe.unet.config.sample_size * pipe.vae_scale_factor
    guided = round(sampling.steps * sampling.guidance_end) if sampling.guidance_scale > 1 else 0

    def sample(given_steps: int | None) -> None:
        chosen = dataclasses.replace(config, steps=given_steps or sampling.steps)
        with tempfile.TemporaryDirectory() as folder, ImageWriter(Path(folder), "jpg", 95, max_pending=128) as writer:
            seeds = range(_SEEDS, _SEEDS + sampling.batch_size)
            for images in generate_pixels(pipe, [PROMPT] * len(seeds), seeds, chosen, size):
                for image in images:
                    writer.add(f"{writer.added}.jpg", image)

    return Way(
        name=name, ours=True, steps=sampling.steps, images=sampling.batch_size, dtype=pipe.unet.dtype,
        calls=sampling.steps + guided, sample=sample, same=same, small_decoder=isinstance(pipe.vae, AutoencoderTiny),
        compiled=pipe.unet._compiled_call_impl is not None,  # noqa: SLF001 - torch has no public way to ask
    )  # fmt: skip


def _on_device(base: StableDiffusionPipeline, device: torch.device, config: GenerateConfig) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline(**_copied(base), requires_safety_checker=False)
    return devices.to_device(pipe, device, devices.dtype_for(device, config.precision))


def _copied(base: StableDiffusionPipeline) -> dict[str, object]:
    own = {name: copy.deepcopy(getattr(base, name)) for name in ("unet", "vae", "text_encoder")}
    return {**base.components, **own}
