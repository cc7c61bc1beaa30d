"""One class on its way from the base to an adapter: step, loss, checkpoint, preview, record.

Latents and prompts come encoded; a batch follows from the class's seed and the step's number, so a
resumed training ends in the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from augment import device, objective
from augment.checkpoint import Checkpoint
from augment.lesson import EMPTY, INSTANCE, Batch, Lesson, draw, seed_for
from augment.methods import RECORD, Method, method_for, trained
from augment.prompts import RARE_TOKENS
from augment.sampler import SamplerConfig, decode, sample_latents
from augment.schedule import warm_cosine
from augment.solvers import solver
from data.config import STRICT, to_dict
from data.errors import TrainingError
from data.store import file_sha256, write_json, write_text

_LEARNING_RATES = {"lora": 1e-4, "dreambooth": 5e-6}  # DataDream's, and DreamBooth's own
_STRIP_EDGE = 128  # pixels of one preview
_FINAL = 20  # steps that the final loss is the mean of

Progress = Callable[[str, int, int, float], None]  # label, steps done, of how many, loss


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinetuneConfig:
    """How a class is learned. Defaults suit Stable Diffusion 1.5 at 512 px on one GPU."""

    method: Literal["lora", "dreambooth"] = "lora"
    steps: Annotated[int, Field(ge=1)] = 400
    batch_size: Annotated[int, Field(ge=1)] = 8  # samples of the class; prior preservation adds as many
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None  # None: 1e-4 for LoRA, 5e-6 for DreamBooth
    warmup: Annotated[int, Field(ge=0)] = 20  # steps; then a half cosine down to 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of the gradient
    rank: Annotated[int, Field(ge=1, le=1024)] = 16  # LoRA
    conv: bool = True  # LoRA on the convolutions too: new textures are theirs
    text_encoder: bool = False  # trained too, then prompts are encoded at every step
    flips: bool = True  # the eight turns and mirrors of each image
    prompt_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of samples that see no prompt
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None  # None: each noise level weighs the same
    prior_images: Annotated[int, Field(ge=0)] = 64  # DreamBooth: the base's own lesions; 0 = no prior preservation
    prior_weight: Annotated[float, Field(ge=0)] = 1.0
    checkpoint_every: Annotated[int, Field(ge=1)] = 100  # steps
    preview_every: Annotated[int, Field(ge=0)] = 100  # steps; 0 = none
    preview: SamplerConfig = SamplerConfig(steps=12, batch_size=8)  # a preview holds one batch

    @property
    def rate(self) -> float:
        """The learning rate at its highest."""
        return self.learning_rate or _LEARNING_RATES[self.method]

    @property
    def token(self) -> str | None:
        """The rare word of DreamBooth's prompt; each class has a model of its own, so one word serves all."""
        return RARE_TOKENS[0] if self.method == "dreambooth" else None


@plain_dataclass
class Training:
    """One class on its way from the base to an adapter."""

    base: StableDiffusionPipeline
    lesson: Lesson
    config: FinetuneConfig
    out: Path
    key: str  # of everything that the result depends on
    method: Method = field(init=False)
    losses: list[float] = field(default_factory=list)  # one a step done

    def __post_init__(self) -> None:
        """Open the base for training, and go on from a checkpoint of the same key."""
        config = self.config
        self.method = method_for(config.method, rank=config.rank, conv=config.conv, text_encoder=config.text_encoder)
        self.pipe = self.method.open(self.base, seed_for(self.lesson.seed, "start"))
        self.parameters = trained(self.pipe)
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()), self.config.rate, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = warm_cosine(config.steps, config.warmup)
        self.alphas_cumprod = solver(self.base).alphas_cumprod.to(self.base.device)
        with torch.no_grad():
            self.embeddings = self._encode_prompts()
        self.checkpoint = Checkpoint(self.out / "checkpoint" / f"{self.key[:16]}.pt")
        self.checkpoint.restore({"weights": self, "optimizer": self.optimizer})

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps beside the optimizer's state."""
        return {"parameters": {name: p.data for name, p in self.parameters.items()}, "losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        for name, parameter in self.parameters.items():
            parameter.data.copy_(state["parameters"][name])
        self.losses = list(state["losses"])

    def run(self, progress: Progress | None = None) -> None:
        """Train to the last step, with checkpoints and previews on the way."""
        config = self.config
        while (step := len(self.losses)) < config.steps:
            self.losses.append(self._step(step))
            done = step + 1
            if done % config.checkpoint_every == 0 and done < config.steps:
                self.checkpoint.save(done, {"weights": self, "optimizer": self.optimizer})
            if config.preview_every and (done % config.preview_every == 0 or done == config.steps):
                self._preview(done)
            if progress is not None:
                progress(self.lesson.label, done, config.steps, self.losses[-1])

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the adapter, its record last."""
        weights = self.method.save(self.pipe, self.out)
        write_text(self.out / "loss.csv", self._loss_table())
        config = self.config
        about = {
            "method": config.method,
            "label": self.lesson.label,
            "prompt": self.lesson.prompts[0],
            "negative_prompt": "",
            "token": config.token,
            "steps": config.steps,
            "final_loss": float(np.mean(self.losses[-_FINAL:])),
            "config": to_dict(config),
            "key": self.key,
            "weights": weights.relative_to(self.out).as_posix(),
            "sha256": file_sha256(weights),
        }
        write_json(self.out / RECORD, {**about, **record})
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)

    def _step(self, step: int) -> float:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * self.schedule(step)
        batch = draw(
            self.lesson,
            step,
            config.batch_size,
            len(self.alphas_cumprod),
            prior_weight=config.prior_weight,
            dropout=config.prompt_dropout,
        )
        loss = self._loss(batch)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), config.clip)
        value = loss.item()
        if not math.isfinite(value) or not torch.isfinite(norm):
            raise TrainingError(self._not_a_number(step))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return value

    def _loss(self, batch: Batch) -> Tensor:
        where, kind = self.base.device, self.base.scheduler.config.prediction_type
        clean, noise, weights = (t.to(where, non_blocking=True) for t in (batch.clean, batch.noise, batch.weights))
        timesteps = batch.timesteps.to(where)
        alphas = self.alphas_cumprod[timesteps]
        with device.autocast(where):
            embeddings = self._encode_prompts() if self.config.text_encoder else self.embeddings
            given = objective.noised(clean, noise, alphas)
            said = self.pipe.unet(given, timesteps, embeddings[batch.prompts.to(where)], return_dict=False)[0]
        error: Tensor = (said.float() - objective.target(clean, noise, alphas, kind)).square().mean(dim=(1, 2, 3))
        return torch.sum(error * weights * objective.min_snr_weights(alphas, kind, self.config.min_snr_gamma))

    def _encode_prompts(self) -> Tensor:
        embedded: Tensor = self.pipe.encode_prompt(
            list(self.lesson.prompts), self.base.device, 1, do_classifier_free_guidance=False
        )[0]
        return embedded

    def _preview(self, step: int) -> None:
        seeds = [seed_for("preview", index) for index in range(self.config.preview.batch_size)]
        with torch.no_grad(), device.autocast(self.base.device):
            encoded = torch.split(self._encode_prompts(), 1)
            told, untold = encoded[INSTANCE], encoded[EMPTY]
            latents = sample_latents(self.pipe, told, untold, seeds, self.config.preview, self._size())
        images = [Image.fromarray(image) for image in decode(self.base, latents)]
        for image in images:
            image.thumbnail((_STRIP_EDGE, _STRIP_EDGE))
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate([np.asarray(i) for i in images], axis=1)).save(buffer, "JPEG", quality=92)
        folder = self.out / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"step-{step:06d}.jpg").write_bytes(buffer.getvalue())

    def _size(self) -> int:
        return int(self.lesson.means.shape[-1] * self.base.vae_scale_factor)

    def _loss_table(self) -> str:
        rows = [
            f"{n},{loss:.6g},{self.config.rate * self.schedule(n - 1):.6g}" for n, loss in enumerate(self.losses, 1)
        ]
        return "\n".join(["step,loss,lr", *rows]) + "\n"

    def _not_a_number(self, step: int) -> str:
        saved = self.checkpoint.path.is_file()
        kept = f"the checkpoint of step {step // self.config.checkpoint_every * self.config.checkpoint_every}"
        return (
            f"{self.lesson.label}: the loss is not a number at step {step + 1} of {self.config.steps} with a learning "
            f"rate of {self.config.rate:g}; lower finetune.learning_rate. "
            + (f"Kept: {kept} in {self.checkpoint.path.parent}" if saved else "No checkpoint had been written yet")
        )
