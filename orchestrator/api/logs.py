"""The logs of a task over a websocket, in the frames of the reference."""

import asyncio
import codecs
from collections.abc import Iterator
from typing import assert_never

import msgspec
from aiohttp import WSCloseCode, web

from orchestrator.api.access.use import RequestUse, use_key
from orchestrator.api.bodies import query_of
from orchestrator.api.job_details import JobDetailRoutes
from orchestrator.api.queries import LogsQuery
from orchestrator.api.routes import JOBS, Route
from orchestrator.assembly import Assembly
from orchestrator.jobs.task_output import STDERR, STDOUT, Begin, End, Logs, Piece, chosen
from orchestrator.jobs.versions import version_of
from orchestrator.state.job_entry import JobEntry
from shared.errors import InvalidInput, TarponError
from shared.protocol import rest
from shared.protocol.capabilities import READ_JOB
from shared.protocol.messages import MAX_OUTPUT_CHUNK_BYTES, ReadOutput
from shared.runtime.aio import first_of

HEARTBEAT_SECONDS = 20.0
GIT_VERSION = "X-Bacalhau-Git-Version"
"""What clients of the reference send with every request."""


class LogRoutes:
    def __init__(self, assembly: Assembly, details: JobDetailRoutes) -> None:
        self._details = details
        self._logs = Logs(assembly.connection, assembly.model)

    def routes(self) -> tuple[Route, ...]:
        summary = "What a task writes: a websocket with one LogFrame after the other, closed at the end."
        return (
            Route(
                "GET",
                f"{JOBS}/{{job}}/logs",
                self.get_logs,
                summary,
                rest.LogFrame,
                LogsQuery,
                needs=READ_JOB,
                streams=True,
            ),
        )

    async def get_logs(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS)
        try:
            entry = self._details.entry(request)
            query = query_of(request, LogsQuery)
        except TarponError as error:
            if GIT_VERSION in request.headers and socket.can_prepare(request):
                return await _refused(socket, request, error)
            raise
        if not socket.can_prepare(request):
            raise InvalidInput(
                "Logs are told over a websocket, and this request does not ask for one.",
                hint="`tarpon job logs` prints them.",
            )
        await socket.prepare(request)
        await first_of(self._tell(socket, entry, query, request[use_key]), _until_gone(socket))
        return await _closed(socket)

    async def _tell(self, socket: web.WebSocketResponse, entry: JobEntry, query: LogsQuery, use: RequestUse) -> None:
        try:
            order = _order(entry, query)
            frames = _Frames(order)
            await use.stream(MAX_OUTPUT_CHUNK_BYTES)  # before the node is asked: many readers may come at once
            async for piece in self._logs.pieces(order, follow=query.follow):
                for frame in frames.of(piece):
                    await _send(socket, frame, use)
        except (TarponError, TimeoutError) as error:
            said = error.message if isinstance(error, TarponError) else "The node does not answer."
            await _send(socket, rest.LogFrame(error=said))


async def _refused(socket: web.WebSocketResponse, request: web.Request, error: TarponError) -> web.WebSocketResponse:
    """In a frame, for clients of the reference, which tell nothing of the answer to a handshake that fails."""
    await socket.prepare(request)
    await _send(socket, rest.LogFrame(error=error.message))
    return await _closed(socket)


async def _closed(socket: web.WebSocketResponse) -> web.WebSocketResponse:
    async with asyncio.timeout(HEARTBEAT_SECONDS):
        await socket.close(code=WSCloseCode.OK)
    return socket


async def _until_gone(socket: web.WebSocketResponse) -> None:
    """What a reader says is of no interest, but that it leaves: the node of a silent task is asked no more then."""
    while not socket.closed:
        await socket.receive()


def _order(entry: JobEntry, query: LogsQuery) -> ReadOutput:
    """Raises NotFound."""
    return ReadOutput(
        execution_id=chosen(entry, query.execution_id, version_of(entry, query.job_version)).id,
        tail_lines=tail_lines(query),
        stdout_from=query.stdout_from,
        stderr_from=query.stderr_from,
    )


def tail_lines(query: LogsQuery) -> int | None:
    """The reference only knows whether what was written before is told at all."""
    if isinstance(query.tail, bool):
        return 0 if query.tail else None
    return query.tail if query.tail >= 0 else None


async def _send(socket: web.WebSocketResponse, frame: rest.LogFrame, use: RequestUse | None = None) -> None:
    text = msgspec.json.encode(frame).decode()
    if use is not None:
        await use.stream(len(text))
    await socket.send_str(text)


class _Frames:
    """What is told of one execution. A character that has not come whole is not counted as told."""

    def __init__(self, order: ReadOutput) -> None:
        self._execution = order.execution_id
        self._told = {STDOUT: order.stdout_from, STDERR: order.stderr_from}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (STDOUT, STDERR)}

    def of(self, piece: Begin | Piece | End) -> Iterator[rest.LogFrame]:
        match piece:
            case Begin(stdout, stderr):
                self._told = {STDOUT: stdout, STDERR: stderr}
                yield rest.LogFrame(place=self._place())
            case Piece(stream, start, content):
                yield self._text(stream, start, content)
            case End(is_whole):
                if is_whole:
                    yield from self._left()
                yield rest.LogFrame(end=rest.LogEnd(whole=is_whole))
            case _:
                assert_never(piece)

    def _text(self, stream: int, start: int, content: bytes) -> rest.LogFrame:
        decoder = self._decoders[stream]
        text = decoder.decode(content)
        self._told[stream] = start + len(content) - len(decoder.getstate()[0])
        return rest.LogFrame(value=rest.LogLine(type=stream, line=text), place=self._place())

    def _left(self) -> Iterator[rest.LogFrame]:
        """The beginning of a character whose rest does not come."""
        for stream, decoder in self._decoders.items():
            self._told[stream] += len(decoder.getstate()[0])
            if text := decoder.decode(b"", final=True):
                yield rest.LogFrame(value=rest.LogLine(type=stream, line=text), place=self._place())

    def _place(self) -> rest.LogPlace:
        return rest.LogPlace(execution_id=self._execution, stdout=self._told[STDOUT], stderr=self._told[STDERR])
