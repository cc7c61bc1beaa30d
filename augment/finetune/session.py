"""What the classes of one call of `finetune` share: the loaded base, what is trained on it, the prior."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from torch import Tensor

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.context import Context
from augment.diffusion.sample import require_size
from augment.finetune.examples import ClassExamples, class_prompts, encode_posteriors, sample_prior
from augment.finetune.held_out import HeldOut, HeldOutLoss
from augment.finetune.loop import OnStep, train
from augment.finetune.optimizers import require_optimizer
from augment.finetune.select import Selection, StepChoice
from augment.finetune.stopping import Announcement
from augment.finetune.trainer import ClassTrainer
from augment.methods.contract import FinetuneSettings, Trainable
from augment.methods.init_lora import init_provenance
from augment.prompts import fill_name, words_for
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import load_pixels
from data.splits.provenance import Provenance
from data.store import derive_seed


@dataclass(frozen=True)
class FinetuneSession:
    """What the classes of one call share."""

    base: BaseConfig
    pipe: StableDiffusionPipeline  # the base, frozen
    trainable: Trainable
    prior_latents: Float[Tensor, "n c h w"]
    config: FinetuneSettings
    context: Context
    device: torch.device
    seconds: float  # spent on these, for each class
    selection: Selection | None = None  # what each class's step is chosen by; None: the last one is kept
    held_out: HeldOut | None = None  # whose loss stands beside the training's; None: nobody's
    run: Path | None = None  # the run's folder, through which classes are asked to stop; None: nobody can ask

    @classmethod
    def prepare(
        cls,
        base: BaseConfig,
        config: FinetuneSettings,
        context: Context,
        classes: int,
        selection: Selection | None = None,
        held_out: HeldOut | None = None,
        run: Path | None = None,
    ) -> FinetuneSession:
        """Load the base, sample the prior and make what is trained. Raises ConfigError, BaseError."""
        start, device = time.monotonic(), devices.default_device()
        require_optimizer(config, device)
        pipe = devices.to_device(load_base(base), device, torch.float32)
        for part in (pipe.unet, pipe.text_encoder, pipe.vae):
            part.requires_grad_(requires_grad=False)
        require_size(pipe, context.pixels.size)
        prior = sample_prior(pipe, config.prior_preservation, context)
        if config.cpu_offload:  # before the UNet is copied: a small GPU would not hold two
            devices.offload(pipe)
        trainable = config.trainable(pipe, device)
        if config.gradient_checkpointing:
            trainable.pipe.unet.enable_gradient_checkpointing()
        seconds = (time.monotonic() - start) / classes
        return cls(base, pipe, trainable, prior, config, context, device, seconds, selection, held_out, run)

    def train(
        self, shots: Mapping[str, Manifest], out: Mapping[str, Path], keys: Mapping[str, str], on_step: OnStep
    ) -> Iterator[tuple[str, float]]:
        """Train these classes in one batch; yields label and seconds of each whose adapter is written."""
        trainers = [self._trainer(label, few, out[label], keys[label]) for label, few in shots.items()]
        self._offload()
        with self._announced(trainers):
            for trainer in train(trainers, max_classes=self.trainable.max_classes, on_step=on_step):
                if trainer.announcement:
                    trainer.announcement.withdraw()
                label = trainer.examples.label
                trainer.export(
                    base=base_identity(self.base),
                    context=self.context,
                    provenance=self._provenance(shots[label]),
                    trained_with=list(shots),
                    selection=self.selection,
                )
                yield label, trainer.seconds

    @contextmanager
    def _announced(self, trainers: Sequence[ClassTrainer]) -> Iterator[None]:
        """Let others ask these classes to stop, where the run's folder is known."""
        with ExitStack() as withdrawn:
            for trainer in trainers:
                if self.run is not None:
                    trainer.announcement = Announcement(self.run, trainer.examples.label)
                    withdrawn.callback(trainer.announcement.withdraw)
            yield

    def _provenance(self, shots: Manifest) -> Provenance:
        """What a class's adapter is trained on, and what the LoRA was that it starts from."""
        start: str | None = getattr(self.config, "init_lora", None)  # LoRA's alone
        return Provenance.of(shots) | (
            Provenance() if start is None else init_provenance(Path(start), base_identity(self.base))
        )

    def _trainer(self, label: str, shots: Manifest, out: Path, key: str) -> ClassTrainer:
        """One class, ready to be trained."""
        start = time.monotonic()
        self._offload("vae")
        examples, held_out = self._examples(label, shots), self._held_out_loss(label)
        self._offload("text_encoder")
        choice = self._choice(label)
        trainer = ClassTrainer(self.pipe, self.trainable, examples, self.config, out, key, choice, held_out)
        trainer.seconds = self.seconds + time.monotonic() - start
        return trainer

    def _choice(self, label: str) -> StepChoice | None:
        """What chooses a class's step; None: its last one is kept."""
        held_out = self.selection.held_out.get(label) if self.selection else None
        if self.selection is None or held_out is None or self.config.select_every is None:
            return None
        features = self.selection.features
        real = features(load_pixels(held_out, self.context.pixels, self.context.cache))
        return StepChoice(real, features, self.config.select_every, self.config.patience)

    def _held_out_loss(self, label: str) -> HeldOutLoss | None:
        """What a class's held-out loss is computed from, or why it has none; None where the config asks for none."""
        every, source = self.config.held_out_every, self.config.condition_source
        if not every or self.held_out is None:
            return None
        photographs = self.held_out.photographs.get(label)
        if photographs is None:
            return HeldOutLoss(every=every, reason=self.held_out.reasons.get(label, "no photographs are held out"))
        pixels = load_pixels(photographs, self.context.pixels, self.context.cache)
        try:
            made = None if source is None else source.images(pixels, photographs, self.context.pixels)
        except DataError as fault:  # such as a mask that is not there, which the training does not need
            return HeldOutLoss(every=every, reason=str(fault))
        means, _ = encode_posteriors(self.pipe, pixels, dihedral=False, batch_size=self.config.vae_batch_size)
        rows = range(len(photographs))
        return HeldOutLoss(
            every=every,
            latents=means[:, 0],
            condition=None if made is None else made.turned(rows, [0] * len(rows)),
            origin=self.held_out.origin,
            provenance=Provenance.of(photographs),
        )

    def _offload(self, *needed: str) -> None:
        """Where `cpu_offload` is set: keep only these modules of the base on the device."""
        if self.config.cpu_offload:
            devices.to_device_only(self.pipe, self.device, *needed)

    def _examples(self, label: str, shots: Manifest) -> ClassExamples:
        config, context = self.config, self.context
        prompts, prompt_index = class_prompts(
            label, shots, config.token, context.prompts, token_replaces_class=config.token_replaces_class
        )
        pixels, batch_size = load_pixels(shots, context.pixels), config.vae_batch_size
        means, stds = encode_posteriors(self.pipe, pixels, dihedral=config.dihedral, batch_size=batch_size)
        prior, source = config.prior_preservation, config.condition_source
        return ClassExamples(
            label=label,
            seed=derive_seed(context.seed, label),
            prompts=prompts,
            means=means,
            stds=stds,
            prior_latents=self.prior_latents,
            prior_loss_weight=prior.loss_weight if prior else 0.0,
            prompt_index=prompt_index,
            class_name=words_for(label, context.prompts.class_names),
            conditions=None if source is None else source.images(pixels, shots, context.pixels),
            preview_prompt=self._preview_prompt(label),
        )

    def _preview_prompt(self, label: str) -> str:
        """The config's prompt of previews with the class's name; "": the class's own prompt."""
        config = self.config
        if config.preview_prompt is None:
            return ""
        return fill_name(
            config.preview_prompt, label, config.token, self.context.prompts,
            token_replaces_class=config.token_replaces_class,
        )  # fmt: skip
