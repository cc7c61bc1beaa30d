"""Prefect's worker, engine and server killed in the midst of a run: it ends or goes on, and the same command completes it.

Each kill has a server, a worker and a run folder of its own. `follow`, which shows a run, must end by itself.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import log

ROOT = Path(__file__).parents[1]
MOMENTS = ("split-*", "arm/real-0-*.partial", "arm/oversampled-0-*.partial", "arm/oversampled-0-*/artifact.json")
POOL = "lesionloom"
KILLED = ("worker", "engine", "server")
SMALL = (
    "data.phantom.images=84", "data.phantom.balanced=true", "data.phantom.test_lesions=0", "pixels.size=32",
    "split.rare=[df]", "split.shots=4", "split.limit_real_to_shots=false", "fill_to=12",
    "classifier.model=test_efficientnet", "classifier.weights=none", "classifier.steps=4", "classifier.batch_size=8",
    "classifier.validate_every=2", "arms=[real, oversampled]", "malignant=[]", "seeds=[0]", "coding=none",
)  # fmt: skip
PATIENCE = 600  # seconds in which each thing that is waited for must come


@dataclass(frozen=True)
class Outcome:
    """What became of a run of which something was killed."""

    killed: str
    moment: str
    first: int | None  # exit code of the command that followed it; None: it hung
    second: int | None  # of the same command afterwards

    @property
    def is_well(self) -> bool:
        """Whether nothing hung, and the run or the next one was completed."""
        return self.first is not None and self.second == 0

    def __str__(self) -> str:
        """One line."""
        codes = ["hung" if code is None else f"exit code {code}" for code in (self.first, self.second)]
        return f"{self.killed} killed at {self.moment}: {codes[0]}; the same command again: {codes[1]}"


def kills(folder: Path, count: int) -> Iterator[Outcome]:
    """Kill so many times, each of the three in turn, at one moment after the other."""
    for number in range(count):
        killed, moment = KILLED[number % len(KILLED)], MOMENTS[number // len(KILLED) % len(MOMENTS)]
        place = folder / f"{number}"
        place.mkdir()
        outcome = _kill(place, killed, moment)
        log(str(outcome))
        yield outcome


def _kill(place: Path, killed: str, moment: str) -> Outcome:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environ = os.environ | {
        "PREFECT_HOME": str(place / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "DO_NOT_TRACK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *arguments: str) -> None:
        with (place / f"{name}.log").open("ab") as file:
            program = [str(Path(sys.executable).with_name("prefect")), *arguments]
            parts[name] = subprocess.Popen(program, cwd=ROOT, env=environ, stdout=file, stderr=file)  # noqa: S603

    def start_server() -> None:
        start("server", "server", "start", "--host", "127.0.0.1", "--port", port)
        _wait(lambda: _answers(port, "/health"), "the server")

    def start_worker() -> None:
        start("worker", "worker", "start", "--pool", POOL, "--type", "process")
        _wait(lambda: _answers(port, f"/work_pools/{POOL}"), "the worker, which makes its pool")

    def follow() -> subprocess.Popen[bytes]:
        code = "import sys; from flows.launch.follow import follow; sys.exit(follow(sys.argv[1:]))"
        with (place / "follow.log").open("ab") as file:
            command = [sys.executable, "-c", code, *SMALL, f"output_dir={place / 'runs'}"]
            return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file, stderr=file)  # noqa: S603

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [_end(process.pid) for process in parts.values()])
        start_server()
        start_worker()
        start("deploy", "--no-prompt", "deploy", "--all")
        parts.pop("deploy").wait(PATIENCE)
        shown = follow()
        stack.callback(lambda: _end(shown.pid))
        _wait(lambda: _there(place / "runs" / "demo", moment) or shown.poll() is not None, moment)
        if shown.poll() is not None:
            raise RuntimeError(f"the run ended before it was to be killed: {(place / 'follow.log').read_text()[-2000:]}")
        engines = _descendants(parts["worker"].pid)
        stack.callback(lambda: [_end(pid) for pid in engines])
        for pid in {"worker": [parts["worker"].pid], "server": [parts["server"].pid], "engine": engines}[killed]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first = _code(shown)
        _wait(lambda: not any(map(_lives, engines)), "the engine's end")
        if killed == "server":
            start_server()
        if killed != "engine":
            _end(parts["worker"].pid)
            start_worker()
        again = follow()
        stack.callback(lambda: _end(again.pid))
        return Outcome(killed, moment, first, _code(again))


def _code(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return None


def _wait(ready: Callable[[], bool], what: str) -> None:
    start = time.monotonic()
    while not ready():
        if time.monotonic() - start > PATIENCE:
            raise RuntimeError(f"{what} did not come in {PATIENCE} s")
        time.sleep(0.1)


def _there(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def _answers(port: str, path: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api{path}", timeout=5):  # noqa: S310
        return True
    return False


def _descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have; Linux."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text(encoding="ascii").split()):
            found += [child, *_descendants(child)]
    return found


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def _end(pid: int) -> None:
    for each in (*_descendants(pid), pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def report(outcomes: Sequence[Outcome]) -> list[str]:
    """What was found, in words."""
    well = sum(outcome.is_well for outcome in outcomes)
    return [*map(str, outcomes), f"{well} of {len(outcomes)} kills: nothing hung, and the same command completed the run"]
