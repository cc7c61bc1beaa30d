"""The ways of fine-tuning that are timed: the public script's loop, classes one after another, all in one batch."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms

from augment.finetune import loop
from augment.finetune.examples import ClassExamples
from augment.finetune.trainer import ClassTrainer
from augment.methods.lora import LoraConfig as Lora
from augment.methods.lora import PeftLora
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
_ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of fine-tuning the classes."""

    name: str
    samples: int  # in a turn
    turn: Callable[[], object]


def ways(
    base: StableDiffusionPipeline,
    examples: Mapping[str, ClassExamples],
    files: Mapping[str, list[Path]],
    config: Lora,
    out: Path,
    steps: int,
) -> list[Way]:
    """All ways; a turn of the script's loop makes as many steps of each class as one of ours, with batch 1."""
    size = next(iter(examples.values())).means.shape[-1] * base.vae_scale_factor
    found = []
    for name, layers, rank in ((SCRIPT, _ATTENTION, 4), (SAME, config.targets["unet"], config.rank)):
        loops = [_Loop(base, files[label], each.prompts[0], layers, rank, size) for label, each in examples.items()]
        found.append(_script(name, loops, steps))
    device = base.unet.device
    for name in (PEFT, OURS, ALL):
        peft = name == PEFT
        trainable = PeftLora(base, config.targets, config.rank, device) if peft else config.trainable(base, device)
        trainers = [ClassTrainer(base, trainable, each, config, out, "") for each in examples.values()]
        groups = [trainers] if name == ALL else [[trainer] for trainer in trainers]
        samples = steps * config.batch_size * len(examples)
        found.append(Way(name=name, samples=samples, turn=_Ours(groups, steps)))
    return found


@dataclass(frozen=True)
class _Ours:
    groups: list[list[ClassTrainer]]
    steps: int

    def __call__(self) -> None:
        for group in self.groups:
            for _ in range(self.steps):
                loop.step(group)


def _script(name: str, loops: "Sequence[_Loop]", steps: int) -> Way:
    """The script's loop for each class, one after another."""

    def turn() -> None:
        for each in loops:
            for _ in range(steps):
                each.step()

    return Way(name=name, samples=steps * len(loops), turn=turn)


@dataclass
class _Loop:
    """The loop of diffusers' examples/dreambooth/train_dreambooth_lora.py with its defaults and batch 1.

    In float32; image, latents and prompt are encoded anew at every step; AdamW, gradient norm at most 1, no prior.
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
        """Make a step, and give its loss."""
        device, vae = self.base.device, self.pipe.vae
        with Image.open(next(self.images), formats=FORMATS) as image:
            pixels = self.transform(image.convert("RGB"))[None].to(device, vae.dtype)
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, self.noise.config.num_train_timesteps, (1,), device=device)
        noisy = self.noise.add_noise(latents, noise, timesteps)
        noise_pred = self.pipe.unet(noisy, timesteps, self._prompt_embeds(), return_dict=False)[0]
        target = noise
        if self.noise.config.prediction_type == "v_prediction":
            target = self.noise.get_velocity(latents, noise, timesteps)
        loss = functional.mse_loss(noise_pred.float(), target.float())
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _prompt_embeds(self) -> Tensor:
        tokenizer, encoder = self.pipe.tokenizer, self.pipe.text_encoder
        tokens = tokenizer(
            self.prompt,
            truncation=True,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        )
        embeds: Tensor = encoder(tokens.input_ids.to(self.base.device), return_dict=False)[0]
        return embeds
