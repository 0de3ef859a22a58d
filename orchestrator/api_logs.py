"""The logs of a task over a websocket, in the frames of the reference."""

import asyncio
import codecs

import msgspec
from aiohttp import WSCloseCode, web

from orchestrator.api_job_parts import JobParts
from orchestrator.api_queries import LogsQuery
from orchestrator.api_requests import query_of
from orchestrator.api_routes import JOBS, Route
from orchestrator.logs import STDERR, STDOUT, Logs
from shared import rest
from shared.errors import TarponError

HEARTBEAT_SECONDS = 20.0


class LogRoutes:
    def __init__(self, *, parts: JobParts, logs: Logs) -> None:
        self._parts = parts
        self._logs = logs

    def routes(self) -> tuple[Route, ...]:
        summary = "What a task writes: a websocket with one LogFrame after the other, closed at the end."
        return (Route("GET", f"{JOBS}/{{job}}/logs", self.get_logs, summary, rest.LogFrame, LogsQuery),)

    async def get_logs(self, request: web.Request) -> web.StreamResponse:
        entry = self._parts.entry(request)
        query = query_of(request, LogsQuery)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS)
        await socket.prepare(request)
        decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (STDOUT, STDERR)}
        tail = query.tail if query.tail >= 0 else None
        try:
            async for piece in self._logs.pieces(entry, execution=query.execution_id, follow=query.follow, tail=tail):
                line = rest.LogLine(type=piece.stream, line=decoders[piece.stream].decode(piece.content))
                await socket.send_str(msgspec.json.encode(rest.LogFrame(value=line)).decode())
        except (TarponError, TimeoutError) as error:
            said = error.message if isinstance(error, TarponError) else "The node does not answer."
            await socket.send_str(msgspec.json.encode(rest.LogFrame(error=said)).decode())
        except ConnectionResetError:
            return socket  # the reader has gone
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await socket.close(code=WSCloseCode.OK)
        return socket
