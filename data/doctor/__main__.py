"""Validate a study's images before anything is trained: all faults at once, each with its fix.

    python -m data.doctor CONFIG [key=value ...]

reads the sections `data`, `pixels`, `split` and `prompts` of a study's config and every image, also the external ones
of `arms`.
It changes nothing (phantoms are drawn, as by a study).

Exit code: 0, or 2 for a fault that would stop a study or make it wrong.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass as config_dataclass
from rich.console import Console

from data.config import STRICT, Seed, load_part
from data.doctor.checks import check_duplicates, check_files, check_seeds, check_split, check_unused
from data.doctor.examination import read_infos
from data.doctor.external_checks import StudyImages, check_arm
from data.doctor.findings import Findings, in_parts
from data.doctor.giveaways import check_giveaways
from data.doctor.report import ValidationReport, page
from data.errors import DataError, exit_code
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.progress import Progress, progress_bar
from data.sources.external import ExternalArm
from data.sources.load import DataConfig, read_source
from data.splits.class_counts import fill_counts
from data.splits.duplicates import known_groups, link, near_duplicates
from data.splits.split import SplitConfig

OpenProgress = Callable[[str], AbstractContextManager[Progress]]  # by the title of a piece of work


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class DoctorConfig:
    """The sections of a study's config that the doctor reads, with the study's defaults."""

    study_seeds: tuple[Seed, ...] = (0,)
    data: DataConfig = DataConfig()
    pixels: PixelConfig = PixelConfig()
    split: SplitConfig = SplitConfig()
    arms: tuple[ExternalArm | str, ...] = ("real", "oversampled", "synthetic")  # only external ones are checked
    fill_to: int | None = None
    output_dir: str = "runs"  # phantoms are drawn there
    prompts: Mapping[str, Any] = field(default_factory=dict)  # read by a floor above


def validate_data(config: DoctorConfig, open_progress: OpenProgress) -> ValidationReport:
    """The report of all checks of table and images, with the split that the study would make."""
    findings = Findings()
    with findings.logged_warnings():
        try:
            title = "drawing phantoms" if config.data.source == "phantom" else "reading the table"
            with open_progress(title) as progress:
                folder = Path(config.output_dir) / "data"
                source = read_source(config.data, folder, progress, findings.faults.append)
                named = source.manifest
        except DataError as fault:
            findings.faults.append(in_parts(str(fault)))
            return ValidationReport(findings=findings, config=config.split)
        if not len(named):  # all of its images have faults, which are reported
            return ValidationReport(findings=findings, config=config.split)
        with open_progress("reading images") as progress:
            manifest, infos, pixels = read_infos(named, config.pixels, progress, findings.faults.append)
        if not len(manifest):
            return ValidationReport(findings=findings, config=config.split)
        with open_progress("searching near-duplicates") as progress:
            duplicates = near_duplicates(pixels, known_groups(manifest), progress)
        joined, _ = link(manifest, duplicates)
        check_duplicates(manifest, infos, duplicates, findings)
        check_files(manifest, infos, config.pixels, findings)
        check_giveaways(manifest, infos, pixels, findings)
        _check_prompts(config, named, findings)
        if config.data.source == "table":
            check_unused(named, findings)
        seed = config.study_seeds[0] if config.study_seeds else 0
        split = check_split(joined, config.split, seed, findings, config.fill_to, source.named)
        if split is not None:
            check_seeds(joined, config.split, config.study_seeds[1:], findings)
            study = StudyImages(manifest=manifest, pixels=pixels, split=split, geometry=config.pixels, seed=seed)
            _check_arms(config, study, open_progress, findings)
    return ValidationReport(findings=findings, manifest=joined, infos=infos, split=split, config=config.split)


def _check_prompts(config: DoctorConfig, manifest: Manifest, findings: Findings) -> None:
    """Check the prompts of all images; without settings of them, only where two labels may be the same in words."""
    worded = [re.sub(r"[\s_-]+", " ", label).casefold() for label in manifest.labels]
    if config.prompts or len(set(worded)) < len(worded):
        checks = importlib.import_module("augment.prompt_checks")  # by name: imports go down only
        checks.check_prompts(config.prompts, manifest, findings.faults.append)


def _check_arms(config: DoctorConfig, study: StudyImages, open_progress: OpenProgress, findings: Findings) -> None:
    wanted = fill_counts(study.split.train, config.split.rare, config.fill_to)
    for arm in config.arms:
        if isinstance(arm, ExternalArm):
            with open_progress(f"checking the images of arm {arm.name}") as progress:
                check_arm(arm, study, wanted, progress, findings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data.doctor", description="Validate a study's images before anything is trained.",
        epilog="Exit code: 0, or 2 for a fault that would stop a study or make it wrong.",
    )  # fmt: skip
    parser.add_argument("config", type=Path, help="a study's YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings laid over it, as for a study")
    parser.add_argument("--all", action="store_true", help="list every example, not the first few of each kind")
    options = parser.parse_args(arguments)
    return exit_code(lambda: _print_report(options.config, options.overrides, every=options.all))


def _print_report(config: Path, overrides: Sequence[str], *, every: bool) -> int:
    messages = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    report = validate_data(load_part(DoctorConfig, config, overrides), lambda title: progress_bar(messages, title))
    print(page(report, str(config), seconds=time.perf_counter() - start, every=every))
    return 2 if report.findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
