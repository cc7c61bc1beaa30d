"""What lies below a folder and is not read as an image: other endings, zips beside their folders, locked folders."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.files.archives import SUFFIXES, ZIP, is_unpacked
from data.files.links import is_hidden

_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})  # Windows' own
_CAPTION = ".txt"  # beside an image of its name

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Paths below a folder, sorted."""

    files: tuple[str, ...] = ()  # of endings that are not read, without captions and tables' own
    zips: tuple[str, ...] = ()  # beside the folder that they unpack to
    locked: tuple[str, ...] = ()  # folders that may not be read

    def endings(self) -> str:
        """The files' endings and how many have each, in words; the commonest first."""
        counts = Counter(Path(path).suffix.lower() or "without an ending" for path in self.files)
        return ", ".join(f"{ending} ({n:,})" for ending, n in counts.most_common())


def unread_in(folder: Path) -> Unread:
    """What is not read below a folder; hidden files are not looked at."""
    files, zips, locked = list[str](), list[str](), list[str]()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        below = Path(place).relative_to(folder)
        locked += [(below / name).as_posix() for name in folders if not _is_open(Path(place, name))]
        shown = sorted(name for name in names if not is_hidden(name))
        zips += [(below / name).as_posix() for name in shown if _is_passed_over(Path(place, name))]
        files += [(below / name).as_posix() for name in _others(shown)]
    return Unread(files=tuple(files), zips=tuple(zips), locked=tuple(locked))


def warn_of_unread(folder: Path, unread: Unread, *, top: bool = False) -> None:
    """Log a warning of files, zips and folders that are not read; `top`: files in the folder itself, too."""
    inside = Unread(files=tuple(path for path in unread.files if top or "/" in path))
    if inside.files:
        log.warning(
            "%s: %d files are not read as images, %s, first %s; export them as JPEG or PNG, or remove them",
            folder, len(inside.files), inside.endings(), inside.files[0],
        )  # fmt: skip
    for archive in unread.zips:
        beside = Path(archive).with_suffix("").as_posix()
        log.warning(
            "%s: %s is not read, since the folder %s is beside it; remove the one that is not meant",
            folder, archive, beside,
        )  # fmt: skip
    for locked in unread.locked:
        log.warning("%s: the folder %s may not be read; give yourself the right to, or remove it", folder, locked)


def _others(names: Iterable[str]) -> Iterator[str]:
    """The names that are neither images nor zips, nor captions of images."""
    names = list(names)
    stems = {Path(name).stem for name in names if Path(name).suffix.lower() in SUFFIXES}
    for name in names:
        path = Path(name)
        ending = path.suffix.lower()
        is_caption = ending == _CAPTION and path.stem in stems
        if ending not in SUFFIXES and ending != ZIP and name.lower() not in _SYSTEM and not is_caption:
            yield name


def _is_passed_over(path: Path) -> bool:
    return path.suffix.lower() == ZIP and is_unpacked(path)


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)
