"""Real processes under load, while everything fails that can be made to fail: nothing is lost, wrong, stuck or left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.invariants import COUNTS
from tests.chaos.schedule import Kind
from tests.e2e.stack import wait_until
from tests.environments import ROOT
from tests.node_environment import node_python

SEED = "20"
SECONDS = "35"
HOSTILE = ("--hostile-seconds", "7", "--honest-p95", "15")
"""Beside other tests, how long jobs take says nothing."""


def command(folder: Path, *more: str) -> list[str]:
    options = ["--seconds", SECONDS, "--seed", SEED, "--json", "--folder", str(folder), *HOSTILE, *more]
    return [sys.executable, "-m", "tests.chaos", *options]


@pytest.mark.timeout(400)
def test_nothing_is_lost_wrong_stuck_or_left_whatever_fails(tmp_path: Path) -> None:
    node_python()
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=380, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert [numbers[name] for name in COUNTS] == [0] * len(COUNTS)
    assert numbers["deletions"] > 20
    assert numbers["jobs"] == numbers["completed"] + numbers["failed"] + numbers["stopped"] > 80
    assert set(numbers["faults_by_kind"]) | set(numbers["unavailable"]) == set(Kind)
    assert numbers["floods"] >= 10
    assert numbers["honest_jobs"] >= 20
    assert 0 < numbers["honest_p50_ms"] <= numbers["honest_p95_ms"]
    assert numbers["faults"] == sum(numbers["faults_by_kind"].values())
    assert numbers["faults_planned"] == numbers["faults"] + len(numbers["faults_left_out"])
    assert list(tmp_path.iterdir()) == [], "a run without violations leaves nothing"


@pytest.mark.timeout(200)
def test_a_run_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    node_python()
    with (tmp_path / "told").open("w") as told, subprocess.Popen(command(tmp_path), stderr=told, cwd=ROOT) as run:

        def tasks_run() -> bool:
            assert run.poll() is None, "it ended by itself"
            return any(tmp_path.glob("*/effects"))

        wait_until(tasks_run, within=120, what="tasks run")
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 128 + signal.SIGTERM
    (folder,) = (each for each in tmp_path.iterdir() if each.is_dir())
    wait_until(lambda: not _processes_below(folder), within=20, what="all its processes have ended")


def _processes_below(folder: Path) -> list[str]:
    """The command lines that name the run's folder, which those of all its services and tasks do."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            try:
                line = each.joinpath("cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found
