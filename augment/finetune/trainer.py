"""One class from the base to an adapter: its parameters, optimizer, losses, checkpoint, previews and record.

The steps themselves, of one class or of many in one batch, are in `augment.finetune.loop`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from torch import Tensor

from augment.context import Context
from augment.diffusion.conditioning import encode_prompts
from augment.diffusion.prompt_chunks import count_chunks
from augment.diffusion.samplers import alphas_cumprod
from augment.finetune.drawn import choice_images, preview_images
from augment.finetune.examples import INSTANCE, Batch, ClassExamples, training_batch
from augment.finetune.held_out import HeldOutLoss
from augment.finetune.optimizers import optimizer_for
from augment.finetune.preview import remove_later_strips, strip_path, write_strip
from augment.finetune.select import Selection, StepChoice
from augment.finetune.stopping import Announcement
from augment.methods.contract import FinetuneSettings, Trainable
from augment.methods.record import HELD_OUT_TABLE, AdapterRecord, ChosenStep, Stopped
from augment.training.checkpoint import Checkpoint
from augment.training.lr_schedule import warm_cosine
from data.config import to_dict
from data.errors import TrainingError
from data.splits.provenance import Provenance
from data.store import derive_seed, file_sha256, write_text

_FINAL = 20  # steps that the final loss is the mean of


@dataclass(eq=False)
class ClassTrainer:
    """One class in training; it resumes from a checkpoint of the same key in its folder."""

    base: StableDiffusionPipeline  # frozen; where `cpu_offload` is set its modules come to the device for previews only
    trainable: Trainable
    examples: ClassExamples
    config: FinetuneSettings
    out: Path
    key: str  # digest of everything that the result depends on
    choice: StepChoice | None = None  # None: the last step is kept
    held_out: HeldOutLoss | None = None  # None: the config asks for none
    announcement: Announcement | None = None  # through which others can ask it to stop; None: nobody can
    stopped: bool = False  # by such a request, before the last step
    losses: list[float] = field(default_factory=list)  # one per step done
    seconds: float = 0.0  # its share of the time spent

    def __post_init__(self) -> None:
        """Make the class's parameters and encode its prompts."""
        config = self.config
        self.device = self.trainable.pipe.unet.device
        self.parameters = self.trainable.parameters(derive_seed(self.examples.seed, "start"), self.examples.class_name)
        self.optimizer = optimizer_for(list(self.parameters.values()), config, self.device)
        self.lr_schedule = warm_cosine(config.steps, config.lr_warmup_steps)
        self.num_train_timesteps = len(alphas_cumprod(self.base))
        self.n_chunks = count_chunks(self.trainable.pipe, self.examples.prompts)
        if self.examples.preview_prompt:
            count_chunks(self.trainable.pipe, [self.examples.preview_prompt])  # refuses words that cannot be read
        with torch.no_grad():
            self._prompt_embeds = None if config.text_encoder else self._encode_prompts()
        self.checkpoint = Checkpoint(self.out / "checkpoint" / f"{self.key[:16]}.pt")
        self.checkpoint.restore({"weights": self, "optimizer": self.optimizer})

    def state_dict(self) -> dict[str, object]:
        """What a checkpoint holds beside the optimizer's state."""
        parameters = {name: parameter.data for name, parameter in self.parameters.items()}
        state: dict[str, object] = {"parameters": parameters, "losses": self.losses}
        if self.held_out is not None:
            state["held_out"] = self.held_out.points
        return state if self.choice is None else {**state, "choice": self.choice.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore parameters, losses, held-out losses and the choice of the step so far."""
        self._set_parameters(state["parameters"])
        self.losses = list(state["losses"])
        if self.choice is not None:
            self.choice.load_state_dict(state["choice"])
        if self.held_out is not None:  # which may have been off until then
            self.held_out.points = [(step, loss) for step, loss in state.get("held_out", [])]

    @property
    def done(self) -> bool:
        """Whether the last step is done, or the class has stopped early, by itself or by request."""
        if self.stopped or len(self.losses) >= self.config.steps:
            return True
        return self.choice is not None and self.choice.stopped

    def take_request(self) -> None:
        """Stop after this step if somebody has asked for that; not before the first, which an adapter needs."""
        if self.announcement is not None and self.losses and not self.done:
            self.stopped = self.announcement.stop_requested

    def batch(self) -> Batch:
        """The next step's batch."""
        return training_batch(
            self.examples,
            len(self.losses),
            self.config.batch_size,
            num_train_timesteps=self.num_train_timesteps,
            caption_dropout=self.config.caption_dropout,
        )

    def prompt_embeds(self) -> Float[Tensor, "prompts tokens width"]:
        """The embeddings of the class's prompts; a text encoder that is trained has to be bound to this class."""
        return self._encode_prompts() if self._prompt_embeds is None else self._prompt_embeds

    def clip_grad_norm(self) -> Float[Tensor, ""]:
        """Scale the gradient down to the largest norm allowed; returns the norm that it had."""
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.max_grad_norm)

    def optimizer_step(self, loss: float, grad_norm: float) -> None:
        """Make a step along the gradient. Raises TrainingError if loss or norm is not finite."""
        step = len(self.losses)
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            self.zero_grad()
            raise TrainingError(self._not_finite(step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError:
            if not self.losses:  # the first step creates the state; the next try would use a partial one as it is
                self.optimizer.state.clear()
            raise
        self.zero_grad()
        self.losses.append(loss)

    def zero_grad(self) -> None:
        """Free the gradient."""
        self.optimizer.zero_grad(set_to_none=True)

    def save_checkpoint(self) -> None:
        """Write a checkpoint, if one is due after this step."""
        steps = len(self.losses)
        if steps % self.config.checkpointing_steps == 0 and not self.done:
            self.checkpoint.save(steps, {"weights": self, "optimizer": self.optimizer})

    def save_preview(self) -> None:
        """Write a strip of images, if one is due after this step; if that fails, warn and go on."""
        steps, every = len(self.losses), self.config.preview_every
        if not every or (steps % every and not self.done):
            return
        images = preview_images(self)
        if images is not None:
            write_strip(images, strip_path(self.out, steps))
            self.write_tables()

    def measure_held_out(self) -> None:
        """Compute the held-out loss, if that is due after this step."""
        if self.held_out is not None and self.held_out.measure(self):
            self.write_tables()

    def write_tables(self) -> None:
        """Write the losses so far, and the held-out ones, for whoever looks on."""
        write_text(self.out / "loss.csv", self._loss_table())
        if self.held_out is None or not self.held_out.points:
            (self.out / HELD_OUT_TABLE).unlink(missing_ok=True)
        else:
            write_text(self.out / HELD_OUT_TABLE, self.held_out.table())

    def select_step(self) -> None:
        """Measure the adapter for the choice of the kept step, if that is due; if it fails, warn and go on."""
        step = len(self.losses)
        if self.choice is None or not self.choice.is_due(step, step if self.stopped else self.config.steps):
            return
        images = choice_images(self)
        if images is not None:
            self.choice.add(step, images, self.parameters)

    def export(
        self,
        *,
        base: dict[str, Any],
        context: Context,
        provenance: Provenance,
        trained_with: Sequence[str],
        selection: Selection | None = None,
    ) -> AdapterRecord:
        """Write the adapter of the kept step into its folder, the record last, and delete the checkpoint."""
        self.out.mkdir(parents=True, exist_ok=True)
        step = self.choice.step if self.choice else None
        if self.choice is not None and step is not None:
            self._set_parameters(self.choice.parameters)
            write_text(self.out / "choice.csv", self.choice.table())
        weights = self.trainable.save(self.parameters, self.out)
        self.write_tables()
        remove_later_strips(self.out, len(self.losses))
        record = AdapterRecord(
            method=self.config.method,
            display_name=self.config.display_name,
            label=self.examples.label,
            prompt=self.examples.prompts[INSTANCE],
            negative_prompt="",
            token=self.config.token,
            steps=len(self.losses),
            final_loss=float(np.mean(self.losses[:step][-_FINAL:])),
            config=to_dict(self.config),
            key=self.key,
            weights=weights.relative_to(self.out).as_posix(),
            sha256=file_sha256(weights),
            base=base,
            provenance=provenance,
            pixels=to_dict(context.pixels),
            seed=context.seed,
            trained_with=list(trained_with),
            seconds=round(self.seconds, 2),
            chosen=None if selection is None else self._chosen(selection, step),
            held_out=None if self.held_out is None else self.held_out.record(),
            stopped=Stopped(step=len(self.losses), of=self.config.steps) if self.stopped else None,
        )
        record.write(self.out)
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)
        return record

    def _set_parameters(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.data.copy_(values[name])

    def _chosen(self, selection: Selection, step: int | None) -> ChosenStep:
        """The record of the kept step, and what chose it."""
        label, held_out = self.examples.label, selection.held_out.get(self.examples.label)
        if step is None or held_out is None:
            reason = selection.reasons.get(label, "its images could not be drawn while it was trained")
            return ChosenStep(step=len(self.losses), reason=reason)
        return ChosenStep(
            step=step,
            images=self.config.select_images,
            features=selection.features_name,
            held_out=len(held_out),
            origin=selection.origin,
            chosen_by=Provenance.of(held_out),
        )

    def _encode_prompts(self) -> Float[Tensor, "prompts tokens width"]:
        return encode_prompts(self.trainable.pipe, self.examples.prompts)

    def _learning_rate(self, step: int) -> float:
        return self.config.learning_rate * self.lr_schedule(step)

    def _loss_table(self) -> str:
        rows = [f"{n},{loss:.6g},{self._learning_rate(n - 1):.6g}" for n, loss in enumerate(self.losses, 1)]
        return "\n".join(["step,loss,lr", *rows]) + "\n"

    def _not_finite(self, step: int) -> str:
        every, path = self.config.checkpointing_steps, self.checkpoint.path
        kept = f"Kept: the checkpoint of step {step // every * every} in {path.parent}"
        return (
            f"{self.examples.label}: the loss is not finite at step {step + 1} of {self.config.steps} with a "
            f"learning rate of {self.config.learning_rate:g}; lower finetune.learning_rate. "
            + (kept if path.is_file() else "No checkpoint had been written yet")
        )
