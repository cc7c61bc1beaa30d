"""The kinds of input that are fuzzed: how examples are made, and how they are read.

Bytes of sound files are changed, cut and doubled; tables and configs are also put together from cells, headers, keys
and values that are known to be awkward.
"""

import contextlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from PIL import Image
from reliability_fuzz import Target
from safetensors.torch import save as tensors_to_bytes

from augment.base.config import BaseConfig
from augment.base.embedding_files import read_embedding
from augment.base.load import load_base
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from classify.model import read_weights
from data.errors import InputError
from data.files.archives import image_files
from data.pixels import PixelConfig, image_header, read_image
from data.sources.load import DataConfig, load_manifest
from data.sources.tables import Columns
from flows.study import load_study


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of the originals with bytes changed, cut out, put in or doubled, or cut short."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 64))
        match draw(st.integers(0, 4)):
            case 0:
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                content[place : place + 4] = draw(st.sampled_from(_NUMBERS))
            case 2:
                del content[place : place + length]
            case 3:
                content[place:place] = content[place : place + length] or draw(st.binary(max_size=64))
            case _:
                del content[place:]
    return bytes(content)


_NUMBERS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\0\0\0", b"\0\0\0\x80"]


def _images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    image, found = Image.fromarray(pixels), []
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, more in (
        ("JPEG", {}), ("JPEG", {"progressive": True, "exif": exif}), ("PNG", {}), ("PNG", {"exif": exif}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {}), ("BMP", {}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        image.save(buffer, kind, **more)
        found.append(buffer.getvalue())
    for mode in ("L", "RGBA", "P", "1", "I;16"):
        buffer = io.BytesIO()
        (Image.new("I;16", (9, 12), 700) if mode == "I;16" else image.convert(mode)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def _read_image(content: bytes, folder: Path) -> None:
    path = folder / "x.jpg"
    path.write_bytes(content)
    image_header(path)
    read_image(path, PixelConfig(size=16))


_CELLS = st.sampled_from(
    ["a", "b", "a.png", "b.png", "nv", "mel", "1", "0", "1.0", "", " ", "NA", "image", "unknown", "../a.png",
     "/etc/passwd", "a\0b", "a\nb", '"', "'", "=1+1", "é", "\ufeff", "\u202e", "x" * 300, "a/b", ".", "..", "HAM_1",
     "IL_1", "nan", "1e999", "$HOME", "~", "\\", "%s", "{}", "<script>", "\ud800"]
)  # fmt: skip
_HEADERS = st.sampled_from(
    ["image_id", "image", "label", "dx", "lesion_id", "patient_id", "group_id", "nv", "mel", "path", "root", "source",
     "file", "", " label", "a\nb", "x", "lineage", "part", "(row)", "label.1"]
)  # fmt: skip
_COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["image_id", "image", "x", "path"]),
        "label": st.sampled_from(["label", "dx", ("dx", "label"), "image_id"]),
        "one_hot": st.sampled_from([(), ("nv", "mel"), ("nv",)]),
        "lesion": st.sampled_from([None, "lesion_id", "x", "label"]),
        "group": st.sampled_from([None, "group_id", "label", ""]),
    },
)


@st.composite
def _tables(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A table's bytes, and the columns that its config names."""
    likely = draw(st.booleans())
    header = ["image_id", "label"] if likely else []
    header += draw(st.lists(_HEADERS, min_size=0 if likely else 1, max_size=3))
    width = st.integers(len(header), len(header)) if likely else st.integers(0, 6)
    rows = [draw(st.lists(_CELLS, min_size=n, max_size=n)) for n in draw(st.lists(width, max_size=3))]
    if likely:
        more = len(header) - 2
        both = [["a", draw(st.sampled_from(["nv", "=1+1", "é"]))], ["b.png", "mel"]]
        rows = [[*row, *draw(st.lists(_CELLS, min_size=more, max_size=more))] for row in both] + rows[
            : draw(st.integers(0, 1))
        ]
    mark = draw(st.sampled_from([",", ";", "\t", "|"]))
    quote = draw(st.booleans())
    lines = [mark.join(f'"{cell}"' if quote else cell for cell in row) for row in [header, *rows]]
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace")
    columns = {} if likely and draw(st.booleans()) else draw(_COLUMNS)
    return (content if draw(st.integers(0, 3)) else draw(damaged([content]))), columns


def _read_table(example: tuple[bytes, dict[str, Any]], folder: Path) -> None:
    content, columns = example
    (folder / "t.csv").write_bytes(content)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"")
    try:
        config = DataConfig(source="table", folder=str(folder), table="t.csv", columns=Columns(**columns))
    except ValueError as fault:  # the config's own reader says it in one line
        raise InputError("no such columns") from fault
    load_manifest(config, folder)


_DEMO = yaml.safe_load((Path(__file__).parents[1] / "configs" / "demo.yaml").read_text(encoding="utf-8"))
_SECTIONS = ["data", "data.phantom", "pixels", "split", "base", "finetune", "generate", "classifier", "prompts"]
_SCALARS = st.one_of(
    st.sampled_from(
        ["2024-13-01", "0x_", "!!int abc", "[" * 3000, "{a: b", "~", "null", ".inf", ".nan", "1e400", "-1", "0",
         "10**9", "yes", "''", "&a [*a]", "!!python/object:os.system x", "real", "full", "[real, real]", "tiny",
         "{folder: /etc}", "/etc/passwd", "../..", "1:2:3", "9" * 400, "*a", "<<: 1", "\t", "? a", "a: b: c", "{}",
         "[]", "[[]]",
         "{1: 2}", "[null]", "lora", "dreambooth", "pretrain", "real@20", "synthetic@2x",
         "real@99999999999999999999", "true", "\ud800"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=12),
)  # fmt: skip
_OF_DEMO = {f"{name}.{key}" for name, section in _DEMO.items() if isinstance(section, dict) for key in section}
_MORE_KEYS = {"base.pretrain.denoiser.steps", "generate.edit.mode", "columns.label", "prompts.site"}
_KEYS = st.one_of(st.sampled_from(sorted({*_DEMO, *_OF_DEMO, *_SECTIONS, *_MORE_KEYS})), st.text(max_size=8))
_CONFIGS = st.tuples(
    st.one_of(
        st.just(yaml.safe_dump(_DEMO).encode()), damaged([yaml.safe_dump(_DEMO).encode()]), st.binary(max_size=40),
        _SCALARS.map(lambda text: text.encode("utf-8", "replace")),
    ),
    st.lists(st.builds("{}={}".format, _KEYS, _SCALARS), max_size=3),
)  # fmt: skip


def _read_config(example: tuple[bytes, list[str]], folder: Path) -> None:
    path = folder / "study.yaml"
    path.write_bytes(example[0])
    load_study(path, example[1])


def _weights() -> list[bytes]:
    tensors, found = {"a": torch.ones(2, 3), "b": torch.zeros(4)}, []
    for legacy in (False, True):
        buffer = io.BytesIO()
        torch.save(tensors, buffer, _use_new_zipfile_serialization=not legacy)
        found.append(buffer.getvalue())
    return [tensors_to_bytes(tensors), tensors_to_bytes({"word": torch.ones(2, 3)}), *found]


def _read_weights(example: tuple[bytes, str], folder: Path) -> None:
    path = folder / f"x{example[1]}"
    path.write_bytes(example[0])
    try:
        read_weights(path)
    finally:
        with contextlib.suppress(InputError):
            read_embedding(path, 3)


def _zips() -> list[bytes]:
    found = []
    for kind, names in (
        (zipfile.ZIP_STORED, ("a.png", "deep/b.jpg", "deep/")),
        (zipfile.ZIP_DEFLATED, ("a.png", "b.png")),
        (zipfile.ZIP_STORED, ("a.png", "/etc/x.jpg")),
        (zipfile.ZIP_STORED, ("a.png", "../y.png")),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind) as file:
            for name in names:
                file.writestr(name, b"" if name.endswith("/") else _images()[2])
        found.append(buffer.getvalue())
    return found


def _read_zip(content: bytes, folder: Path) -> None:
    (folder / "x.zip").write_bytes(content)
    for path in image_files(folder):
        read_image(path, PixelConfig(size=16))


def _base_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        small = TinyModelConfig(
            image_size=16,
            vae_channels=(8, 16, 16),
            unet_channels=(16, 32),
            text_width=32,
            text_layers=1,
            prompt_tokens=32,
        )
        build_tiny_model(small, 0).save_pretrained(name)
        return {
            path.relative_to(name).as_posix(): path.read_bytes() for path in Path(name).rglob("*") if path.is_file()
        }


@st.composite
def _bases(draw: st.DrawFn, files: dict[str, bytes]) -> tuple[str, bytes | None]:
    """Which file of a base's folder is another, and its bytes; None: it is not there."""
    name = draw(st.sampled_from(sorted(files)))
    return name, draw(st.one_of(st.none(), damaged([files[name]]), st.sampled_from([b"", b"{}", b"[]", b"null", b"1"])))


def _read_base(files: dict[str, bytes]) -> Callable[[tuple[str, bytes | None], Path], object]:
    def read(example: tuple[str, bytes | None], folder: Path) -> object:
        for name, content in {**files, example[0]: example[1]}.items():
            if content is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return load_base(BaseConfig(source=str(folder)))

    return read


def targets() -> dict[str, Target]:
    """All kinds of input, by name."""
    files, zips = _base_files(), _zips()
    suffixes = st.sampled_from([".safetensors", ".pt", ".bin", ".ckpt"])
    return {
        "images": Target(10_000, damaged(_images()), _read_image),
        "tables": Target(100_000, _tables(), _read_table, _TABLES_ONCE),
        "configs": Target(20_000, _CONFIGS, _read_config, _CONFIGS_ONCE),
        "weight files": Target(10_000, st.tuples(damaged(_weights()), suffixes), _read_weights, _WEIGHTS_ONCE),
        "base folders": Target(2_000, _bases(files), _read_base(files)),
        "zips": Target(1_000, damaged(zips), _read_zip, tuple(zips[2:])),
    }


# What failed once: each was a traceback, or a fault after all training.
_TABLES_ONCE = (
    (b"image_id,label\na,image\nb,nv\n", {}),
    (b"image_id,label\na,nv\0\nb,mel\n", {}),
    (b'"image\nid",label\na,nv\n', {}),
)
_CONFIGS_ONCE = (
    (b"name: 2024-13-01", []), (b"name: 0x_", []), (b"name: !!int abc", []), (b"[" * 3000, []),
    (b"", ["data.columns.label=[]"]), (b"", ["data.columns.lesion=''"]),
)  # fmt: skip
_WEIGHTS_ONCE = ((b'a":{"dtype"', ".pt"), (b"PK\x05\x06" + b"\xff" * 18, ".ckpt"), (b"", ".safetensors"))
