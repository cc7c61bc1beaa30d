"""Paths in records without their user's name: what lies in the home folder is written as ~, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def without_home(value: Any) -> Any:  # noqa: ANN401 - plain JSON of any shape
    """Plain JSON whose texts that are paths in the user's home folder begin with ~."""
    home = str(Path.home())
    return value if home in ("", "/") else _each(value, home, "~")


def with_home(value: Any) -> Any:  # noqa: ANN401 - plain JSON of any shape
    """Plain JSON whose texts that begin with ~/ are paths in the user's home folder."""
    return _each(value, "~", str(Path.home()))


def _each(value: Any, old: str, new: str) -> Any:  # noqa: ANN401 - plain JSON of any shape
    if isinstance(value, dict):
        return {key: _each(one, old, new) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(one, old, new) for one in value]
    is_path = isinstance(value, str) and (value == old or value.startswith(f"{old}/"))
    return new + value[len(old) :] if is_path else value
