"""What is behind benchmarks.inputs: `python -m benchmarks.reading URL SIZE COUNT FOLDER`.

As a node does it, COUNT objects `URL/SIZE/NUMBER` are fetched into an empty cache, and then given to a second task.
Prints one JSON object: what the first took, and after how many seconds the second one could start.
"""

import json
import sys
from pathlib import Path

import uvloop

from benchmarks.generating_server import ETAG
from benchmarks.meter import OwnCost
from compute.disk.workspace import Workspace
from compute.inputs.fetching import Inputs
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.get import input_session
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.objects.small.gets import SmallGets
from compute.inputs.order import InputOrder
from shared.ids import ExecutionId
from shared.jobs.spec import InputSource, SpecConfig, Task
from shared.protocol.messages import NodeRequestAnswer
from shared.protocol.nodes.inputs import InputFile, InputList, InputsGiven, InputsRequest
from shared.protocol.signed_url import SignedUrl
from shared.runtime.allocator import keep_freed_memory

NO_LIMIT = 1 << 50


class Desk:
    """Answers as an orchestrator does, from memory."""

    def __init__(self, url: str, size: int, count: int) -> None:
        self._url = url
        self._size = size
        self._count = count

    async def ask(self, request: InputsRequest) -> NodeRequestAnswer:
        numbers = range(request.first, min(self._count, request.first + request.count))
        return InputsGiven(
            files=tuple(map(self._file, numbers)),
            total=self._count,
            total_bytes=self._count * self._size,
            lists=(InputList(source=0, count=self._count, size=self._count * self._size, content="all of it"),),
        )

    def _file(self, number: int) -> InputFile:
        url = SignedUrl(method="GET", url=f"{self._url}/{self._size}/{number}", lifetime_seconds=3600)
        path = f"{number // 1000}/{number}"
        return InputFile(source=0, path=path, size=self._size, etag=ETAG, content=f"{self._size} {number}", url=url)


def order(name: str, folder: Path) -> InputOrder:
    workspace = Workspace(folder / "executions" / name)
    workspace.create(())
    source = InputSource(source=SpecConfig(type="s3"), target="/in")
    task = Task(name="main", engine=SpecConfig(type="docker"), input_sources=(source,))
    return InputOrder(execution_id=ExecutionId(name), task=task, workspace=workspace)


async def read(url: str, size: int, count: int, folder: Path) -> dict[str, float]:
    keep_freed_memory()
    cache = InputCache.open(folder / "inputs", NO_LIMIT)
    async with input_session() as http:
        downloads = Downloads(http, SmallGets(), cache)
        inputs = Inputs({}, ManagedInputs(downloads, Desk(url, size, count).ask))
        first, second = order("e-1", folder), order("e-2", folder)
        cost = OwnCost()
        await inputs.fetch(first)
        told = cost.so_far()
        again = OwnCost()
        await inputs.fetch(second)
        told["again_s"] = again.so_far()["wall_s"]
    return told


def main(url: str, size: str, count: str, folder: str) -> None:
    print(json.dumps(uvloop.run(read(url, int(size), int(count), Path(folder)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
