"""The output of a job's tasks while the job is watched: all that each execution writes, from when it begins to run."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

from shared.data.plain_text import indented
from shared.errors import TarponError
from shared.ids import short
from shared.jobs.partition_names import partition_name
from shared.jobs.spec import OPS, Job, JobView
from shared.protocol.rest import ExecutionView, HistoryItem
from shared.runtime.aio import background
from tarpon.cli.display.partitions import Stage, stage_of
from tarpon.client import Client
from tarpon.results.logs import STDERR, STDOUT

T = TypeVar("T")

AT_ONCE = 32
"""As many executions are followed at once; the orchestrator asks the node of each three times a second."""
LOOK_SECONDS = 1.0
"""Between looks at which parts the executions belong to, which fetch all of them."""

_BEGUN = frozenset({Stage.RUNNING, Stage.PUBLISHING, Stage.WAITING_FOR_S3, Stage.COMPLETED})


def names_nodes(job: Job) -> bool:
    """Whether what its tasks write is told apart by their nodes: there may be several of one part."""
    return job.type == OPS or bool(job.verification)


class FollowedSink(Protocol):
    """Where output goes, and what is to be told of it; `part` is the name of the part that wrote it, or empty."""

    def write(self, partition: str, stream: str, text: str) -> None: ...
    def end(self, partition: str) -> None: ...
    def tell(self, text: str) -> None: ...


class FollowedOutput:
    """Shows what the executions of one version of a job write. `take` is told what happens to the job.

    `count` is how many parts it has; with `by_node` their names are those of their nodes, however many these are.
    """

    def __init__(
        self, client: Client, job: str, version: int, sink: FollowedSink, *, count: int, by_node: bool = False
    ) -> None:
        self._client = client
        self._job = job
        self._version = version
        self._count = count
        self._by_node = by_node
        self._sink = sink
        self._begun: asyncio.Queue[str | None] = asyncio.Queue()
        self._known: set[str] = set()
        self._parts: dict[str, str] = {}
        self._looked_at = -LOOK_SECONDS
        self._free = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<FollowedOutput of {len(self._known)} executions of {self._job}>"

    def take(self, news: HistoryItem | JobView) -> None:
        if isinstance(news, JobView) or (self._version and news.job_version not in {0, self._version}):
            return
        if news.execution_id and stage_of(news.event) in _BEGUN:
            self._begin(news.execution_id)

    def _begin(self, execution: str) -> None:
        if execution not in self._known:
            self._known.add(execution)
            self._begun.put_nowait(execution)

    async def showing(self, watching: Coroutine[Any, Any, T]) -> T:
        """What `watching` gives, which ends with the job, when all has been shown that the tasks wrote."""
        async with background() as group:
            group.create_task(self._follow_all(group), name="follow all")
            result = await watching
            for each in await self._executions():
                if each.run_output is not None and self._version in {0, each.job_version}:
                    self._begin(each.id)  # one whose beginning nobody told
            self._begun.put_nowait(None)
        return result

    async def _follow_all(self, group: asyncio.TaskGroup) -> None:
        while execution := await self._begun.get():
            await self._free.acquire()
            if self._has_names and execution not in self._parts:
                await self._look()
            group.create_task(self._follow(execution), name=f"follow {execution}")

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._looked_at + LOOK_SECONDS - loop.time())
        await self._executions()
        self._looked_at = loop.time()

    async def _executions(self) -> tuple[ExecutionView, ...]:
        ask = partial(self._client.all_executions, self._job, job_version=self._version)
        found = await self._client.patiently(ask)
        self._parts.update({each.id: self._name(each) for each in found})
        return found

    @property
    def _has_names(self) -> bool:
        return self._by_node or self._count > 1

    def _name(self, execution: ExecutionView) -> str:
        return execution.node_id if self._by_node else partition_name(execution.partition_index, self._count)

    async def _follow(self, execution: str) -> None:
        partition = self._parts.get(execution, short(execution)) if self._has_names else ""
        try:
            lines = self._client.logs(self._job, execution_id=execution, follow=True)
            async with aclosing(lines) as pieces:
                async for piece in pieces:
                    self._sink.write(partition, STDERR if piece.type == 2 else STDOUT, piece.line)
        except TarponError as error:
            self._say(execution, error)
        finally:
            self._sink.end(partition)
            self._free.release()

    def _say(self, execution: str, error: TarponError) -> None:
        told = indented(error.message)
        self._sink.tell(f"Warning: Not all is shown of what {short(execution)} wrote: {told}")
