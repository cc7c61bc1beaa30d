"""From latents to pixels."""

from augment.diffusion.sample import decode

__all__ = ["decode"]
