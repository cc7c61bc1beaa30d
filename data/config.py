"""Parses YAML into the stages' frozen dataclasses.

Every default works and YAML only overrides. An unknown key is an error that names the nearest known one: a misspelt
setting that is ignored would make a wrong study. A key from before 0.1.0 is an error that names its new one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import types
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import yaml
from pydantic import ConfigDict, Field, Tag, TypeAdapter, ValidationError

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
Seed = Annotated[int, Field(ge=0, le=2**32 - 2)]  # scikit-learn takes 32 bits; a split uses seed + 1 too
_UNKNOWN = "unexpected_keyword_argument"
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)  # PyYAML's own for 2024-13-01, 0x_ and [[[[...
_KEY = "[key]"  # pydantic's last part of the place of a mapping's key
_NO_MEMBER = {"union_tag_invalid", "union_tag_not_found"}
STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


def _renamed(section: str, **keys: str) -> dict[str, str]:
    return {f"{section}{old}": f"{section}{new}" for old, new in keys.items()}


RENAMED: Mapping[str, str] = {  # keys from before 0.1.0, and their present names
    **_renamed(
        "finetune.", clip="max_grad_norm", warmup="lr_warmup_steps", accumulate="gradient_accumulation_steps",
        prior_images="num_class_images", prior_weight="prior_loss_weight", prompt_dropout="caption_dropout",
        conv="conv_layers", flips="dihedral", classes_at_once="max_classes_per_batch",
        checkpoint_every="checkpointing_steps", offload="cpu_offload",
    ),
    **_renamed("finetune.preview.", guidance="guidance_scale", guidance_until="guidance_end"),
    **_renamed(
        "generate.", guidance="guidance_scale", guidance_until="guidance_end", decode_batch="vae_batch_size",
        draft="few_step", quality="jpeg_quality", schedule="preset",
    ),
    **_renamed("classifier.", average="ema_decay", clip="clip_grad", augment_on="augment_device"),
    **_renamed("split.", test="test_size", validation="val_size", folds="n_splits"),
    **_renamed("data.", further="extra_tables", rename="label_map", leave_out="exclude_ids"),
    **_renamed("data.test.", further="extra_tables", leave_out="exclude_ids"),
    **_renamed(
        "base.pretrain.", start="init_from", sizes="model", unnamed="class_dropout", plain="attribute_dropout",
        balance="class_balance",
    ),
    **_renamed(
        "base.pretrain.autoencoder.", recolour="color_jitter", leaves="dead_leaves",
        checkpoint_every="checkpointing_steps",
    ),
    **_renamed(
        "base.pretrain.denoiser.", min_snr="min_snr_gamma", unprompted="caption_dropout", ema="ema_decay",
        checkpoint_every="checkpointing_steps",
    ),
    **_renamed("prompts.", picture="modality", subject="superclass", words="class_names", phrases="templates"),
    **_renamed("", photographs="embed_real_images", runs="output_dir", study_seed="study_seeds"),
}  # fmt: skip


def load(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The config in a YAML file, with overrides such as `classifier.steps=40` laid over it."""
    return parse(cls, _read(path, overrides), str(path))


def load_part(cls: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """The sections of a larger config that `cls` has; the others are checked by their own readers.

    A section with nearly the name of one of these is refused as misspelt, and so is one from before 0.1.0.
    """
    mapping, known = _read(path, overrides), _field_names(cls)
    for name in mapping:
        if name in RENAMED:
            raise ConfigError(f"{path}: {_is_renamed(name, RENAMED[name])}")
        nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.75)
        if nearest and name not in known:
            raise ConfigError(f"{path}: {name}: unknown key; did you mean {nearest[0]!r}?")
    return parse(cls, {name: value for name, value in mapping.items() if name in known}, str(path))


def parse(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """The config in a mapping. Raises ConfigError, whose message begins with `where`."""
    try:
        return TypeAdapter(cls).validate_python(mapping)
    except ValidationError as fault:
        errors = cast("list[dict[str, Any]]", fault.errors())
        first = next((error for error in errors if error["type"] == _UNKNOWN), errors[0])  # may cause the others
        more = f" (and {len(errors) - 1} more)" if errors[1:] else ""
        raise ConfigError(f"{where}: {_message(cls, first)}{more}") from fault


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
    except _NOT_YAML as fault:
        raise ConfigError(
            f"{path}: is not YAML ({_yaml_fault(fault)}); correct it, or put the value in quotes"
        ) from fault
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
    except _NOT_YAML as fault:
        raise ConfigError(f"override {override[:200]!r}: the value is not YAML; put it in quotes") from fault


def _yaml_fault(fault: Exception) -> str:
    return "brackets within brackets, too many" if isinstance(fault, RecursionError) else " ".join(str(fault).split())


def _message(cls: type, error: dict[str, Any]) -> str:
    """One error of pydantic in one line: the setting's dotted name, what is wrong, and the value if it is short."""
    path, kinds = _resolve(cls, error["loc"])
    name = ".".join(path)
    if error["type"] == _UNKNOWN:
        return _unknown_key(path[:-1], path[-1], _field_names(kinds[-2]))
    if error["type"] in _NO_MEMBER:
        key, tags = _discriminator(kinds[-1])
        given = f", got {error['ctx']['tag']!r}" if "tag" in error.get("ctx", {}) else ""
        return f"{'.'.join([*path, *key])}: must be one of {', '.join(map(repr, tags))}{given}"
    if error["type"] == "string_type" and (how := _yaml_value(error["input"])):
        key = error["loc"][-1] == _KEY
        what = f"the name {error['input']!r} of a key" if key else f"{error['input']!r}"
        return f"{'.'.join(path[:-2] if key else path)}: {what} is {how} to YAML, and must be text; put it in quotes"
    value = repr(error["input"])
    given = f", got {value}" if len(value) <= 80 else ""  # noqa: PLR2004 - one line of a terminal
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {message}{given}" if name else f"{message}{given}"


def _yaml_value(value: object) -> str:
    """What YAML makes of a word that was written without quotes; empty for what is no such word."""
    if isinstance(value, bool):
        return f"the answer {'yes (written yes, on or true)' if value else 'no (written no, off or false)'}"
    if value is None:
        return "nothing (written null, ~ or left empty)"
    if isinstance(value, (int, float)):
        return "a number"
    return "a date" if isinstance(value, dt.date) else ""


def _unknown_key(section: list[str], key: str, known: list[str]) -> str:
    name = ".".join([*section, key])
    if name in RENAMED:
        return _is_renamed(name, RENAMED[name])
    for old, new in RENAMED.items():  # for a section that is read on its own
        old_key, new_key = old.rpartition(".")[2], new.rpartition(".")[2]
        if old_key == key and new_key in known:
            return _is_renamed(name, ".".join([*section, new_key]))
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
    return f"{name}: unknown key; {hint}"


def _is_renamed(old: str, new: str) -> str:
    return f"{old}: unknown key; it is called {new} now"


def _resolve(cls: Any, loc: Sequence[str | int]) -> tuple[list[str], list[Any]]:  # noqa: ANN401 - a type
    """The names in an error's location, and the type at each of them, `cls` first.

    pydantic puts the tag of the union's member that it tried into the location as well; no user wrote that.
    """
    names: list[str] = []
    kinds = [cls]
    for part in loc:
        members = _members(kinds[-1])
        if members[1:]:
            kinds[-1] = next((member for member in members if part in _tags(member)), None)
        else:
            names.append(str(part))
            kinds.append(_item(members[0], part))
    return names, kinds


def _members(kind: Any) -> list[Any]:  # noqa: ANN401
    """The members of a union but None; a type that is no union is its own only member."""
    if get_origin(kind) is Annotated and not any(isinstance(meta, Tag) for meta in get_args(kind)):
        return _members(get_args(kind)[0])
    union = get_origin(kind) in (Union, types.UnionType)
    return [member for member in get_args(kind) if member is not type(None)] if union else [kind]


def _item(kind: Any, part: str | int) -> Any:  # noqa: ANN401
    """The type of a dataclass's field, or of what a tuple, list or mapping holds; None for any other."""
    if isinstance(part, str) and part in (fields := _fields(kind)):
        return fields[part]
    inner = [one for one in get_args(_plain(kind)) if one is not ...]
    return inner[-1] if inner else None


def _discriminator(union: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
    """The key that chooses a union's member, if each member has it as a Literal field, and its values."""
    members = _members(union)
    keys = set.intersection(*(set(_literals(member)) for member in members))
    return sorted(keys)[:1], [_tags(member)[0] for member in members]


def _tags(member: Any) -> list[str]:  # noqa: ANN401
    """What an error's location may call a union's member."""
    tags = [str(meta.tag) for meta in get_args(member)[1:] if isinstance(meta, Tag)]
    values = [str(value) for values in _literals(member).values() for value in values]
    return [*tags, *values, getattr(_plain(member), "__name__", str(member))]


def _literals(kind: Any) -> dict[str, tuple[Any, ...]]:  # noqa: ANN401
    return {name: get_args(inner) for name, inner in _fields(kind).items() if get_origin(inner) is Literal}


def _field_names(kind: Any) -> list[str]:  # noqa: ANN401
    return [name for member in _members(kind) for name in _fields(member)]


def _fields(kind: Any) -> dict[str, Any]:  # noqa: ANN401
    """A dataclass's fields and their types; none for any other type."""
    cls = _plain(kind)
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
        return {}
    resolved = getattr(cls, "__pydantic_fields__", {})
    return {f.name: resolved[f.name].annotation if f.name in resolved else f.type for f in dataclasses.fields(cls)}


def _plain(kind: Any) -> Any:  # noqa: ANN401
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _reason(fault: Exception) -> str:
    return fault.strerror or "unreadable" if isinstance(fault, OSError) else "not UTF-8"
