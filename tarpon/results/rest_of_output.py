"""The rest of a task's output, out of its result, where neither its node nor its record has it any more."""

import codecs
import tempfile
from collections.abc import AsyncGenerator, Iterator
from typing import IO, Self

from shared.errors import NotFound
from shared.protocol.rest import LogLine, LogPlace, ResultParams
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.logs import STDERR, STDOUT, stream_output

IN_MEMORY_BYTES = 1 << 20
PIECE_BYTES = 1 << 16

_TYPES = {STDOUT: 1, STDERR: 2}


class OutputNotKept(NotFound):
    """The last that a task wrote is nowhere."""

    def __init__(self, execution: str, why: str) -> None:
        super().__init__(
            f"What {execution or 'the task'} wrote last was not kept: {why}",
            hint="All that a task writes is in its result if its job has a publisher and the task ends by itself.",
        )


async def rest_of_output(
    client: OrchestratorCalls, job: str, place: LogPlace, params: ResultParams, *, namespace: str = ""
) -> AsyncGenerator[LogLine, None]:
    """From `place` on, out of this result. Raises what a download raises."""
    with _Rest(place) as rest:
        await stream_output(client, job, params, rest.write, namespace=namespace)
        for line in rest.lines():
            yield line


async def result_with_output(client: OrchestratorCalls, job: str, execution: str, namespace: str) -> ResultParams:
    """Raises OutputNotKept."""
    found = [
        each
        for each in await client.all_executions(job, namespace=namespace, all_job_versions=True)
        if each.id.startswith(execution)
    ]
    if not found or found[0].published_result is None:
        told = found[0].compute_state.message if found else ""
        raise OutputNotKept(execution, told or "it published no result.")
    for result in await client.results(job, namespace=namespace, execution_id=found[0].id):
        if result.params.execution_id == found[0].id:
            return result.params
    raise OutputNotKept(execution, "its result is not offered any more.")


class _Rest:
    """Takes both streams from their beginnings; keeps what comes after the place, on disk if it is much."""

    def __init__(self, place: LogPlace) -> None:
        self._skip = {STDOUT: place.stdout, STDERR: place.stderr}
        self._files: dict[str, IO[bytes]] = {
            stream: tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  # this object is one
            for stream in (STDOUT, STDERR)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def __repr__(self) -> str:
        return f"<_Rest after {self._skip}>"

    def write(self, stream: str, data: bytes) -> None:
        known = min(self._skip[stream], len(data))
        self._skip[stream] -= known
        self._files[stream].write(data[known:])

    def lines(self) -> Iterator[LogLine]:
        for stream, file in self._files.items():
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            file.seek(0)
            while data := file.read(PIECE_BYTES):
                yield LogLine(type=_TYPES[stream], line=decoder.decode(data))
            if left := decoder.decode(b"", final=True):
                yield LogLine(type=_TYPES[stream], line=left)
