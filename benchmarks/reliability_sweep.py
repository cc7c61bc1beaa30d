"""A study is killed, or its power cut, at many points, and run again: it must end as if nothing had happened.

One run is looked at before each change of its folder, and its folder is copied where a crash is to be tried. Each copy
is what that crash leaves; the study is run again on it, and what it holds at the end compared with an undisturbed run.
"""

import math
import os
import random
import re
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from measure import log
from reliability_disk import Disk
from reliability_points import Point, crash_points
from reliability_study import contents, differences, in_child, restore, run, write_config

from data.store import RECORD

POWER_CUTS = {  # what has reached the disk beside what was synced
    "no name, no byte": {"keep_names": False},
    "names, no byte": {"keep_names": True},
    "names and lengths, zeros": {"keep_names": True, "zeros": True},
}
_SEED = 0


@dataclass(frozen=True)
class Crash:
    """A crash that was tried, and what differed from an undisturbed run once the study had been run again."""

    point: Point
    way: str  # kill, SIGKILL, or what a power cut had left
    found: list[str]

    def __str__(self) -> str:
        """Where it was, and what differed first."""
        more = f" (and {len(self.found) - 3} more)" if self.found[3:] else ""
        return (
            f"{self.way} at {self.point.number} {self.point.kind} {self.point.path}: {'; '.join(self.found[:3])}{more}"
        )


class Sweep:
    """The study's undisturbed run, and crashes of it in a working folder."""

    def __init__(self, work: Path) -> None:
        self._work, self._root, self._log = work, work / "root", work / "log.txt"
        self._config = write_config(self._root)
        self._root.mkdir()
        run(self._config)  # here, so that its copies have loaded all that they need
        self.expected = contents(self._root)
        self.points = self._points()

    def kills(self, count: int) -> Iterator[Crash]:
        """Kills, by what they leave."""
        chosen = choose(self.points, count)
        self._snapshots(lambda point, target: self._copy(target) if point.number in chosen else None)
        for number in chosen:
            yield self._resumed(self.points[number], self._work / f"{number}", "kill")

    def real_kills(self, count: int) -> Iterator[Crash]:
        """Runs that SIGKILL ends: whether they leave what was copied at that point, and what differs at the end."""
        chosen = choose(self.points, count)
        self._snapshots(lambda point, target: self._copy(target) if point.number in chosen else None)
        for number in chosen:
            killed = self._killed_at(number)
            left = contents(self._root)
            copied = contents(self._work / f"{number}")
            wrong = [] if killed == -signal.SIGKILL else [f"the run ended with {killed} before it could be killed"]
            wrong += [f"the copy: {line}" for line in differences(copied, left)]
            shutil.rmtree(self._work / f"{number}")
            crash = self._resumed(self.points[number], self._root, "SIGKILL")
            yield replace(crash, found=wrong + crash.found)

    def power_cuts(self, count: int) -> Iterator[Crash]:
        """Power cuts, each in one of the ways in turn. What was finished must not be lost, the last one excepted."""
        chosen, ways = choose(self.points, count), list(POWER_CUTS)
        way_of = {number: ways[turn % len(ways)] for turn, number in enumerate(chosen)}

        def remain(point: Point, target: Path, disk: Disk) -> None:
            if point.number in way_of:
                disk.write_remains(target, **POWER_CUTS[way_of[point.number]])
                lost = sorted(_finished(self._root) - _finished(target))[1:]
                target.with_suffix(".lost").write_text("\n".join(lost), encoding="utf-8")

        self._snapshots(remain)
        for number, way in way_of.items():
            remains = self._work / f"{number}"
            lost = remains.with_suffix(".lost").read_text(encoding="utf-8").split()
            crash = self._resumed(self.points[number], remains, way)
            yield replace(crash, found=[*(f"{name}: was finished, and is lost" for name in lost), *crash.found])

    def _copy(self, target: Path) -> None:
        shutil.copytree(self._root, target, symlinks=True)

    def _points(self) -> list[Point]:
        listed = self._work / "points.txt"

        def record() -> None:
            found: list[Point] = []
            with crash_points(self._root, found.append):
                run(self._config)
            listed.write_text("\n".join(f"{point.kind}\t{point.path}" for point in found), encoding="utf-8")

        self._anew()
        self._require(in_child(record, self._log))
        lines = [line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines()]
        return [Point(number, kind, path) for number, (kind, path) in enumerate(lines)]

    def _snapshots(self, look: Callable[..., None]) -> None:
        """Run the study once more; call `look` with each point, a name for its copy, and the disk if it wants it."""
        takes_disk = look.__code__.co_argcount == 3  # noqa: PLR2004

        def record() -> None:
            disk = Disk(self._root) if takes_disk else None

            def on_point(point: Point) -> None:
                look(point, self._work / f"{point.number}", *([disk] if takes_disk else []))

            with crash_points(self._root, on_point, disk):
                run(self._config)

        self._anew()
        self._require(in_child(record, self._log))

    def _killed_at(self, number: int) -> int:
        def doomed() -> None:
            def on_point(point: Point) -> None:
                if point.number == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            with crash_points(self._root, on_point):
                run(self._config)

        self._anew()
        return in_child(doomed, self._log)

    def _resumed(self, point: Point, snapshot: Path, way: str) -> Crash:
        """Run the study again from what a crash left, and compare."""
        if snapshot != self._root:
            restore(snapshot, self._root)
            shutil.rmtree(snapshot)

        def again() -> None:
            with crash_points(self._root, lambda _: None):  # no real disk is waited for
                run(self._config)

        code = in_child(again, self._log)
        found = differences(self.expected, contents(self._root))
        if code:
            last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            found = [f"the run ended with {code}: {' '.join(last)}", *found[:3]]
        return Crash(point, way, found)

    def _anew(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir()

    def _require(self, code: int) -> None:
        """An undisturbed run must end well, and as the first."""
        found = [f"it ended with {code}"] if code else differences(self.expected, contents(self._root))
        if found:
            raise RuntimeError(f"an undisturbed run: {found[0]}\n{self._log.read_text(encoding='utf-8')[-2000:]}")


def tried(crashes: Iterator[Crash], minutes: float = math.inf) -> list[Crash]:
    """Try the crashes, for so many minutes at most, with a line now and then."""
    made, start = list[Crash](), time.monotonic()
    last = start
    for crash in crashes:
        made.append(crash)
        if time.monotonic() - start > 60 * minutes:
            break
        if crash.found or time.monotonic() - last > 30:  # noqa: PLR2004 - seconds
            last = time.monotonic()
            log(f"{len(made)} crashes" + (f"; {crash}" if crash.found else ""))
    return made


def report(crashes: Sequence[Crash]) -> list[str]:
    """What was tried and found, in words."""
    counts = {
        "stages": Counter(stage_of(crash.point) for crash in crashes),
        "changes": Counter(crash.point.kind for crash in crashes),
        "ways": Counter(crash.way for crash in crashes),
    }
    lines = [
        f"{title}: {', '.join(f'{name} {n}' for name, n in sorted(found.items()))}" for title, found in counts.items()
    ]
    undone = [crash for crash in crashes if crash.found]
    points = len({crash.point.number for crash in crashes})
    end = f"{len(crashes) - len(undone)} of {len(crashes)} crashes, at {points} points, ended as an undisturbed run"
    return [*lines, end, *map(str, undone)]


def _finished(folder: Path) -> set[str]:
    """Artefacts that lie under their own names."""
    return {
        path.parent.relative_to(folder).as_posix()
        for path in folder.rglob(RECORD)
        if not path.parent.name.endswith(".partial")
    }


def stage_of(point: Point) -> str:
    """The stage whose files a point changes: `data`, `cache`, `finetune`, ...; `report` for the run's own records."""
    parts = re.sub(r"-[0-9a-f]{12}\b", "", point.path).split("/")
    if parts[1:2] != ["micro"]:
        return parts[1] if parts[1:] else "run"
    return parts[2].removesuffix(".partial").strip(".") if parts[3:] else "report"


def choose(points: Sequence[Point], count: int) -> list[int]:
    """Numbers of points: of each stage in turn, and within it of each kind, so that the first few are of all."""
    draw = random.Random(_SEED)
    stages = defaultdict[str, dict[str, list[int]]](lambda: defaultdict(list))
    for point in points:
        stages[stage_of(point)][point.kind].append(point.number)
    queues = []
    for kinds in stages.values():
        for numbers in kinds.values():
            draw.shuffle(numbers)
        order = draw.sample(sorted(kinds), len(kinds))
        queues.append(_in_turn([kinds[kind] for kind in order]))
    return _in_turn(queues)[:count]


def _in_turn(queues: Sequence[Sequence[int]]) -> list[int]:
    """The first of each, then the second of each, ..."""
    return [number for row in zip_longest(*queues) for number in row if number is not None]
