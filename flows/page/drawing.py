"""One drawing at a time, in a thread: it waits for the accelerator, tells how far it is, and stops when asked.

Images are written by `generate`, as a study's are, into a private folder that is gone when the page ends.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment import device as devices
from augment.generate.config import GenerateConfig
from augment.generate.metadata import FILE
from augment.generate.pipeline import AdapterPipeline
from augment.generate.run import ImageRequest, generate
from data.errors import InputError
from data.files.images import is_whole
from data.manifest import read_table
from flows.device_lock import NotAwaitedError, holding
from flows.page.opened import OpenedRun
from flows.page.request import image_request
from flows.page.settings import DrawSettings, generate_config

_log = logging.getLogger(__name__)
WAITING, LOADING, DRAWING = "waiting", "loading", "drawing"
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"


class Stopped(Exception):  # noqa: N818 - no error: somebody pressed Stop
    """A person stopped the drawing."""


@dataclass(frozen=True, kw_only=True)
class DrawingState:
    """How far a drawing is."""

    phase: str
    images: int  # written
    count: int  # asked for
    step: int = 0  # of the present images
    message: str = ""  # why it failed

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.phase in {FINISHED, STOPPED, FAILED}

    @property
    def in_words(self) -> str:
        """One line for the page."""
        done = f"{self.images} of {self.count} images"
        return {
            WAITING: "Waiting: a study computes on the accelerator. The drawing starts when its present step ends.",
            LOADING: "Loading the generator.",
            DRAWING: f"Drawing: {done}, step {self.step} of the next.",
            FINISHED: f"{done} drawn.",
            STOPPED: f"Stopped: {done} drawn.",
            FAILED: self.message,
        }[self.phase]


class Drawing:
    """The images of one request, drawn in a thread of their own."""

    def __init__(self, key: str, opened: OpenedRun, asked: DrawSettings, folder: Path) -> None:
        """Raises InputError for a request that cannot be drawn; `folder` is the drawing's own."""
        self.key, self.asked, self.folder = key, asked, folder
        masks = folder / "masks"
        self.config: GenerateConfig = generate_config(opened.study.generate, asked, str(masks))
        self.request: ImageRequest = image_request(opened, asked)
        self.state = DrawingState(phase=WAITING, images=0, count=asked.count)
        self._stop, self._last_timestep = threading.Event(), -1.0
        self._images = folder / "drawn"
        self._thread: threading.Thread | None = None

    def start(self, pipeline: StoppablePipeline) -> None:
        """Begin; `state` tells how far it is."""
        self._thread = threading.Thread(target=self._work, args=(pipeline,), name=f"draw {self.key}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the drawing to stop at its next step."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is over, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def paths(self) -> list[Path]:
        """The images that are whole, in order."""
        names = (f"{self.asked.label}-{i:06d}.{self.config.format}" for i in range(self.asked.count))
        paths = (self._images / "images" / name for name in names)
        return list(itertools.takewhile(is_whole, paths))

    @property
    def rows(self) -> pd.DataFrame:
        """metadata.csv of a drawing that is over, a row an image. Raises DataError."""
        return read_table(self._images / FILE)

    @property
    def record_folder(self) -> Path:
        """Where its generation.json lies."""
        return self._images

    def on_call(self, timestep: float) -> None:
        """Called before each call of the denoiser. Raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        if timestep != self._last_timestep:  # guidance calls twice a step
            is_later = self._last_timestep > timestep
            self._last_timestep = timestep
            self.state = replace(self.state, phase=DRAWING, step=self.state.step + 1 if is_later else 1)

    def _work(self, pipeline: StoppablePipeline) -> None:
        try:
            with _held_device(self._stop):
                self.state = replace(self.state, phase=LOADING)
                with pipeline.calling(self.on_call):
                    self._generate(pipeline, self.request)
            self.state = replace(self.state, phase=FINISHED, images=len(self.paths))
        except Stopped:
            self._keep_what_is_drawn(pipeline)
        except InputError as fault:
            self.state = replace(self.state, phase=FAILED, message=str(fault))
        except Exception as fault:  # noqa: BLE001 - a thread's failure would be seen by nobody
            _log.exception("the drawing failed")
            message = f"The drawing failed ({type(fault).__name__}: {fault}); the terminal says where."
            self.state = replace(self.state, phase=FAILED, message=message)
        finally:
            if devices.default_device().type != "cpu":  # a study may need the memory
                pipeline.unload()

    def _generate(self, pipeline: AdapterPipeline, request: ImageRequest) -> None:
        def on_progress(done: int, total: int, note: str = "") -> None:
            del total, note
            self.state = replace(self.state, images=min(done, self.asked.count))

        generate(pipeline=pipeline, request=request, config=self.config, out=self._images, progress=on_progress)

    def _keep_what_is_drawn(self, pipeline: AdapterPipeline) -> None:
        """Write the table of the images that are there: none is missing then, so nothing is loaded."""
        done = len(self.paths)
        if done:
            self._generate(pipeline, replace(self.request, count=done))
        self.state = replace(self.state, phase=STOPPED, images=done)


class StoppablePipeline(AdapterPipeline):
    """An AdapterPipeline that asks before each call of the denoiser whether to go on."""

    _on_call: Any = None
    _hooked: StableDiffusionPipeline | None = None

    @contextlib.contextmanager
    def calling(self, on_call: Any) -> Iterator[None]:  # noqa: ANN401 - a function of the timestep
        """While the block runs, `on_call` has each call's timestep before it is made."""
        self._on_call = on_call
        try:
            yield
        finally:
            self._on_call = None

    def load_adapter(self, folder: Path | None, config: GenerateConfig, images: int = 0) -> StableDiffusionPipeline:
        """As the base class does."""
        pipe = super().load_adapter(folder, config, images)
        if pipe is not self._hooked:
            pipe.unet.register_forward_pre_hook(self._before)
            self._hooked = pipe
        return pipe

    def unload(self) -> None:
        """As the base class does."""
        self._hooked = None
        super().unload()

    def _before(self, _module: object, arguments: Sequence[Tensor]) -> None:
        if self._on_call is not None:
            self._on_call(float(arguments[1].reshape(-1)[0]))


@contextlib.contextmanager
def _held_device(stop: threading.Event) -> Iterator[None]:
    """Hold the accelerator, as a step of a study does; wait for one that another process holds. Raises Stopped."""
    device = devices.default_device()
    if device.type == "cpu":
        yield
        return
    try:
        with holding(device, waits=lambda: not stop.is_set()):
            yield
    except NotAwaitedError as over:
        raise Stopped from over
