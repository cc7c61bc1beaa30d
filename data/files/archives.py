"""Bytes of images and tables: plain files, or members of a zip that is read as a folder.

`images_part_1.zip/ISIC_0024306.jpg` is a path like any other, so a manifest names an image in a zip as it names a
file, and nothing is unpacked. All other code opens, lists and stats a data set's files through these functions.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from data.errors import DataError
from data.files.links import files_below, is_hidden, require_inside
from data.files.rules import require_bytes

SUFFIXES = frozenset(
    {".bmp", ".dcm", ".dicom", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)  # in lower case
# Pillow's names for them, less DICOM, which is pydicom's. Whatever its name says, a file is tried as these and no
# other: an EPS called .jpg would start Ghostscript, and the decoders of rare formats are little tested.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
ZIP = ".zip"
_CHUNK = 4096  # bytes; zipfile unpacks bzip2 and LZMA without a limit, from so many at a time


def image_files(folder: Path, root: Path | None = None) -> list[Path]:
    """All images below a folder or in a zip, sorted; not the hidden ones that macOS leaves in archives.

    A zip below the folder is read as the folder that it would unpack to, and skipped if that folder is beside it and
    holds images. `root`: the data set's folder, which links may not leave; None: this one. Raises DataError for one
    that does.
    """
    root = folder if root is None else root
    if _is_zip(folder):
        require_inside(folder, root)
        names = (name for name in _members(folder) if not any(map(is_hidden, name.split("/"))))
        return sorted(folder / name for name in names if Path(name).suffix.lower() in SUFFIXES)
    found = []
    for path in files_below(folder, root):
        if path.suffix.lower() in SUFFIXES:
            found.append(path)
        elif _is_zip(path) and not is_unpacked(path):
            found += image_files(path, root)
    return sorted(found)


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """All images below each sub-folder, by its name, which is their label.

    Where no sub-folder holds an image, the zips are read as the folders that they would unpack to. Raises DataError for
    a link astray.
    """
    places = [path for path in sorted(folder.iterdir()) if not is_hidden(path.name)]
    for path in places:
        if path.is_symlink():
            require_inside(path, folder)
    folders = [place for place in places if place.is_dir()]
    for place in folders:
        if not place.name.isprintable():
            raise DataError(f"{folder}: the sub-folder {place.name!r} has a name that is not text; rename it")
    found = {place.name: image_files(place, folder) for place in folders}
    if not any(found.values()):
        found |= {place.stem: image_files(place, folder) for place in places if _is_zip(place)}
    return dict(sorted(found.items()))


def is_unpacked(archive: Path) -> bool:
    """Whether the folder that a zip would unpack to is beside it and holds an image."""
    folder = archive.with_suffix("")
    inside = (path.relative_to(folder) for path in folder.rglob("*")) if folder.is_dir() else ()
    return any(path.suffix.lower() in SUFFIXES and not any(map(is_hidden, path.parts)) for path in inside)


def members_of(archive: Path) -> list[str]:
    """The names of a zip's files. Raises DataError."""
    return list(_members(archive))


def open_file(path: Path) -> io.BytesIO | io.BufferedReader:
    """Open a file or a zip's member for reading.

    Raises FileNotFoundError if it does not exist, DataError for a broken zip, for what is no file, and for what is
    larger than may be read.
    """
    inside = _inside(path)
    if inside:
        return io.BytesIO(_read(*inside))
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is a folder, a pipe or a device; put a file there")  # a pipe would be waited for
    opened = path.open("rb")
    try:
        require_bytes(path, os.fstat(opened.fileno()).st_size)
    except DataError:
        opened.close()
        raise
    return opened


def is_file(path: Path) -> bool:
    """Whether there is such a file, or such a member of a zip."""
    inside = _inside(path)
    return inside[1] in _members(inside[0]) if inside else path.is_file()


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Size in bytes, mtime and ctime in ns; a zip's times for its members. Raises FileNotFoundError."""
    inside = _inside(path)
    if inside is None:
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    archive, member = inside
    if member not in (members := _members(archive)):
        raise FileNotFoundError(f"{path}: no such member")
    stat = archive.stat()
    return members[member].file_size, stat.st_mtime_ns, stat.st_ctime_ns


def version_of(path: Path) -> str:
    """Path, size, mtime and ctime, which change whenever the image does, without reading it. Raises DataError.

    Where two files change places, their mtimes go with them; the system sets ctime then.
    """
    try:
        size, mtime_ns, ctime_ns = stamp_of(path)
    except FileNotFoundError as fault:
        raise DataError(f"{path}: no such image; restore it or remove its row") from fault
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror or fault}); restore it, or its rights") from fault
    return f"{path.resolve()}|{size}|{mtime_ns}|{ctime_ns}"


def sha256_of(path: Path) -> str:
    """SHA-256 in hex of a file's or member's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files or members hold the same bytes."""
    return stamp_of(one)[0] == stamp_of(other)[0] and sha256_of(one) == sha256_of(other)


def without_suffix(name: str) -> str:
    """A name without an image's suffix; `scan.v2` keeps its own."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix.lower() in SUFFIXES else name


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ZIP and path.is_file()


def _inside(path: Path) -> tuple[Path, str] | None:
    """A path through a zip as the zip and the member's name; None for a plain path."""
    for n, part in enumerate(path.parts[:-1], start=1):
        if part.lower().endswith(ZIP) and _is_zip(archive := Path(*path.parts[:n])):
            return archive, "/".join(path.parts[n:])
    return None


def _members(archive: Path) -> dict[str, zipfile.ZipInfo]:
    return _opened(archive)[1]


def _read(archive: Path, member: str) -> bytes:
    """Read one member whole. Raises FileNotFoundError, or DataError for what is broken or locked."""
    opened, members = _opened(archive)
    if member not in members:
        raise FileNotFoundError(f"{archive / member}: no such member")
    require_bytes(archive / member, members[member].file_size)
    try:
        return _unpacked(opened, members[member])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as fault:
        raise DataError(f"{archive}: {member} is broken in it ({fault}); download the zip anew") from fault
    except (RuntimeError, NotImplementedError) as fault:  # encrypted, or a compression that Python lacks
        folder = archive.with_suffix("").name
        raise DataError(f"{archive}: {member} cannot be read in place ({fault}); unpack to {folder}") from fault


def _unpacked(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, of which its entry may say too little: no more than that are unpacked."""
    found = bytearray()
    with opened.open(member) as file:
        while len(found) <= member.file_size and (more := file.read(_CHUNK)):
            found += more
    return bytes(found)


def _opened(archive: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open a zip once a process, and again if it has changed."""
    stat = archive.stat()
    return _open(archive, stat.st_size, stat.st_mtime_ns, os.getpid())


@functools.lru_cache(maxsize=8)
def _open(archive: Path, size: int, mtime_ns: int, process: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Read a zip's directory; `process` is a key because a forked process would share the file's position."""
    del mtime_ns, process
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError, NotImplementedError, LookupError, ValueError) as fault:
        raise DataError(f"{archive}: broken or cut short at {size:,} bytes ({fault}); download the zip anew") from fault
    entries = {entry.filename.replace("\\", "/"): entry for entry in opened.infolist()}  # old .NET wrote backslashes
    members = {name: entry for name, entry in entries.items() if not name.endswith("/")}
    for name in members:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"{archive}: its member {name!r} leads out of it; make the zip anew, of names below it")
    return opened, members
