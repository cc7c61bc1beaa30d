"""What the page knows between two clicks: the drawings, the loaded base, and the photographs to compare with.

No function here knows Gradio. One drawing is made at a time, whoever asks; a drawing's images are decided on once.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data.errors import InputError
from data.files.images import read_rgb
from data.manifest import Manifest
from data.pixels import PixelConfig, read_image
from flows.page.accepted import AcceptedSet, Batch
from flows.page.drawing import Drawing, StoppablePipeline
from flows.page.masks import write_mask
from flows.page.neighbours import Neighbour, neighbours, read_for_comparison
from flows.page.opened import OpenedRun
from flows.page.request import source_photographs
from flows.page.settings import DrawSettings

_KEPT = 20  # drawings whose images are kept
_LOOK = 0.3  # seconds between two looks at a drawing


@dataclass(frozen=True, kw_only=True)
class Card:
    """One drawn image as the page shows it."""

    key: str  # its drawing's and its number
    seed: str
    pixels: UInt8[np.ndarray, "h w 3"] | None  # None: withheld, since it is nearly a photograph and these are hidden
    neighbours: tuple[Neighbour, ...]

    @property
    def is_copy(self) -> bool:
        """Whether it is nearly one of the photographs."""
        return any(each.is_copy for each in self.neighbours)


class PageSession:
    """The drawings of one page."""

    def __init__(self, opened: OpenedRun) -> None:
        self.opened = opened
        self._folder = tempfile.TemporaryDirectory(prefix="lesionloom-page-")  # its owner's alone
        self._pipeline: StoppablePipeline | None = None
        self._drawings: dict[str, Drawing] = {}
        self._decided: set[str] = set()
        self._begun = 0  # also of those that were refused
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop what is drawn, and remove every image that was not accepted."""
        self.stop()
        for drawing in self._drawings.values():
            drawing.wait(30)
        self._folder.cleanup()

    def begin(self, asked: DrawSettings, mask: UInt8[np.ndarray, "h w"] | None = None) -> Drawing:
        """Start a drawing; `mask` is painted over its photograph. Raises InputError, also where one is going on."""
        with self._lock:
            if any(not drawing.state.is_over for drawing in self._drawings.values()):
                raise InputError("another drawing is going on, perhaps in another tab; press Stop, or wait for it")
            self._begun += 1
            key = f"{self._begun:04d}"
            folder = Path(self._folder.name) / key
            folder.mkdir()
            if asked.source_image and asked.redraw == "painted":
                write_mask(mask, source_photographs(self.opened, asked.label), asked.source_image, folder / "masks")
            drawing = Drawing(key, self.opened, asked, folder)
            if self._pipeline is None or self._pipeline.base != self.opened.base:
                self._pipeline = StoppablePipeline(self.opened.base)
            self._drawings[key] = drawing
            drawing.start(self._pipeline)
        self._forget_old()
        return drawing

    def stop(self) -> None:
        """Ask whatever is drawn to stop."""
        for drawing in self._drawings.values():
            if not drawing.state.is_over:
                drawing.stop()

    def follow(self, drawing: Drawing) -> Iterator[Drawing]:
        """The drawing whenever it has got further, and once when it is over; it is stopped if the caller leaves."""
        before = None
        try:
            while not drawing.state.is_over:
                if drawing.state != before:
                    before = drawing.state
                    yield drawing
                drawing.wait(_LOOK)
            yield drawing
        finally:
            drawing.stop()

    def cards(self, drawing: Drawing) -> list[Card]:
        """The images of a drawing that is over, each with its nearest photographs."""
        paths = drawing.paths
        if not paths:
            return []
        pixels = [read_image(path, self.as_is) for path in paths]
        found = neighbours(pixels, self.opened.photographs, self._compared)
        seeds, cards = list(drawing.rows["seed"]), []
        for index, near in enumerate(found):
            key, hidden = f"{drawing.key}:{index}", not self.opened.shows_photographs
            is_withheld = hidden and any(each.is_copy for each in near)
            shown = None if is_withheld else pixels[index]
            cards.append(Card(key=key, seed=seeds[index], pixels=shown, neighbours=near))
        return cards

    def photograph(self, row: int) -> UInt8[np.ndarray, "s s 3"]:
        """A photograph to be shown, by its row among those of `opened.photographs`. Raises InputError if hidden."""
        return self.read_shown(self.opened.photographs, row)

    def read_shown(self, photographs: Manifest, row: int, whole: int = 0) -> UInt8[np.ndarray, "h w 3"]:
        """A photograph of the train part to be shown: as models see it, or uncropped with a longer side of `whole`.

        Every picture of a patient passes here. Raises InputError where the study hides them.
        """
        if not self.opened.shows_photographs:
            raise InputError("the study hides photographs (embed_real_images: false)")
        path = photographs.paths()[row]
        if not whole:
            return read_image(path, self.as_is)
        image = read_rgb(path, whole)
        image.thumbnail((whole, whole))
        return np.asarray(image)

    def decide(self, key: str, accepted: Sequence[str], into: AcceptedSet) -> tuple[int, int]:
        """Accept these images of a drawing, and reject its others; how many were added, and rejected.

        Raises InputError for a drawing that is unknown or not over, one that was decided on, and a withheld image.
        """
        drawing = self._drawings.get(key)
        if drawing is None or not drawing.state.is_over:
            raise InputError("there is no finished drawing to decide on; draw first")
        with self._lock:
            if key in self._decided:
                raise InputError("these images were decided on already; draw others")
            paths = drawing.paths
            known = {f"{key}:{index}": index for index in range(len(paths))}
            unknown = [each for each in accepted if each not in known]
            if unknown or not paths:
                raise InputError("the ticked images are of another drawing; tick those that are shown")
            if accepted and not self.opened.shows_photographs:
                self._refuse_withheld(drawing, accepted)
            batch = Batch(images=paths, rows=drawing.rows, record_folder=drawing.record_folder)
            added = into.decide(batch, [known[each] for each in accepted])
            self._decided.add(key)
        return added, len(paths) - len(set(accepted))

    def _refuse_withheld(self, drawing: Drawing, accepted: Sequence[str]) -> None:
        withheld = {card.key for card in self.cards(drawing) if card.pixels is None}
        if withheld & set(accepted):
            raise InputError("an image that nobody can look at cannot be accepted; tick others")

    def _forget_old(self) -> None:
        """Remove the images of drawings long past; their keys stay taken."""
        for key in list(self._drawings)[:-_KEPT]:
            for path in self._drawings[key].paths:
                path.unlink()

    @cached_property
    def as_is(self) -> PixelConfig:
        """Size and geometry of images as models see them."""
        pixels = self.opened.study.pixels
        return PixelConfig(size=pixels.size, geometry=pixels.geometry)

    @cached_property
    def _compared(self) -> UInt8[np.ndarray, "n s s 3"]:
        study = self.opened.study
        return read_for_comparison(self.opened.photographs, study.pixels, study.cache)
