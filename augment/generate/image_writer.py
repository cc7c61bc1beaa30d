"""Images written by threads behind the computation that makes them."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_WRITERS = 4  # threads; compressing releases the lock


class ImageWriter(contextlib.AbstractContextManager["ImageWriter"]):
    """Writes images behind the computation; the first failure of a thread is raised at the latest on leaving."""

    def __init__(self, out: Path, kind: Literal["jpg", "png"], quality: int, ahead: int) -> None:
        self.out, self.added = out, 0
        self._kind, self._quality, self._ahead = kind, quality, ahead  # images that may wait
        self._pool = ThreadPoolExecutor(_WRITERS)
        self._waiting: list[Future[None]] = []

    def add(self, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Queue an image."""
        self._waiting.append(self._pool.submit(self._write, self.out / name, image))
        self.added += 1
        while len(self._waiting) > self._ahead:
            self._waiting.pop(0).result()

    def __exit__(self, *failure: object) -> None:
        with self._pool:
            if failure[0] is None:
                for waiting in self._waiting:
                    waiting.result()

    def _write(self, path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Under another name first, so that a file that is there is whole."""
        temporary = path.with_name(f".{path.name}.tmp")
        if self._kind == "jpg":
            Image.fromarray(image).save(temporary, "JPEG", quality=self._quality, subsampling=0)
        else:
            Image.fromarray(image).save(temporary, "PNG")
        temporary.replace(path)
