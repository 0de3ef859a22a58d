"""What a task in a container may fill of the node's disk, wherever it writes."""

from pathlib import Path

import pytest

from compute.engines.engine import Exited
from shared.jobs.capacity import Capacity
from shared.jobs.states import FailureReason
from tests.engine import TestEngine
from tests.integration.docker_bench import Bench

MIB = 1 << 20


@pytest.fixture
def bench(docker_engine: TestEngine, tmp_path: Path) -> Bench:
    return Bench(tmp_path, docker_engine)


@pytest.mark.parametrize("place", ["/outputs/file", "/file"])
async def test_too_many_bytes_on_disk_end_the_task_and_say_so(bench: Bench, place: str) -> None:
    script = f"head -c 20000000 /dev/zero > {place}; while :; do sleep 0.05; done"
    end = await bench.broken(bench.shell(script, resources=Capacity(disk=8 * MIB)), disk_check_seconds=0.05)
    assert end.reason is FailureReason.DISK_LIMIT_EXCEEDED
    assert not end.reason.retryable
    assert "limit of 8.0 MiB" in end.detail


async def test_a_task_within_its_disk_space_is_left_alone(bench: Bench) -> None:
    task = bench.shell("head -c 3000000 /dev/zero > /outputs/file; sleep 1", resources=Capacity(disk=8 * MIB))
    assert await bench.ended(task, disk_check_seconds=0.05) == Exited(0)
