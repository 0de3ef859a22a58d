"""Live logs: what a task writes while it runs, as the orchestrator hands it on from the task's node.

It takes as many connections as break off: each goes on with the byte at which the last one was cut.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus

import aiohttp
import msgspec

from shared.errors import MessagingUnavailable, OrchestratorUnreachable, RemoteError, Unavailable
from shared.protocol.rest import LogFrame, LogLine, LogPlace
from shared.runtime.network_problems import why_unreachable
from tarpon.http.calls import Calls, new_pauses

MAX_FRAME_BYTES = 4 << 20
HEARTBEAT_SECONDS = 15.0
"""After half of this without an answer to a ping the connection counts as dead."""

AGAIN_SECONDS = 0.2

_frames = msgspec.json.Decoder(LogFrame)


class LogsCutOff(Unavailable):
    """The connection was lost, and the orchestrator is of a version that cannot go on where it was."""

    def __init__(self) -> None:
        super().__init__(
            "The connection was lost while a task wrote; what it wrote after that was not shown.",
            hint="Follow the logs again; they begin with the first line.",
        )


class LiveLogs:
    """One execution's output. After its end `place` is up to where it was shown, and `is_whole` whether that is all."""

    def __init__(self, calls: Calls, path: str, query: Mapping[str, str], *, patience: float) -> None:
        self.place: LogPlace | None = None
        self.is_whole = True
        self._calls = calls
        self._path = path
        self._query = dict(query)
        self._patience = patience
        self._url = calls.url
        self._has_ended = False
        self._pauses = new_pauses(longest_seconds=3.0)
        self._heard_at = time.monotonic()

    def __repr__(self) -> str:
        return f"<LiveLogs at {self.place}>"

    async def lines(self) -> AsyncGenerator[LogLine, None]:
        """Ends when there is no more.

        Raises MessagingUnavailable with what the orchestrator says went wrong, OrchestratorUnreachable where it stays
        away, LogsCutOff, and KeyNotKnownThere.
        """
        while True:
            told = False
            try:
                async with aclosing(self._connection()) as lines:
                    async for line in lines:
                        told = True
                        yield line
            except (aiohttp.ClientError, TimeoutError) as error:
                self._heed(error)
            if self._has_ended:
                return
            if told and self.place is None:
                raise LogsCutOff
            if time.monotonic() - self._heard_at > self._patience:
                raise OrchestratorUnreachable(self._calls.told)
            await self._pauses.pause(at_least=AGAIN_SECONDS)

    def _heed(self, error: Exception) -> None:
        """Raise OrchestratorUnreachable unless it may help to try again."""
        why, status = why_unreachable(error), _status(error)
        if status == RemoteError.TOO_MUCH:  # it is there, and takes this reader later
            return
        if not status:
            self._calls.missed(why)
        was_refused = 0 < status < 500
        if was_refused or not self._calls.turn(self._url):
            raise OrchestratorUnreachable(self._calls.told, why) from error

    async def _connection(self) -> AsyncGenerator[LogLine, None]:
        self._url = self._calls.url
        await self._calls.fresh()
        asked = self._calls.asking(self._url, "GET", self._path, query=self._asked())
        async with self._calls.session.ws_connect(
            asked.url, headers=asked.headers, max_msg_size=MAX_FRAME_BYTES, heartbeat=HEARTBEAT_SECONDS
        ) as socket:
            told = socket._response.headers  # noqa: SLF001  # aiohttp tells them nowhere else
            asked.check(told, HTTPStatus.SWITCHING_PROTOCOLS)
            self._calls.answered()
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = _frames.decode(message.data)
                self._note(frame)
                if frame.value is not None:
                    yield frame.value
            if socket.close_code == aiohttp.WSCloseCode.OK and self.place is None:
                self._has_ended = True  # it is how earlier versions tell the end

    def _note(self, frame: LogFrame) -> None:
        if frame.error:
            raise MessagingUnavailable(frame.error, hint="Try again, or wait until the job has ended.")
        self._pauses.reset()
        self._heard_at = time.monotonic()
        self.place = frame.place or self.place
        if frame.end is not None:
            self._has_ended, self.is_whole = True, frame.end.whole

    def _asked(self) -> dict[str, str]:
        if self.place is None:
            return self._query
        place = {"stdout_from": str(self.place.stdout), "stderr_from": str(self.place.stderr)}
        return self._query | {"execution_id": self.place.execution_id, "tail": "-1"} | place


def _status(error: Exception) -> int:
    """Of an answer that is no logs; 0 where there was none."""
    return error.status if isinstance(error, aiohttp.WSServerHandshakeError) else 0
