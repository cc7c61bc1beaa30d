"""What classifiers' trainings are measured with and by: options, measurements, and both as Markdown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch

from classify.device import default_device

_MAX_DATA_SHARE = 0.1  # of a step
_COLUMNS = (
    "px", "ours, images/s", "TFLOP/s", "train.py, images/s", "ratio", "our data path", "train.py waits for images",
    "loading, decoded then cached", "start-up by seed",
)  # fmt: skip
_READING = "Images a second are medians of the turns, with the least and the most."


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured at one size."""

    size: int
    images: int
    ours: list[float]  # images a second, turn by turn
    theirs: list[float]
    data: float  # share of a step of ours
    waiting: float  # share of a step of theirs that waits for its workers
    loading: tuple[float, float]  # seconds to load the images, decoded and then from the cache
    seeds: list[float]  # seconds until the first step is done, seed after seed, less a later step's
    flops: float  # of an image's training


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is the same at every size."""

    model: str = "efficientnet_b0"
    batch: int = 32  # images a step
    rounds: int = 5  # turns of each side
    steps: int | None = None  # of a turn; None: 16 at 64 px, fewer at more on a processor
    augment_device: str = "auto"

    def steps_at(self, size: int) -> int:
        """Steps of a turn at this size."""
        fewer = (64 / size) ** 2 if default_device().type == "cpu" else 1
        return self.steps or max(3, round(16 * fewer))


def report(found: Sequence[Measurement], options: Options) -> str:
    """The figures as Markdown."""
    device = default_device()
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} threads of a processor"
    )
    run = f"{options.model}, batch {options.batch}, {name}, torch {version('torch')}, timm {version('timm')}"
    lines = [
        f"{run}; augmentation on: {options.augment_device}. {_READING}",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    lines += [_row(each) for each in found]
    reached = f"The data path takes less than {_MAX_DATA_SHARE:.0%} of a step at every size."
    missed = [str(each.size) for each in found if each.data >= _MAX_DATA_SHARE]
    lines += [
        "",
        f"The data path takes {_MAX_DATA_SHARE:.0%} or more at {', '.join(missed)} px." if missed else reached,
    ]
    if device.type == "cuda":
        lines.append(f"Peak memory of both trainings: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB.")
    return "\n".join(lines)


def _row(found: Measurement) -> str:
    rate = statistics.median(found.ours)
    ratios = [one / other for one, other in zip(found.ours, found.theirs, strict=True)]
    cells = [
        str(found.size),
        _median_range(found.ours, 0),
        f"{rate * found.flops / 1e12:.3f}",
        _median_range(found.theirs, 0),
        _median_range(ratios, 2),
        f"{found.data:.1%}",
        f"{found.waiting:.1%}",
        f"{found.images} images: {found.loading[0]:.2f} s, {found.loading[1]:.3f} s",
        ", ".join(f"{seconds:.2f} s" for seconds in found.seeds),
    ]
    return f"| {' | '.join(cells)} |"


def _median_range(values: Sequence[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"
