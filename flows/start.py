"""Set up and run from a bare Python: environment, Prefect server and worker, the demo, the tests.

    python3 -m flows.start demo    everything, then the study on the embedded phantoms
    python3 -m flows.start test    everything, then linters, types, import layers and tests
    python3 -m flows.start up      everything, ready for `prefect deployment run`
    python3 -m flows.start stop    stop the server and the worker that this program started

Standard library only, since it runs before anything is installed; it does only what is missing, so it can be run again.
"""

import os
import sys
import urllib.error

from flows.launch.environment import ROOT, StartError, call, environment, program
from flows.launch.follow import follow
from flows.launch.serving import deploy, end, environ, server, worker

TESTS = ("pytest", "-q", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
NUMERICAL = (*TESTS, "-m", "numerical")
# Rounding depends on the processor's instructions: tests that compare numbers run with older instruction sets too.
CHECKS: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (("ruff", "check", "."), {}),
    (("ruff", "format", "--check", "."), {}),
    (("mypy",), {}),
    (("lint-imports",), {}),
    (TESTS, {}),
    (NUMERICAL, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}),
    (NUMERICAL, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
)


def main(arguments: list[str]) -> int:
    """Exit code: 0, 1 for a failure of the program, 2 for bad input, 130 after Ctrl-C."""
    commands = {"demo": demo, "test": check, "up": up, "stop": stop}
    command, *rest = arguments or ["demo"]
    if command not in commands or (rest and command not in ("demo", "test")):
        print(__doc__)
        return 0 if command in ("-h", "--help", "help") else 2
    os.chdir(ROOT)
    try:
        return commands[command](rest)
    except StartError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as fault:
        gone = isinstance(fault, urllib.error.URLError) and not isinstance(fault, urllib.error.HTTPError)
        lost = f"the Prefect server answers no more ({fault}); the same command starts it anew"
        print(f"failed: {lost if gone else fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command again goes on from what is finished", file=sys.stderr)
        return 130


def demo(overrides: list[str]) -> int:
    """Set up, run the default deployment and follow it."""
    up([])
    return follow(overrides)


def check(arguments: list[str]) -> int:
    """Set up and run every check, also after one has failed. With arguments for pytest, the tests run once."""
    environment()
    failed = []
    for (tool, *options), variables in CHECKS:
        if arguments and variables:
            continue
        named = " ".join([*(f"{name}={value}" for name, value in variables.items()), tool])
        print(f"$ {' '.join([named, *options])}", flush=True)
        extra = arguments if tool == "pytest" else []
        if call([program(tool), *options, *extra], env=environ() | variables).returncode:
            failed.append(named)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def up(_: list[str]) -> int:
    """Set up environment, server, worker and deployments, each only where it is missing."""
    environment()
    server()
    worker()
    deploy()
    return 0


def stop(_: list[str]) -> int:
    """Stop what this program started; anything else is left alone."""
    for name in ("worker", "server"):
        end(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
