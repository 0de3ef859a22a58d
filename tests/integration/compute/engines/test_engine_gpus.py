"""Tasks that ask for GPUs on a machine that has none: with no engine do they run without."""

from pathlib import Path

import pytest

from compute.engines.docker.facts import CDI, NVIDIA, EngineFacts
from compute.engines.docker.spec import Confinement, container_spec
from compute.engines.engine import Exited
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import DockerParams
from shared.jobs.states import FailureReason
from tests.engine import TestEngine
from tests.integration.docker_bench import NODE, Bench
from tests.integration.process_bench import Bench as ProcessBench


@pytest.fixture(params=["docker", "podman"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    engine: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    return Bench(tmp_path, engine)


async def test_a_task_that_is_given_no_gpu_does_not_run(bench: Bench) -> None:
    task = bench.shell("echo > /outputs/ran", resources=Capacity(gpu=1), devices=("0",))
    end = await bench.broken(task)
    assert (end.reason, end.reason.retryable) == (FailureReason.GPU_NOT_GIVEN, True)
    assert task.starts == 0
    assert not (task.outputs / "ran").exists()


async def test_a_task_that_asks_for_none_is_kept_from_those_of_the_node(bench: Bench) -> None:
    task = bench.task(
        {
            "Image": "busybox:1.37.0",
            "Entrypoint": ["/bin/sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES"],
            "EnvironmentVariables": ["NVIDIA_VISIBLE_DEVICES=all"],
        },
        devices=(),
    )
    assert await bench.ended(task) == Exited(0)
    assert task.read("stdout") == "void\n"


@pytest.mark.parametrize(("driver", "ids"), [(NVIDIA, ["1", "3"]), (CDI, ["nvidia.com/gpu=1", "nvidia.com/gpu=3"])])
def test_gpus_are_asked_for_by_their_ids(
    tmp_path: Path, docker_engine: TestEngine, driver: str, ids: list[str]
) -> None:
    task = Bench(tmp_path, docker_engine).shell("true", resources=Capacity(gpu=2), devices=("1", "3"))
    confinement = Confinement(node_id=NODE, pids_limit=100, bridge_network="bridge")
    facts = EngineFacts(
        version="5.4.2", rootless=False, is_outlived=False, log_driver="local", cpus=1, gpu_driver=driver
    )
    spec = container_spec(task.run, DockerParams(image="busybox:1.37.0"), confinement, facts)
    (request,) = spec["HostConfig"]["DeviceRequests"]
    assert request == {"Driver": driver, "DeviceIDs": ids, "Capabilities": [["gpu"]]}
    assert "Count" not in request


async def test_a_process_is_told_its_gpus(tmp_path: Path) -> None:
    bench = ProcessBench(tmp_path)
    bench.devices = ("1",)
    assert await bench.shell("echo $CUDA_VISIBLE_DEVICES $HIP_VISIBLE_DEVICES") == Exited(0)
    assert bench.read("stdout") == "1 1\n"
