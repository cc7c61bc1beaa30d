"""Write the adapters of a finished run as files of another program, each with a card.

    python -m flows.export runs/demo --for webui [--label df] [--out FOLDER] [--ckpt]

A LoRA becomes one file for the webui and kohya's sd-scripts, or a folder for diffusers; a DreamBooth the whole model.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from augment.base.config import BaseConfig
from augment.export.adapters import PROGRAMS, Program, export_adapter, kind_of
from augment.methods import record as adapter_record
from augment.methods.record import AdapterRecord
from data.config import parse
from data.errors import InputError, exit_code
from data.home import with_home
from data.store import write_text
from flows.execute import disable_progress_bars
from reports.adapter_card import CARD, adapter_card
from reports.run_folder import RunFolder


def export(
    run: RunFolder, program: Program, out: Path, label: str | None = None, *, ckpt: bool = False
) -> tuple[Path, ...]:
    """Write the adapters of all classes, or of one, into a folder each; returns the files, or the folders, written.

    `ckpt`: a whole model as a .ckpt too. Raises InputError.
    """
    base = base_of(run)
    files: list[Path] = []
    for name in _labels(run, label):
        folder, target = run.artifact("finetune", name), out / _file_name(name)
        adapter = run.record_of(folder, adapter_record.RECORD, AdapterRecord.read)
        if ckpt and kind_of(adapter.method, program) != "checkpoint":
            raise InputError(
                f"{folder}: --ckpt is for a whole model's file (DreamBooth for webui or kohya); leave it out"
            )
        file_name = _file_name(f"{run.record['name']}-{name}")
        written = export_adapter(folder, base=base, program=program, out=target, name=file_name, ckpt=ckpt)
        write_text(target / CARD, adapter_card(run, adapter, written, program))
        files += written.files
    return tuple(files)


def base_of(run: RunFolder) -> BaseConfig:
    """The base that the run fine-tuned: the study's own lies in the run, a hub's is of the recorded commit."""
    base = parse(BaseConfig, with_home(run.record["config"]["base"]), str(run.path / "run.json"))
    if base.own is not None:
        return BaseConfig(source=str(run.artifact("base")))
    base = dataclasses.replace(base, embeddings=None)  # other programs have folders of their own for them
    return dataclasses.replace(base, revision=run.record["base"].get("revision")) if base.on_hub else base


def _labels(run: RunFolder, label: str | None) -> tuple[str, ...]:
    labels = run.names("finetune")
    if not labels:
        raise InputError(f"{run.path}: has fine-tuned nothing, so there is nothing to export; give a run that has")
    if label is None:
        if len({_file_name(name) for name in labels}) < len(labels):
            raise InputError(
                f"{run.path}: two of {', '.join(labels)} would be one file's name; export each with --label"
            )
        return labels
    if label not in labels:
        raise InputError(f"{run.path}: has no adapter of {label!r}; it has {', '.join(labels)}")
    return (label,)


def _file_name(name: str) -> str:
    """The name without what a file system or the webui's prompt would read otherwise."""
    return re.sub(r"[^\w.-]+", "-", name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--for", dest="program", required=True, choices=PROGRAMS, help="the other program")
    parser.add_argument("--out", type=Path, help="where to write (default: export/PROGRAM in the run)")
    parser.add_argument("--label", help="which class's adapter (default: all)")
    parser.add_argument("--ckpt", action="store_true", help="a whole model as a .ckpt too")
    parsed = parser.parse_args(arguments)
    return exit_code(lambda: _exported(parsed))


def _exported(parsed: argparse.Namespace) -> int:
    disable_progress_bars()
    run = RunFolder.open(parsed.run)
    out = parsed.out or parsed.run / "export" / parsed.program
    for file in export(run, parsed.program, out, parsed.label, ckpt=parsed.ckpt):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
