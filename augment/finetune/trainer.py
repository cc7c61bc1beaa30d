"""One class on its way from the base to an adapter: its batches, optimiser, losses, checkpoint, previews and record.

Latents and prompts come encoded; a batch follows from the class's seed and the step's number, so a
resumed training ends in the same bytes as an uninterrupted one. Steps are made in `augment.finetune.loop`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from augment import device
from augment.checkpoint import Checkpoint
from augment.diffusion.sample import decode, sample_latents
from augment.diffusion.samplers import solver
from augment.finetune.config import FinetuneConfig
from augment.finetune.examples import EMPTY, INSTANCE, Batch, Lesson, draw, seed_for
from augment.finetune.optimizers import optimizer_for
from augment.finetune.preview import write_strip
from augment.lr_schedule import warm_cosine
from augment.methods import RECORD, method_for, trained
from augment.methods.batched_lora import Stack
from data.config import to_dict
from data.errors import InputError, TrainingError
from data.oom import in_chunks
from data.store import file_sha256, write_json, write_text

_FINAL = 20  # steps that the final loss is the mean of

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Training:
    """One class on its way from the base to an adapter."""

    base: StableDiffusionPipeline
    lesson: Lesson
    config: FinetuneConfig
    out: Path
    key: str  # of everything that the result depends on
    stack: Stack | None = None  # the UNet that it shares with other classes; None: a copy of its own
    losses: list[float] = field(default_factory=list)  # one a step done
    seconds: float = 0.0  # its share of the time that was spent

    def __post_init__(self) -> None:
        """Open the base for training, and go on from a checkpoint of the same key."""
        config = self.config
        self.parameters = self._open(seed_for(self.lesson.seed, "start"))
        self.where = next(self.pipe.unet.parameters()).device
        if config.gradient_checkpointing:
            self.pipe.unet.enable_gradient_checkpointing()
        self.optimizer = optimizer_for(list(self.parameters.values()), config, self.where)
        self.schedule = warm_cosine(config.steps, config.warmup)
        self.levels = len(solver(self.base).alphas_cumprod)
        with torch.no_grad():
            self._embeddings = self._encode_prompts()
        kind = "" if self.stack is None else "-stack"  # what a class of its own kept is laid out otherwise
        self.checkpoint = Checkpoint(self.out / "checkpoint" / f"{self.key[:16]}{kind}.pt")
        self.checkpoint.restore({"weights": self, "optimizer": self.optimizer})

    def _open(self, seed: int) -> dict[str, nn.Parameter]:
        """Take the pipeline that is trained; gives what of it is this class's own."""
        if self.stack is not None:
            self.pipe = self.stack.pipe
            self.denoise = self.stack.denoise
            return {"factors": self.stack.start(seed)}
        config = self.config
        self.method = method_for(config.method, rank=config.rank, conv=config.conv, text_encoder=config.text_encoder)
        self.pipe = self.method.open(self.base, seed)
        self.denoise = device.compiled(self.pipe.unet)
        return trained(self.pipe)

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint keeps beside the optimizer's state."""
        return {"parameters": {name: p.data for name, p in self.parameters.items()}, "losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        for name, parameter in self.parameters.items():
            parameter.data.copy_(state["parameters"][name])
        self.losses = list(state["losses"])

    @property
    def done(self) -> bool:
        """Whether the last step is made."""
        return len(self.losses) >= self.config.steps

    def batch(self) -> Batch:
        """What the next step learns from."""
        config = self.config
        weight, dropout = config.prior_weight, config.prompt_dropout
        return draw(self.lesson, len(self.losses), config.batch_size, self.levels, prior_weight=weight, dropout=dropout)

    def embeddings(self) -> Tensor:
        """What the denoiser is told by each prompt; encoded anew where the text encoder is trained."""
        return self._encode_prompts() if self.config.text_encoder else self._embeddings

    def clip(self) -> Tensor:
        """Shorten the gradient to the largest norm allowed; gives the norm that it had."""
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)

    def learn(self, loss: float, norm: float) -> None:
        """Make a step along the clipped gradient. Raises TrainingError if loss or norm is not a number."""
        step = len(self.losses)
        if not math.isfinite(loss) or not math.isfinite(norm):
            self.forget()
            raise TrainingError(self._not_a_number(step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * self.schedule(step)
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            if not self.losses:  # the first step makes the state, and takes what is half made for whole the next time
                self.optimizer.state.clear()
            raise
        self.forget()
        self.losses.append(loss)

    def forget(self) -> None:
        """Drop the gradient."""
        self.optimizer.zero_grad(set_to_none=True)

    def keep(self) -> None:
        """Write the checkpoint and the preview that are due after this step."""
        config, done = self.config, len(self.losses)
        if done % config.checkpoint_every == 0 and not self.done:
            self.checkpoint.save(done, {"weights": self, "optimizer": self.optimizer})
        if config.preview_every and (done % config.preview_every == 0 or self.done):
            self._preview(done)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the adapter, its record last."""
        weights = self._save()
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

    def _save(self) -> Path:
        if self.stack is None:
            return self.method.save(self.pipe, self.out)
        return self.stack.save(self.parameters["factors"], self.out)

    def _encode_prompts(self) -> Tensor:
        embedded: Tensor = self.pipe.encode_prompt(
            list(self.lesson.prompts), self.where, 1, do_classifier_free_guidance=False
        )[0]
        return embedded

    def _preview(self, step: int) -> None:
        """Write a strip of images, or say why there is none: no training ends for want of a preview."""
        missing = ""
        try:
            if self.config.offload:
                device.to_device_only(self.base, self.where, "vae", "text_encoder")
            write_strip(decode(self.base, self._drawn(), self.config.coded_at_once), self._strip(step))
        except torch.OutOfMemoryError:
            missing = "not even one image at a time fits the device's memory"
        except InputError as fault:
            missing = str(fault)
        finally:
            if self.config.offload:
                device.offload(self.base)
        if missing:
            log.warning("%s: no preview of step %d: %s", self.lesson.label, step, missing)
            device.free_memory()

    @torch.no_grad()
    def _drawn(self) -> Tensor:
        """Latents of a preview's images: all in one batch, or as many at a time as fit."""
        config = self.config.preview
        seeds = [seed_for("preview", index) for index in range(config.batch_size)]
        size = int(self.lesson.means.shape[-1] * self.base.vae_scale_factor)
        with device.autocast(self.where):
            if self.stack is not None:
                self.stack.bear([self.parameters["factors"]])
            encoded = torch.split(self.embeddings(), 1)

            def batch(part: slice) -> Tensor:
                few = dataclasses.replace(config, batch_size=len(seeds[part]))
                return sample_latents(self.pipe, encoded[INSTANCE], encoded[EMPTY], seeds[part], few, size)

            return torch.cat(in_chunks(batch, len(seeds), config.batch_size)[0])

    def _strip(self, step: int) -> Path:
        return self.out / "previews" / f"step-{step:06d}.jpg"

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
