"""YAML into the stages' frozen dataclasses.

Every default is a working one and YAML only overrides; a key that nobody reads is an error that
names the nearest right one, since a misspelt setting that is ignored makes a wrong study.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
Seed = Annotated[int, Field(ge=0, le=2**32 - 2)]  # scikit-learn takes 32 bits, and a split draws by the next one too
_UNKNOWN = "unexpected_keyword_argument"
STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


def load(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The config in a YAML file, with overrides such as `classifier.steps=40` laid over it."""
    return parse(cls, _read(path, overrides), str(path))


def load_part(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The sections of a greater config that `cls` has; the others are for their own readers to check.

    A section that is nearly one of these is refused as misspelt: its own reader would not know it either.
    """
    mapping, known = _read(path, overrides), _fields(cls, [])
    for name in mapping:
        nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.75)
        if nearest and name not in known:
            raise ConfigError(f"{path}: {name}: unknown key; did you mean {nearest[0]!r}?")
    return parse(cls, {name: value for name, value in mapping.items() if name in known}, str(path))


def parse(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """The config in a mapping; `where` begins the error's line."""
    try:
        return TypeAdapter(cls).validate_python(mapping)
    except ValidationError as fault:
        errors = cast("list[dict[str, Any]]", fault.errors())
        first = next((error for error in errors if error["type"] == _UNKNOWN), errors[0])  # it may be why others miss
        more = f" (and {len(errors) - 1} more)" if errors[1:] else ""
        raise ConfigError(f"{where}: {_sentence(cls, first)}{more}") from fault


def to_dict(config: object) -> dict[str, Any]:
    """Plain JSON types, every default filled in."""
    return cast("dict[str, Any]", TypeAdapter(type(config)).dump_python(config, mode="json"))


def _read(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read ({_reason(fault)}); give the path of a YAML config") from fault
    try:
        mapping = yaml.safe_load(text) or {}
    except yaml.YAMLError as fault:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(fault).split())})") from fault
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, not {type(mapping).__name__}")
    for override in overrides:
        _lay_over(mapping, override)
    return mapping


def _lay_over(mapping: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {override!r}: write it as key=value, e.g. classifier.steps=40")
    *parents, last = key.strip().split(".")
    for parent in parents:
        inner = mapping.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {parent} is a value, not a section")
        mapping = inner
    try:
        mapping[last] = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise ConfigError(f"override {override!r}: the value is not YAML") from fault


def _sentence(cls: type, error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    if error["type"] == _UNKNOWN:
        nearest = difflib.get_close_matches(path[-1], _fields(cls, path[:-1]), n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(_fields(cls, path[:-1]))}"
        return f"{name}: unknown key{hint}"
    value = repr(error["input"])
    given = f", got {value}" if len(value) <= 80 else ""  # noqa: PLR2004 - one line of a terminal
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {message}{given}" if name else f"{message}{given}"


def _fields(cls: Any, path: list[str]) -> list[str]:  # noqa: ANN401 - a type, nested as the config is
    for part in path:
        if dataclasses.is_dataclass(cls):  # else the part is a row's number or says which of a union's types is meant
            hints = {f.name: f.type for f in dataclasses.fields(cls)}
            fields = getattr(cls, "__pydantic_fields__", {})
            cls = fields[part].annotation if part in fields else hints.get(part)
    return [f.name for inner in _dataclasses_in(cls) for f in dataclasses.fields(inner)]


def _dataclasses_in(annotation: Any) -> list[Any]:  # noqa: ANN401 - a type, or a union or tuple of them
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _dataclasses_in(inner)]


def _reason(fault: Exception) -> str:
    return fault.strerror or "unreadable" if isinstance(fault, OSError) else "not UTF-8"
