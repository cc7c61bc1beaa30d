"""A study of seconds that goes through every stage, run in a child process, and what its folder holds at the end.

Clocks stand still in the child, so that the seconds that records name are the same in every run.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import yaml

from data.progress import Progress
from flows import pipeline
from flows.steps import Result
from flows.study import StudyConfig, load_study

STUDY = """
name: micro
data: {source: phantom, phantom: {images: 40, width: 16, height: 16, codes: [nv, df], balanced: true}}
pixels: {size: 16}
split: {rare: [df], shots: 3, limit_real_to_shots: true}
fill_to: 8
base:
  source: pretrain
  pretrain:
    init_from: scratch
    model: {image_size: 16, vae_channels: [8, 16, 16], unet_channels: [16, 32], text_width: 32, text_layers: 1,
      prompt_tokens: 32}
    autoencoder: {steps: 2, batch_size: 2, checkpointing_steps: 1}
    denoiser: {steps: 2, batch_size: 2, checkpointing_steps: 1}
finetune: {method: lora, steps: 2, batch_size: 2, learning_rate: 0.01, lr_warmup_steps: 1, rank: 2, preview_every: 2,
  checkpointing_steps: 1, preview: {steps: 1, batch_size: 2}}
generate: {steps: 1}
classifier: {model: test_efficientnet, steps: 2, batch_size: 4, validate_every: 1}
arms: [real, synthetic, gated]
seeds: [0]
"""
TIMEOUT = 300  # seconds of one run, after which it counts as one that hangs
FAILED = 99  # exit code of a run that raised
# What two runs that did the same may say otherwise: when a file was written, and whether a step was made in this run.
_OTHERWISE = re.compile(
    rb'"mtime_ns": \d+|"reused": (true|false)|, \d+ reused(?=</td>)| <span class="rare">reused</span>'
)
_PROCESS = re.compile(r"\.\d+\.tmp$")  # a process's own name of a file that it has not completed
_CACHE = "cache"  # decoded images are no result: a row that was damaged is written again, behind the others


class _Quiet:
    """A runner that shows nothing."""

    def expect(self, pieces: int) -> None:
        """Nothing is counted."""

    def __call__(self, _stage: str, _what: str, work: Callable[[Progress], Result]) -> Result:
        """Run one piece of work."""
        return work(lambda *_: None)


class _NoTime(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # noqa: ARG003 - datetime's own
        """One moment."""
        return datetime(2000, 1, 1, tzinfo=UTC)


def write_config(folder: Path) -> Path:
    """The study's config, whose runs lie in the folder."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(STUDY), "output_dir": str(folder / "runs")}), encoding="utf-8")
    return path


def run(config: Path) -> StudyConfig:
    """Run the study, with clocks that stand still."""
    study = load_study(config)
    with contextlib.ExitStack() as stack:
        for name in ("monotonic", "perf_counter"):
            stack.enter_context(mock.patch.object(time, name, return_value=0.0))
        for module in (pipeline, sys.modules["flows.record"]):
            stack.enter_context(mock.patch.object(module, "datetime", _NoTime))
        pipeline.run_study(study, _Quiet())
    return study


def in_child(work: Callable[[], object], log: Path) -> int:
    """Do the work in a copy of this process; 0, the signal that ended it (negative), or FAILED: `log` says why.

    A copy has all libraries loaded, which takes seconds in a new process.
    """
    child = os.fork()
    if not child:
        signal.alarm(TIMEOUT)
        code = FAILED
        with log.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                work()
                code = 0
            except BaseException:  # noqa: BLE001 - told by the parent
                traceback.print_exc(file=file)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, str]:
    """What a run has made, by path: digests of files, less what may differ; "" for folders. Locks do not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = _PROCESS.sub(".tmp", path.relative_to(folder).as_posix())
        if name.endswith(".lock") or _CACHE in name.split("/"):
            continue
        found[name] = "" if path.is_dir() else hashlib.sha256(_OTHERWISE.sub(b"", path.read_bytes())).hexdigest()
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is not as it was expected, a line a file."""
    lines = [f"{name}: is missing" for name in expected if name not in found]
    lines += [f"{name}: was left over" for name in found if name not in expected]
    return lines + [f"{name}: differs" for name in expected if found.get(name, expected[name]) != expected[name]]


def restore(snapshot: Path, folder: Path) -> None:
    """Put a folder into the state of a snapshot."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(snapshot, folder, symlinks=True)
