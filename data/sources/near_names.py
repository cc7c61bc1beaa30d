"""Why an image that a table names is not found: what is there instead, and the fix."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from data.errors import DataError
from data.files.archives import members_of, without_suffix
from data.files.unread import Unread, unread_in

_RENAME = "write it as the file is called, or rename the file"
_ABSENT = "add it or remove the row"
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
_GOES_ON = "_-. ("  # what may follow a name in a longer one: _downsampled, -1, .v2, " (1)"


def visible(text: str) -> str:
    """Text in its composed normal form, without invisible characters and blanks."""
    shown = (letter for letter in unicodedata.normalize("NFC", text) if unicodedata.category(letter) != "Cf")
    return "".join("".join(shown).split())


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def _unpadded(name: str) -> str:
    return _LEADING_ZEROS.sub("", without_suffix(visible(name).casefold()))


_LIKE: tuple[tuple[str, Callable[[str], str]], ...] = (  # tried in this order
    ("in blanks or invisible characters", visible),
    ("in case", lambda name: visible(name).casefold()),
    ("in its ending", lambda name: _stem(visible(name).casefold())),
    ("in leading zeros", _unpadded),
)


class NearNames:
    """The files below a folder by names that are nearly theirs."""

    def __init__(self, folder: Path, images: Iterable[str]) -> None:
        """`images`: the paths below the folder that are read."""
        self.folder = folder
        self.images = sorted(set(images))

    def explain(self, name: str) -> tuple[str, str]:
        """What is there instead of the image, to be appended to "no image X", and the fix."""
        name = name.replace("\\", "/")
        if found := self._alike(name):
            return f"; there is {found[0]}, {found[1]}", _RENAME
        if longer := next(self._longer(name), ""):
            return f"; there is {longer}", _RENAME
        return self._unread_one(PurePosixPath(visible(name)).name.casefold()) or self._unsearched() or ("", _ABSENT)

    def _unread_one(self, name: str) -> tuple[str, str] | None:
        """A file of this name that is not read, and why."""
        stem = _stem(name)
        if other := self._others.get(name, self._others.get(stem, "")):
            return f"; there is {other}, whose ending is not read", "export it as JPEG or PNG, with that ending"
        if archive := self._zipped.get(stem, self._zipped.get(name, "")):
            beside = Path(archive).with_suffix("").as_posix()
            fix = f"unpack it whole into {beside}, or remove that folder"
            return f"; it is in {archive}, which is not read since the folder {beside} is beside it", fix
        return None

    def _unsearched(self) -> tuple[str, str] | None:
        """A folder that the image may be in."""
        if self._unread.locked:
            return f"; {self._unread.locked[0]} there cannot be read", "give yourself the right to read that folder"
        return None

    def _alike(self, name: str) -> tuple[str, str] | None:
        """The path of an image of nearly this name, and in what it differs."""
        last = PurePosixPath(name).name
        for how, key in _LIKE:
            found = self._index(how, key)
            if key(name) in found:
                return found[key(name)], f"which differs {how}"
            if last and last != name and key(last) in found:
                elsewhere = "and the row has an absolute path" if _ABSOLUTE.match(name) else "in another folder"
                differs = "" if how == _LIKE[0][0] else f", which differs {how}"
                return found[key(last)], f"{elsewhere}{differs}"
        return None

    def _index(self, how: str, key: Callable[[str], str]) -> dict[str, str]:
        """Each image's path by its path and name, with and without ending."""
        known = self._indices.get((how, key))
        if known is None:
            known = {}
            for path in self.images:
                name = PurePosixPath(path).name
                for text in (path, name, without_suffix(path), without_suffix(name)):
                    known.setdefault(key(text), path)
            self._indices[how, key] = known
        return known

    def _longer(self, name: str) -> Iterator[str]:
        """An image whose name begins with this one and goes on, and one with which this one begins."""
        stem = _stem(PurePosixPath(visible(name)).name.casefold())
        longer = []
        for mark in _GOES_ON:
            place = bisect_left(self._stems, (stem + mark, ""))
            longer += [path for other, path in self._stems[place : place + 2] if other.startswith(stem + mark)]
        if len(longer) == 1:  # of several, none is meant more than another
            yield f"{longer[0]}, whose name is longer"
        cut = max(stem.rfind(mark) for mark in _GOES_ON)
        if cut > 0 and stem[:cut] in self._by_stem:
            yield f"{self._by_stem[stem[:cut]]}, whose name is shorter"

    @cached_property
    def _indices(self) -> dict[tuple[str, Callable[[str], str]], dict[str, str]]:
        return {}

    @cached_property
    def _stems(self) -> list[tuple[str, str]]:
        return sorted((_stem(PurePosixPath(visible(path)).name.casefold()), path) for path in self.images)

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        return dict(self._stems)

    @cached_property
    def _unread(self) -> Unread:
        return unread_in(self.folder)

    @cached_property
    def _others(self) -> dict[str, str]:
        """Files of other endings by their names, with and without ending, in small letters."""
        names = [(PurePosixPath(visible(path)).name.casefold(), path) for path in self._unread.files]
        return {_stem(name): path for name, path in names} | dict(names)

    @cached_property
    def _zipped(self) -> dict[str, str]:
        """Zips that are not read, by the names of their members."""
        found = dict[str, str]()
        for archive in self._unread.zips:
            try:
                members = members_of(self.folder / archive)
            except DataError:
                continue
            found |= {_stem(PurePosixPath(visible(member)).name.casefold()): archive for member in members}
        return found
