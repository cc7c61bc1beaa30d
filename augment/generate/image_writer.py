"""Image files written by threads while the next images are computed; their metadata says what they are."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment.generate.mark import SYNTHETIC, Origin, metadata
from data.durable import replacing

_THREADS = 4  # compressing releases the lock


class ImageWriter(contextlib.AbstractContextManager["ImageWriter"]):
    """Writes images in the background; a thread's first failure is raised by a later `add`, or on leaving."""

    def __init__(
        self,
        out: Path,
        file_format: Literal["jpg", "png"],
        jpeg_quality: int,
        max_pending: int,
        origin: Origin = SYNTHETIC,
    ) -> None:
        self.out, self.added, self._origin = out, 0, origin
        self._format, self._jpeg_quality, self._max_pending = file_format, jpeg_quality, max_pending  # images
        self._pool = ThreadPoolExecutor(_THREADS)
        self._pending: list[Future[None]] = []

    def add(self, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Queue an image; waits while more than `max_pending` are queued."""
        self._pending.append(self._pool.submit(self._write, self.out / name, image))
        self.added += 1
        while len(self._pending) > self._max_pending:
            self._pending.pop(0).result()

    def __exit__(self, *failure: object) -> None:
        with self._pool:
            if failure[0] is None:
                for pending in self._pending:
                    pending.result()

    def _write(self, path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write an image; no file of this name is ever incomplete."""
        with replacing(path, on_disk=False) as temporary:
            if self._format == "jpg":
                quality = self._jpeg_quality
                Image.fromarray(image).save(
                    temporary, "JPEG", quality=quality, subsampling=0, **metadata("JPEG", self._origin)
                )
            else:
                Image.fromarray(image).save(temporary, "PNG", **metadata("PNG", self._origin))
