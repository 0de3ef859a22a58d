"""How quickly Tarpon's processes are there: `python -m benchmarks.start [--runs N] [--beside CHECKOUT]`.

Whole processes of the command line, with 1,000 ended jobs to list; a node from its start to the end of the first job,
which waits for it; an orchestrator without any state from its start to ready. With `--beside` the same of another
build, a checkout with an environment of its own, in turn. Prints one JSON object: medians in milliseconds, and of the
command line also the processor time (user and system), which says more where others are at work. `nothing` is Python
itself, `python -c pass`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.control_plane import job_of
from benchmarks.rig import Load, Rig, rig
from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tests.e2e.stack import TERMINAL, Stack

JOBS = 1000
STARTS_IN = 5
"""One start of a node and of an orchestrator for so many runs of the command line."""
POLL_SECONDS = 0.003
WITHIN_SECONDS = 60.0

Measured = dict[str, dict[str, list[float]]]
"""By what was measured, then by unit."""


def main() -> None:
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--beside", type=Path, help="the folder of another checkout, with .venv in it")
    wanted = parser.parse_args()
    warn_of_load()
    builds = {"this": Path(sys.prefix)} | ({"other": wanted.beside.absolute() / ".venv"} if wanted.beside else {})
    found: dict[str, Measured] = {build: {} for build in builds}
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder), sink="discard", sync="default") as made:
        made.start_orchestrator()
        _fill(made)
        for run in range(wanted.runs):
            for build in sorted(builds, reverse=bool(run % 2)):
                _commands(made.stack, builds[build], found[build])
                if run % STARTS_IN == 0:
                    python = str(builds[build] / "bin" / "python")
                    _note(found[build], "node_to_first_job", ms=_node(made.stack, f"{build}-{run}", python))
                    root = Path(folder) / f"{build}-{run}"
                    root.mkdir()
                    _note(found[build], "orchestrator_to_ready", ms=_orchestrator(Stack(root, made.s3), python))
            tell(f"run {run + 1} of {wanted.runs}, load {os.getloadavg()[0]:.1f}")
    print(json.dumps({build: _medians(measured) for build, measured in found.items()}, indent=2))


def _fill(made: Rig) -> None:
    made.start_nodes(1)
    load = Load(made, job_of("noop"), jobs=JOBS, in_flight=64, warm_up=1)
    try:
        for _ in range(2):
            load.step()
    finally:
        load.close()
    made.stack.computes.popitem()[1].stop()


def _commands(stack: Stack, environment: Path, found: Measured) -> None:
    variables = {"PATH": os.environ["PATH"], "TARPON_API_PORT": str(stack.api_port), "HOME": str(stack.root)}
    python, tarpon = str(environment / "bin" / "python"), str(environment / "bin" / "tarpon")
    commands = {
        "nothing": [python, "-c", "pass"],
        "tarpon --help": [tarpon, "--help"],
        f"tarpon job list of {JOBS}": [tarpon, "job", "list", "-A", "--limit", str(JOBS)],
    }
    for name, command in commands.items():
        _note(found, name, **_run(command, variables))


def _run(command: list[str], variables: Mapping[str, str]) -> dict[str, float]:
    """Of one process, from its start to its end."""
    output = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, variables, file_actions=output)
    _, status, used = os.wait4(pid, 0)
    seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return {"ms": seconds * 1e3, "processor_ms": (used.ru_utime + used.ru_stime) * 1e3}


def _node(stack: Stack, name: str, python: str) -> float:
    job = stack.submit(job_of("process"))
    begun = time.perf_counter()
    node = stack.start_compute(name, python=python, connected=False)
    _wait(lambda: stack.state(job) in TERMINAL)
    ms = (time.perf_counter() - begun) * 1e3
    assert stack.state(job) == "Completed"
    node.stop()
    return ms


def _orchestrator(stack: Stack, python: str) -> float:
    begun = time.perf_counter()
    stack.start_orchestrator(python=python, ready=False)

    def is_ready() -> bool:
        with suppress(urllib.error.URLError, ConnectionError):
            return bool(stack.api("/agent/node")["Publishers"]["S3Managed"]["Ready"])
        return False

    try:
        _wait(is_ready)
        return (time.perf_counter() - begun) * 1e3
    finally:
        stack.stop()


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"It is not so after {WITHIN_SECONDS:g} s.")
        time.sleep(POLL_SECONDS)


def _note(found: Measured, what: str, **values: float) -> None:
    for unit, value in values.items():
        found.setdefault(what, {}).setdefault(unit, []).append(value)


def _medians(found: Measured) -> dict[str, Any]:
    return {
        what: {unit: round(statistics.median(values), 1) for unit, values in units.items()}
        for what, units in found.items()
    }


if __name__ == "__main__":
    main()
