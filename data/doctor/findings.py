"""What the doctor found: faults, which stop a study or make it wrong, and warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from data.errors import Fault


@dataclass(frozen=True)
class Findings:
    """Faults stop a study or make it wrong; warnings are worth knowing."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, examples: Iterable[str], fix: str) -> None:
        """Add a fault, if there is an example of it."""
        if found := tuple(examples):
            self.faults.append(Fault("", found, fix))

    def warn(self, examples: Iterable[str], fix: str = "") -> None:
        """Add a warning, if there is an example of it."""
        if found := tuple(examples):
            self.warnings.append(Fault("", found, fix))

    @contextmanager
    def logged_warnings(self) -> Iterator[None]:
        """Collect what the package `data` logs as warnings instead of printing it."""
        logger, handler = logging.getLogger("data"), _Collect(self)
        propagate, logger.propagate = logger.propagate, False
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagate


def in_parts(message: str) -> Fault:
    """An error's one-line message as a fault: what is wrong, and the fix after the last semicolon."""
    what, _, fix = message.rpartition("; ")
    return Fault("", (what,), fix) if what else Fault("", (fix,), "")


class _Collect(logging.Handler):
    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.WARNING)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        self._findings.warnings.append(in_parts(record.getMessage()))
