"""Samplers by name: diffusers' class names, the webui's labels and the table's own names mean the same.

`DPM++ 2M Karras`, `dpm++-2m-karras` and `DPMSolverMultistepScheduler` with `karras` name one sampler; records have the
second form.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import get_args

from augment.diffusion.sampler_table import SAMPLERS, Sampler, Spacing
from data.errors import ConfigError

REFUSED = {
    "dpm-adaptive": "chooses its steps by the error of the whole batch, so an image would depend on the others in it; "
    "take dpm++-2m or unipc",
}


@dataclass(frozen=True)
class NamedSampler:
    """A row of SAMPLERS, and the spacing of its noise levels."""

    name: str
    spacing: Spacing | None  # None: the base's own timesteps

    @property
    def row(self) -> Sampler:
        """The sampler's row in the table."""
        return SAMPLERS[self.name]

    def __str__(self) -> str:
        return self.name if self.spacing is None else f"{self.name}-{self.spacing}"


def sampler_named(name: str, spacing: Spacing | None = None) -> NamedSampler:
    """The sampler of a name, which may end in a spacing. Raises ConfigError.

    `spacing` is that of a separate setting; it must not contradict the name's.
    """
    named = _found(name)
    if spacing is not None and named.spacing not in (None, spacing):
        raise ConfigError(
            f"{name} has {named.spacing} noise levels and sigmas asks for {spacing}; leave one of them out"
        )
    chosen = NamedSampler(named.name, spacing or named.spacing)
    if chosen.spacing is not None and chosen.spacing not in chosen.row.spacings:
        takes = ", ".join(chosen.row.spacings) or "its own noise levels alone"
        raise ConfigError(f"{chosen.name} cannot have {chosen.spacing} noise levels in diffusers; it takes {takes}")
    return chosen


def canonical_name(name: str) -> str:
    """The form that records have. Raises ConfigError."""
    return str(sampler_named(name))


def _found(name: str) -> NamedSampler:
    wanted, rows = _key(name), _rows()
    for refused, reason in REFUSED.items():
        if wanted.startswith(_key(refused)):
            raise ConfigError(f"{refused} is not offered: it {reason}")
    if wanted in rows:
        return NamedSampler(rows[wanted], None)
    for spacing in get_args(Spacing):
        if wanted.endswith(spacing) and wanted.removesuffix(spacing) in rows:
            return NamedSampler(rows[wanted.removesuffix(spacing)], spacing)
    close = dict.fromkeys(rows[key] for key in difflib.get_close_matches(wanted, rows, n=9, cutoff=0.5))
    raise ConfigError(f"no sampler is called {name!r}; take {', '.join([*close][:3] or SAMPLERS)}")


def _rows() -> dict[str, str]:
    """The table's name of every accepted name, as `_key` writes it."""
    return {_key(each): name for name, row in SAMPLERS.items() for each in (name, *row.names)}


def _key(name: str) -> str:
    """A name without case, blanks, hyphens and diffusers' ending."""
    return re.sub(r"[^a-z0-9+]", "", name.lower()).replace("scheduler", "")
