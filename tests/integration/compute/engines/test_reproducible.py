"""Reproducible tasks: in each engine they find the same, whatever the node that runs them has."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.engines.engine import Exited
from compute.processes.strays import Strays
from tests import wasm_modules as wasm
from tests.engine import TestEngine
from tests.integration.docker_bench import Bench as DockerBench
from tests.integration.process_bench import Bench as ProcessBench
from tests.integration.wasm_bench import WasmBench
from tests.podman import PodmanEngine

TELLS = "cat /proc/sys/kernel/hostname; umask; env | grep -E '^(L|PYTHONH|SOURCE|TZ)' | sort; > {}/made; mkdir {}/m"
VARIABLES = ["LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", "SOURCE_DATE_EPOCH=315532800", "TZ=UTC"]
FOUND = "\n".join(["localhost", "0022", *VARIABLES, ""])
FOLDER_OF_WASM = 3


@pytest.fixture(autouse=True)
def _odd_umask() -> Iterator[None]:
    """Of this process, which is the node."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def modes(folder: Path) -> list[int]:
    return [each.stat().st_mode & 0o777 for each in sorted(folder.iterdir())]


async def test_a_process_finds_the_same_on_each_node(tmp_path: Path, strays: Strays) -> None:
    bench = ProcessBench(tmp_path, strays, sandboxed=True)
    script = TELLS.format("outputs", "outputs")
    assert await bench.shell(script, reproducible=True) == Exited(0)
    assert bench.read("stdout") == FOUND
    assert modes(bench.workspace.folder / "outputs") == [0o755, 0o644]
    usual = bench.another()
    assert await usual.shell(script) == Exited(0)
    assert modes(usual.workspace.folder / "outputs") == [0o700, 0o600]


@pytest.mark.parametrize("network", ["None", "Host"])
async def test_a_docker_container_finds_the_same_on_each_node(
    docker_engine: TestEngine, tmp_path: Path, network: str
) -> None:
    await _assert_a_container_finds_the_same(DockerBench(tmp_path, docker_engine), network)


@pytest.mark.parametrize("network", ["None", "Host"])
async def test_a_podman_container_finds_the_same_on_each_node(
    podman_engine: PodmanEngine, tmp_path: Path, network: str
) -> None:
    await _assert_a_container_finds_the_same(DockerBench(tmp_path, podman_engine), network)


async def _assert_a_container_finds_the_same(bench: DockerBench, network: str) -> None:
    task = bench.shell(TELLS.format("/outputs", "/outputs"), network=network, reproducible=True)
    assert await bench.ended(task) == Exited(0)
    assert task.read("stdout") == FOUND
    assert modes(task.outputs) == [0o755, 0o644]


async def test_a_module_finds_the_same_on_each_node(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path) as bench:
        assert await bench.run(wasm.tells_arguments_and_variables(), reproducible=True) == Exited(0)
        assert bench.read("stdout").split("\0")[:-1] == ["main.wasm", *VARIABLES]
        made = wasm.opens(FOLDER_OF_WASM, "made", flags=wasm.CREATE, rights=wasm.WRITE)
        assert await bench.run(made, reproducible=True) == Exited(0)
        assert modes(bench.workspace.folder / "outputs") == [0o644]
        assert await bench.run(made) == Exited(0)
        assert modes(bench.workspace.folder / "outputs") == [0o600]


async def test_what_a_job_sets_itself_counts(tmp_path: Path, strays: Strays) -> None:
    bench = ProcessBench(tmp_path, strays, sandboxed=True)
    params = {"Entrypoint": ["/usr/bin/env"], "EnvironmentVariables": ["TZ=Europe/Berlin"]}
    assert await bench.run(params, reproducible=True) == Exited(0)
    assert "TZ=Europe/Berlin" in bench.read("stdout").splitlines()
