"""Many compute nodes in one process: `python -m benchmarks.simulated_nodes NAME COUNT FOLDER SERVER`.

Each is the whole of a compute node (compute/service.py) with a key, a connection, a journal and heartbeats of its own,
which offers the engine that does nothing. The join secret is in the environment. Prints a line when all take orders.
"""

import asyncio
import os
import resource
import sys
from pathlib import Path

import uvloop

from compute.service import run
from shared.settings.config import Config
from shared.settings.loading import load

STARTED_AT_ONCE = 50
CPUS = 8


async def main(name: str, count: int, folder: Path, server: str) -> None:
    _allow_files()
    configs = [_config(f"{name}-{number}", folder, server) for number in range(count)]
    starting = asyncio.Semaphore(STARTED_AT_ONCE)
    taking: list[None] = []

    async def one(config: Config) -> None:
        await starting.acquire()

        def on_ready() -> None:
            starting.release()
            taking.append(None)
            if len(taking) == count:
                print("ready", flush=True)

        await run(config, ready=on_ready)

    async with asyncio.TaskGroup() as group:
        for config in configs:
            group.create_task(one(config), name=config.name_provider)


def _config(name: str, folder: Path, server: str) -> Config:
    values = {
        "DataDir": str(folder / name),
        "NameProvider": name,
        "Compute.Orchestrators": server,
        "Compute.AllocatedCapacity.CPU": str(CPUS),
        "Compute.AllocatedCapacity.Memory": "16GB",
        "Compute.AllocatedCapacity.Disk": "16GB",
        "Engines.Types.Docker.Socket": "",
    }
    return load(sets=[f"{key}={value}" for key, value in values.items()], env=_environment()).config


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("TARPON_")}


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
