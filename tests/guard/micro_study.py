"""The guard of refactorings: micro studies whose artefacts' content is recorded, and compared after every change.

    python tests/guard/micro_study.py                     compare; 0 where nothing changed, 1 otherwise
    python tests/guard/micro_study.py --record [FILE]     take what this program makes for right
    python tests/guard/micro_study.py --as-elsewhere      compare as on a machine whose bits are not the recorded one's

On the machine and libraries that recorded, every bit of a tensor, a pixel and a table's cell must be as it was. On
others sums are rounded otherwise: there what is exact by nature is compared (parts, prompts, seeds, ids, counts), and
samples of the rest within `TOLERANCES`. What hangs on which class has a hair more probability is left out there.

What the guarded program calls things is known to names.py alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import names
import yaml

HERE = Path(__file__).parent
REFERENCE = HERE / "reference.json"
LIBRARIES = (
    "torch numpy diffusers transformers peft timm albumentations opencv-python-headless pillow scikit-learn pandas"
).split()
# How far figures may lie from the recorded ones elsewhere: root mean square of the differences, of images in grey
# levels, of others relative to that of the figures. Measured with AVX2 and with SSE4.1 alone, neither with bfloat16,
# which a study's own base is trained in where a processor has it: at most 0.053, 0.005, 0.0017, 0.12 and 0.0017, and
# the images of the study with its own base 0.33.
TOLERANCES = {"tensors": 0.1, "images": 0.02, "losses": 0.01, "learnt": 0.25, "record": 0.01}
OWN_BASE_IMAGES = 0.8
SAMPLES = 32  # values of a safetensors file that stand in the reference
FEW = 12  # images of which the reference holds more than the mean

Content = dict[str, dict[str, Any]]  # an artefact's name: kind, digest, what is exact everywhere, figures


def main(arguments: list[str]) -> int:
    """Run the studies and compare, or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, nargs="?", const=REFERENCE)
    parser.add_argument("--as-elsewhere", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    _set_threads(asked.threads)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = {"fingerprint": fingerprint(asked.threads), "content": run_all(Path(folder))}
    seconds = f"{time.monotonic() - begun:.0f} s"
    if asked.record:
        write(found, asked.record)
        print(f"recorded {len(found['content'])} artefacts in {seconds}")
        return 0
    recorded = json.loads(REFERENCE.read_text(encoding="utf-8"))
    other = sorted(key for key, value in found["fingerprint"].items() if value != recorded["fingerprint"].get(key))
    loosely = bool(other) or asked.as_elsewhere
    wrong = differences(recorded["content"], found["content"], loosely=loosely)
    why = f"within tolerances, as {', '.join(other) or 'asked'}" if loosely else "bit by bit"
    print("\n".join([*wrong, f"{len(wrong)} differences; {len(found['content'])} artefacts compared {why}, {seconds}"]))
    return 1 if wrong else 0


def _set_threads(threads: int) -> None:
    """Compute on the processor, with so many threads, and import the program that this file belongs to."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}  # before torch is imported
    sys.path.insert(0, str(HERE.parents[1]))
    import torch

    torch.set_num_threads(threads)


def fingerprint(threads: int) -> dict[str, Any]:
    """All that bits hang on beside the program."""
    import torch

    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": models[0] if models else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": f"{os.environ.get('ONEDNN_MAX_CPU_ISA', 'all')}, {torch.backends.mkldnn.is_available()}",
        "bfloat16": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "threads": threads,
        **{name: version(name) for name in LIBRARIES},
    }


def run_all(folder: Path) -> Content:
    """Run every micro study, with the phantoms in common, and read what they made."""
    runs = folder / "runs"
    names.draw_elsewhere(folder / "theirs")
    content: Content = {}
    with names.elsewhere(folder / "theirs"):
        for name in names.STUDIES:
            written = folder / f"{name}.yaml"
            written.write_text(yaml.safe_dump(names.config_of(name, runs)), encoding="utf-8")
            made, answer = names.run(written)
            content |= {f"{name}: {what}": each for what, each in read(made).items()}
            content[f"{name}: answer"] = _entry("judged", whole=[answer, names.main_figures(made / "summary.json")])
    content["phantoms"] = _images(names.phantoms(runs))
    return content


def read(run: Path) -> Content:
    """The content of a run's folder, by names that no digest is part of."""
    readers = {
        "tensors": _tensors,
        "images": _images,
        "losses": partial(_table, kind="losses"),
        "learnt": partial(_table, kind="learnt"),
        "record": _record,
        "judged": _judged,
    }
    files = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*")) if path.is_file()}
    content: Content = {}
    for what, pattern, kind, columns in names.PLACES:
        found: dict[str, list[Path]] = {}
        for place, path in files.items():
            match = re.fullmatch(pattern, place)
            if match:
                found.setdefault(what.format(*match.groups()), []).append(path)
        content |= {name: readers[kind](paths, **columns) for name, paths in found.items()}
    return content


def _entry(kind: str, *, whole: object, exact: object = None, figures: list[float] | None = None) -> dict[str, Any]:
    return {"kind": kind, "digest": _sha(whole), "exact": exact, "figures": [_short(each) for each in figures or []]}


def _sha(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


def _short(value: float) -> float:
    """Five digits: tolerances are wider, and the file stays small."""
    return float(f"{value:.5g}")


def _tensors(paths: list[Path]) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    weights = {f"{path.name} {key}": value for path in paths for key, value in sorted(load_file(path).items())}
    kept = [[key, str(value.dtype), list(value.shape)] for key, value in weights.items()]
    bits = [hashlib.sha256(value.flatten().view(torch.uint8).numpy()).hexdigest() for value in weights.values()]
    every = torch.cat([value.double().flatten() for value in weights.values()])
    size = len(every)
    sample = every[torch.linspace(0, size - 1, SAMPLES).long()].tolist()
    whole = [float(every.norm()) / math.sqrt(size), float(every.abs().mean())]  # on the scale of the samples
    return _entry("tensors", whole=[kept, bits], exact=[len(kept), size, _sha(kept)], figures=[*whole, *sample])


def _images(paths: list[Path]) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    bits = [hashlib.sha256(each.tobytes()).hexdigest() for each in pixels]
    kept = [[path.name for path in paths], sorted({str(each.shape) for each in pixels})]
    figures = [figure for each in pixels for figure in (_quarters(each) if len(paths) <= FEW else [each.mean()])]
    return _entry("images", whole=[kept, bits], exact=kept, figures=figures)


def _quarters(pixels: Any) -> list[float]:
    """The mean of each colour in each quarter of an image, in grey levels."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    parts = [pixels[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
    return [float(value) for part in parts for value in part.mean(axis=(0, 1))]


def _table(
    paths: list[Path], kind: str, exact: Sequence[str], figures: Sequence[str] = (), judged: Sequence[str] = ()
) -> dict[str, Any]:
    (path,) = paths
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [name for name in rows[0] if name not in exact] if figures == ["*"] else figures
    kept = [[row[name] for row in rows] for name in exact]
    cells = [float(row[name]) for row in rows for name in numbers]
    leaping = [[row[name] for name in judged] for row in rows]
    return _entry(kind, whole=[kept, cells, leaping], exact=kept, figures=cells)


def _leaves(value: object) -> list[Any]:
    """What a JSON value holds, less what lies under idle keys; keys themselves do not count, they may be renamed."""
    if isinstance(value, dict):
        return [leaf for key, each in value.items() if key not in names.IDLE_KEYS for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _numbers(paths: list[Path]) -> tuple[list[float], list[float], list[str]]:
    """Whole numbers, others, and ids in a record, each sorted, since the order of keys may change as their names."""
    (path,) = paths
    leaves = _leaves(json.loads(path.read_text(encoding="utf-8")))
    numbers = [leaf for leaf in leaves if isinstance(leaf, (int, float)) and not isinstance(leaf, bool)]
    ids = [leaf for leaf in leaves if isinstance(leaf, str) and re.fullmatch(names.ID, leaf)]
    whole = sorted(number for number in numbers if isinstance(number, int))
    return whole, sorted(number for number in numbers if isinstance(number, float)), sorted(ids)


def _record(paths: list[Path]) -> dict[str, Any]:
    whole, fractions, ids = _numbers(paths)
    return _entry("record", whole=[whole, fractions, ids], exact=[whole, len(ids), _sha(ids)], figures=fractions)


def _judged(paths: list[Path]) -> dict[str, Any]:
    """A record of which class was named how often: one image named otherwise changes it in leaps."""
    whole, fractions, ids = _numbers(paths)
    return _entry("judged", whole=[whole, fractions, ids], exact=[len(ids), _sha(ids)])


def differences(recorded: Content, found: Content, *, loosely: bool) -> list[str]:
    """What is not as it was, a line an artefact."""
    lines = [f"{name}: is not there any more" for name in recorded if name not in found]
    lines += [f"{name}: is new; record it" for name in found if name not in recorded]
    for name in (name for name in recorded if name in found):
        was, now = recorded[name], json.loads(json.dumps(found[name]))
        if was["exact"] != now["exact"]:
            lines.append(f"{name}: {_first(was['exact'], now['exact'])}")
        elif loosely and len(was["figures"]) != len(now["figures"]):
            lines.append(f"{name}: holds {len(now['figures'])} figures, not {len(was['figures'])}")
        elif loosely and was["figures"]:
            away, most = distance(was, now), tolerance(name, was["kind"])
            lines += [] if away <= most else [f"{name}: lies {away:.3g} from what was recorded, more than {most}"]
        elif not loosely and was["digest"] != now["digest"]:
            away = f", {distance(was, now):.3g} away" if len(was["figures"]) == len(now["figures"]) > 0 else ""
            lines.append(f"{name}: has other bits{away}")
    return lines


def tolerance(name: str, kind: str) -> float:
    """How far an artefact's figures may lie from the recorded ones on another machine."""
    return OWN_BASE_IMAGES if kind == "images" and name.startswith("own-base: ") else TOLERANCES[kind]


def distance(was: dict[str, Any], now: dict[str, Any]) -> float:
    """Root mean square of the differences; relative to the figures' own, but for images."""
    square = sum((a - b) ** 2 for a, b in zip(was["figures"], now["figures"], strict=True))
    own = len(was["figures"]) if was["kind"] == "images" else sum(a**2 for a in was["figures"])
    return math.sqrt(square / own) if own else math.sqrt(square)


def _first(was: Any, now: Any) -> str:
    """Where two values differ first."""
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return next(_first(a, b) for a, b in zip(was, now, strict=True) if a != b)
    return f"was {str(was)[:200]}, is {str(now)[:200]}"


def write(found: dict[str, Any], path: Path) -> None:
    """One artefact a line, so that a diff tells which of them changed."""
    lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found["content"].items()]
    head = f'{{"fingerprint": {json.dumps(found["fingerprint"])},\n"content": {{\n'
    path.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
