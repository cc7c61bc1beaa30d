"""Images that start from a photograph: as a whole (image to image), or where a mask says so (inpainting).

A photograph's latents are noised to the level that a strength gives, and denoised from there. Outside a mask they are
replaced after every step by the photograph's own at that step's level, and its pixels are pasted back in the end.
Outpainting is inpainting on a padded photograph. Meng et al. 2022, "SDEdit"; Lugmayr et al. 2022, "RePaint".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from data.errors import ConfigError, DataError
from data.oom import with_oom_backoff

_BATCH = 8  # images encoded at a time, or fewer where so many do not fit the device's memory
_RADIUS = 3  # of the mask's Gaussian, in sigmas; beyond it a photograph's bytes are kept


@dataclass(frozen=True, kw_only=True)
class Canvases:
    """Images to edit: the photograph of each, where it is redrawn, and how strongly."""

    photographs: UInt8[np.ndarray, "sources h w 3"]
    names: Sequence[str]  # of the photographs, for messages
    index: Sequence[int]  # photographs[index[i]] is image i's
    strengths: Sequence[float]  # of each image: share of the steps that are made; 1 forgets the photograph
    redraw: Bool[np.ndarray, "sources h w"] | None = None  # None: everywhere
    mask_blur: float = 2.0  # sigma in pixels of the Gaussian that the mask is feathered with

    def __post_init__(self) -> None:
        """Raises DataError for a mask of another size than the photographs, and for an empty or full one."""
        if self.redraw is None:
            return
        if self.redraw.shape != self.photographs.shape[:3]:
            raise DataError(
                f"masks of {self.redraw.shape} and photographs of {self.photographs.shape[:3]}; "
                "give a mask of its own size for each photograph"
            )
        for name, mask in zip(self.names, self.redraw, strict=True):
            if mask.all() or not mask.any():
                raise DataError(
                    f"{name}: its mask is {'full' if mask.any() else 'empty'}; correct it, leave the image out "
                    "(data.exclude_ids), or take generate.edit.mode: img2img"
                )

    def __len__(self) -> int:
        return len(self.index)

    def part(self, rows: slice) -> Canvases:
        """Some of the images."""
        return replace(self, index=self.index[rows], strengths=self.strengths[rows])

    def padded(self, n: int) -> Canvases:
        """The images, the last one repeated up to n."""
        missing = n - len(self)
        return replace(
            self,
            index=[*self.index, *[self.index[-1]] * missing],
            strengths=[*self.strengths, *[self.strengths[-1]] * missing],
        )

    def batch_from(self, first: int, batch_size: int) -> slice:
        """At most so many images from the first that have one strength: they start at one step."""
        last = min(first + batch_size, len(self))
        same = (i for i in range(first, last) if self.strengths[i] != self.strengths[first])
        return slice(first, next(same, last))

    @cached_property
    def feathers(self) -> Float[np.ndarray, "sources h w"]:
        """The share of the redrawn image in each pixel; exactly 0 and 1 at three sigmas from the mask's border."""
        if self.redraw is None:
            return np.ones(self.photographs.shape[:3], np.float32)
        return np.stack([_blurred(mask.astype(np.float32), self.mask_blur) for mask in self.redraw])

    def paste(self, drawn: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
        """The redrawn images with the kept pixels of their photographs pasted back."""
        if self.redraw is None:
            return drawn
        share, kept = self.feathers[list(self.index)][..., None], self.photographs[list(self.index)]
        mixed = share * drawn.astype(np.float32) + (1 - share) * kept.astype(np.float32)
        return np.asarray(np.round(mixed).astype(np.uint8))


@dataclass(frozen=True, kw_only=True)
class LatentEdit:
    """A batch of canvases in latents, at one strength, for a scheduler whose timesteps are set."""

    scheduler: Any  # diffusers has no common type
    start: int  # the first call of the denoiser
    clean: Float[Tensor, "n c h w"]  # the photographs'
    noise: Float[Tensor, "n c h w"]  # of each image's seed
    redraw: Float[Tensor, "n 1 h w"] | None  # 1 where it is redrawn

    @staticmethod
    def of(
        pipe: StableDiffusionPipeline,
        canvases: Canvases,
        scheduler: Any,  # noqa: ANN401 - diffusers has no common type
        noise: Float[Tensor, "n c h w"],
    ) -> LatentEdit:
        """A batch of as many canvases as there is noise for. Raises ConfigError for a strength that makes no step."""
        (strength,) = set(canvases.strengths)
        used, place = np.unique(canvases.index, return_inverse=True)  # each photograph is encoded once
        clean = encode(pipe, canvases.photographs[used])[place]
        redraw = None
        if canvases.redraw is not None:
            masks = torch.from_numpy(canvases.redraw[list(canvases.index)]).to(noise)
            redraw = torch.nn.functional.max_pool2d(masks[:, None], pipe.vae_scale_factor)
        start = start_of(scheduler, strength)
        return LatentEdit(scheduler=scheduler, start=start, clean=clean, noise=noise, redraw=redraw)

    def starting_latents(self) -> Float[Tensor, "n c h w"]:
        """The photographs at the first step's noise level; nothing but noise where they are redrawn at strength 1."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(self.start)
        noised = self._noised(self.start)
        drawn = noised if self.start else self.noise * self.scheduler.init_noise_sigma
        return self._with_kept(drawn, noised)

    def after_step(self, step: int, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The latents with the kept part at the noise level that they have after a call of the denoiser.

        A scheduler that needs two calls to pass a noise level is left alone after the first.
        """
        done = step + 1
        is_last = done == len(self.scheduler.timesteps)
        if self.redraw is None or (done % self.scheduler.order and not is_last):
            return latents
        return self._with_kept(latents, self.clean if is_last else self._noised(done))

    def _with_kept(self, drawn: Tensor, kept: Tensor) -> Tensor:
        return drawn if self.redraw is None else torch.where(self.redraw > 0, drawn, kept)

    def _noised(self, call: int) -> Tensor:
        """The photographs at the noise level before a call of the denoiser, which the scheduler stands at."""
        timesteps = self.scheduler.timesteps[call].expand(len(self.clean))
        noised: Tensor = self.scheduler.add_noise(self.clean, self.noise, timesteps)
        return noised


def start_of(scheduler: Any, strength: float) -> int:  # noqa: ANN401 - diffusers has no common type
    """The first call of the denoiser for a strength, as diffusers counts: the last `steps * strength` steps are made.

    Raises ConfigError if that is none.
    """
    n_steps = math.ceil(len(scheduler.timesteps) / scheduler.order)
    return int(scheduler.order * (n_steps - steps_of(n_steps, strength)))


def steps_of(steps: int, strength: float) -> int:
    """How many of the steps a strength makes. Raises ConfigError for none."""
    made = min(steps, math.floor(steps * strength + 1e-6))
    if made < 1:
        raise ConfigError(
            f"strength {strength:g} of {steps} steps makes none; raise it to {1 / steps:.2g} or take more steps"
        )
    return made


@torch.inference_mode()
def encode(
    pipe: StableDiffusionPipeline, photographs: UInt8[np.ndarray, "n h w 3"]
) -> Float[Tensor, "n c latent_h latent_w"]:
    """Latents in float32, multiplied by the VAE's scaling factor: the mean of its posterior."""
    vae = pipe.vae

    def work(part: slice) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(photographs[part])).permute(0, 3, 1, 2).float() / 127.5 - 1
        encoded = vae.encode(pixels.to(vae.device, vae.dtype))
        tiny = getattr(encoded, "latents", None)  # an AutoencoderTiny has no posterior
        mean: Tensor = encoded.latent_dist.mean if tiny is None else tiny
        return mean.float() * float(vae.config.scaling_factor)

    latents: Tensor = torch.cat(with_oom_backoff(work, len(photographs), _BATCH)[0])
    return latents


def outpainted(
    photographs: UInt8[np.ndarray, "n h w 3"], padding: float
) -> tuple[UInt8[np.ndarray, "n h w 3"], Bool[np.ndarray, "n h w"]]:
    """Photographs made smaller with their edges repeated around them, and the masks of what is around.

    `padding` is the share of the height and width on each side. Raises ConfigError if it leaves no pixel, or is none.
    """
    height, width = photographs.shape[1:3]
    y, x = round(padding * height), round(padding * width)
    if min(y, x) < 1 or height <= 2 * y or width <= 2 * x:
        raise ConfigError(f"generate.edit.padding {padding:g} of {height} x {width} pixels is {y} x {x}; change it")
    smaller = [cv2.resize(each, (width - 2 * x, height - 2 * y), interpolation=cv2.INTER_AREA) for each in photographs]
    padded = [cv2.copyMakeBorder(each, y, y, x, x, cv2.BORDER_REPLICATE) for each in smaller]
    around = np.ones((len(photographs), height, width), bool)
    around[:, y : height - y, x : width - x] = False
    return np.stack(padded), around


def _blurred(mask: Float[np.ndarray, "h w"], sigma: float) -> Float[np.ndarray, "h w"]:
    if sigma == 0:
        return mask
    width = 2 * math.ceil(_RADIUS * sigma) + 1
    blurred = cv2.GaussianBlur(mask, (width, width), sigma, borderType=cv2.BORDER_REPLICATE)
    blurred[cv2.erode(mask, np.ones((width, width), np.uint8)) == 1] = 1  # a sum of the kernel may be rounded
    return np.asarray(blurred)
