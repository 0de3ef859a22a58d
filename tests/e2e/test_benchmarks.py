"""That the benchmarks by which others measure still run, and print what they are read for."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox import need_sandbox

ROOT = Path(__file__).parents[2]
PROCESSES = {"orchestrator", "nodes", "nats", "s3", "children", "client"}


@pytest.mark.parametrize("engine", ["noop", "process"])
def test_the_control_plane_is_measured_with_jobs_that_all_complete(engine: str) -> None:
    measured = _run("benchmarks.control_plane", "--jobs", "20", "--warm-up", "5", "--engine", engine, "--json")
    assert measured["jobs_per_s"] > 0
    assert 0 < measured["p50_ms"] <= measured["p95_ms"]
    assert set(measured["cpu_us_per_job"]) == PROCESSES
    assert set(measured["rss_mib"]) == PROCESSES - {"children"}
    assert (measured["failed"], measured["refused"]) == (0, 0)


def test_what_tls_leaves_of_the_control_plane_is_measured_in_turn_with_plain_text() -> None:
    measured = _run("benchmarks.control_plane", "--jobs", "20", "--warm-up", "5", "--turns", "2", "--json")
    assert measured["ratio"] > 0
    assert [len(measured["jobs_per_s"][name]) for name in ("plain", "tls")] == [2, 2]
    assert measured["failed"] == 0


def test_encrypted_nodes_come_back_and_a_renewal_ends_each_connection_once_and_no_stream() -> None:
    measured = _run("benchmarks.tls_nodes", "killed", "renewal", "--nodes", "4", "--in-flight", "2", "--streams", "2")
    assert measured["killed"] > 0
    renewal = measured["renewal"]
    assert renewal["renewed"]
    assert renewal["times_ended"] == {"1": 5}
    assert renewal["streams_whole"] == {"events": 2, "logs": 2}
    assert (set(renewal["jobs"]), renewal["streams_dropped"]) == ({"Completed"}, [])


def test_jobs_are_measured_on_many_nodes_beside_many_stored_jobs() -> None:
    many = ("--nodes", "20", "--simulated", "--stored", "100")
    measured = _run("benchmarks.control_plane", "--jobs", "20", "--warm-up", "5", *many, "--json")
    assert (measured["nodes"], measured["stored"], measured["failed"]) == (20, 100, 0)


def test_honest_jobs_are_measured_beside_a_node_that_floods() -> None:
    measured = _run("benchmarks.hostile_node", "heartbeats", "registrations", "--seconds", "2", "--json")
    assert list(measured) == ["none", "heartbeats", "registrations"]
    assert all(each["without_end"] == 0 and not each["problems"] for each in measured.values())
    assert all(measured[flood]["sent"] > 0 for flood in ("heartbeats", "registrations"))


def test_a_task_is_measured_with_and_without_a_sandbox() -> None:
    need_sandbox()
    measured = _run("benchmarks.sandbox", "--runs", "5")
    assert measured["runs"] == 5
    assert measured["off_ms"] > 0
    assert measured["sandboxed_ms"] > 0


def test_who_is_not_trusted_any_more_is_cut_off() -> None:
    measured = _run("benchmarks.cut_off", "--rounds", "1")
    assert measured["gains"] == dict.fromkeys(("node", "key", "program", "token"), 0)
    assert measured["honest_jobs"]["count"] > 0


def _run(module: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
