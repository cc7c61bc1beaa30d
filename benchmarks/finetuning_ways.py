"""The ways of fine-tuning that are timed: the public script's loop, classes one after another, all in one batch."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms

from augment.finetune import loop as together
from augment.finetune.config import FinetuneConfig
from augment.finetune.examples import Lesson
from augment.finetune.trainer import Training
from augment.methods.batched_lora import Stack
from augment.methods.lora import ATTENTION, CONVOLUTIONS, Lora
from augment.methods.weights import with_parts
from data.files.archives import FORMATS

SCRIPT, SAME, PEFT, OURS, ALL = (
    "the public script's loop, its rank 4 on the attention",
    "the same loop on our layers and rank",
    "one class after another, our caches and batch, peft",
    "one class after another, our caches, batch and layers",
    "all classes in one batch",
)
_RATE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of fine-tuning the classes."""

    name: str
    samples: int  # of a turn
    turn: Callable[[], object]


def ways(
    base: StableDiffusionPipeline,
    lessons: Mapping[str, Lesson],
    files: Mapping[str, list[Path]],
    config: FinetuneConfig,
    out: Path,
    steps: int,
) -> list[Way]:
    """All that is timed; a turn of the script's loop makes as many steps a class as one of ours, of one sample."""
    lora = Lora(rank=config.rank, conv=config.conv)
    size = next(iter(lessons.values())).means.shape[-1] * base.vae_scale_factor
    layers = (*ATTENTION, *CONVOLUTIONS) if config.conv else ATTENTION
    found = [
        _script(SCRIPT, base, lessons, files, ("to_k", "to_q", "to_v", "to_out.0"), 4, size, steps),
        _script(SAME, base, lessons, files, layers, config.rank, size, steps),
    ]
    for name, stack in ((PEFT, None), (OURS, Stack(base, lora)), (ALL, Stack(base, lora))):
        trainings = [Training(base, lesson, config, out, "", stack) for lesson in lessons.values()]
        groups = [trainings] if name == ALL else [[training] for training in trainings]
        samples = steps * config.batch_size * len(lessons)
        found.append(Way(name=name, samples=samples, turn=_Ours(groups, steps)))
    return found


@dataclass(frozen=True)
class _Ours:
    groups: list[list[Training]]
    steps: int

    def __call__(self) -> None:
        for group in self.groups:
            for _ in range(self.steps):
                together.step(group)


def _script(
    name: str,
    base: StableDiffusionPipeline,
    lessons: Mapping[str, Lesson],
    files: Mapping[str, list[Path]],
    layers: tuple[str, ...],
    rank: int,
    size: int,
    steps: int,
) -> Way:
    loops = [_Loop(base, files[label], lesson.prompts[0], layers, rank, size) for label, lesson in lessons.items()]

    def turn() -> None:
        for loop in loops:
            for _ in range(steps):
                loop.step()

    return Way(name=name, samples=steps * len(loops), turn=turn)


@dataclass
class _Loop:
    """The loop of diffusers' examples/dreambooth/train_dreambooth_lora.py with its defaults and batch 1.

    In float32; image, latents and prompt are made anew at every step; AdamW, clip at 1, no prior.
    """

    base: StableDiffusionPipeline
    files: list[Path]
    prompt: str
    layers: tuple[str, ...]
    rank: int
    size: int
    images: Iterator[Path] = field(init=False)

    def __post_init__(self) -> None:
        unet = copy.deepcopy(self.base.unet).requires_grad_(requires_grad=False).train()
        config = LoraConfig(
            r=self.rank, lora_alpha=self.rank, init_lora_weights="gaussian", target_modules=list(self.layers)
        )
        unet.add_adapter(config)
        self.pipe = with_parts(self.base, unet=unet)
        self.noise = DDPMScheduler.from_config(self.base.scheduler.config)
        self.parameters: list[nn.Parameter] = [each for each in unet.parameters() if each.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, _RATE, weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda _step: 1.0)
        self.images = itertools.cycle(self.files)
        self.transform = transforms.Compose(
            [
                transforms.Resize(self.size, transforms.InterpolationMode.BILINEAR),
                transforms.CenterCrop(self.size),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def step(self) -> float:
        """Make a step; gives the loss."""
        where, vae = self.base.device, self.pipe.vae
        with Image.open(next(self.images), formats=FORMATS) as image:
            pixels = self.transform(image.convert("RGB"))[None].to(where, vae.dtype)
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, self.noise.config.num_train_timesteps, (1,), device=where)
        noisy = self.noise.add_noise(latents, noise, timesteps)
        said = self.pipe.unet(noisy, timesteps, self._told(), return_dict=False)[0]
        known = noise
        if self.noise.config.prediction_type == "v_prediction":
            known = self.noise.get_velocity(latents, noise, timesteps)
        loss = functional.mse_loss(said.float(), known.float())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _told(self) -> Tensor:
        tokenizer, encoder = self.pipe.tokenizer, self.pipe.text_encoder
        told = tokenizer(
            self.prompt,
            truncation=True,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        )
        embedded: Tensor = encoder(told.input_ids.to(self.base.device), return_dict=False)[0]
        return embedded
