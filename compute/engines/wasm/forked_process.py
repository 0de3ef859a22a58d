"""A forked process as the node has it: what it reports, its surely known end, and how it is ended."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import time

from compute.engines.wasm.orders import (
    MAX_REPORT_BYTES,
    ProcessForked,
    ProcessNotForked,
    ProcessReaped,
    Report,
    reports,
)
from compute.processes.mark import ProcessMark, mark_process

LAST_WORDS_SECONDS = 5.0
"""For the helper to tell how what is gone has ended."""
_DESCRIPTORS = 1


class ForkedProcess:
    """`channel` is this side's end. Nothing here blocks for longer than it is told to."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._end: int | None = None
        self._is_over = False
        self.pid = 0
        self.report: Report | None = None
        """What it told itself."""
        self.reaped: ProcessReaped | None = None
        """None while it runs, and where the helper has ended before it could tell."""
        self.problem = 0
        """The error for which it was not forked."""

    def __repr__(self) -> str:
        return f"<ForkedProcess {self.pid}{', over' if self._is_over else ''}>"

    @property
    def is_over(self) -> bool:
        """Nothing more comes from it: it has ended, or was never forked."""
        return self._is_over

    def forked_within(self, seconds: float) -> bool:
        """Whether it is there, or was. Raises OSError where it cannot be. Blocks."""
        self._hear(seconds, until_forked=True)
        if self.problem:
            raise OSError(self.problem, os.strerror(self.problem))
        return bool(self.pid)

    def over_within(self, seconds: float) -> bool:
        """Blocks."""
        return self._hear(seconds)

    def mark(self) -> ProcessMark | None:
        """By which it is found again; None where it has ended already. Once it was forked."""
        try:
            mark = mark_process(self.pid)
        except AssertionError:
            return None
        return None if self._has_ended(0.0) else mark

    async def over(self) -> None:
        """Wait for it."""
        loop = asyncio.get_running_loop()
        while not self._take():
            readable = loop.create_future()
            loop.add_reader(self._channel, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(self._channel)

    def kill(self) -> None:
        """At once, and from any thread."""
        if self._end is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._end, signal.SIGKILL)

    def end(self, within: float) -> bool:
        """Whether it is gone, whatever becomes of the helper. Blocks."""
        if not self._hear(within, until_forked=True):
            return False
        self.kill()
        return self._has_ended(within) and (self._hear(LAST_WORDS_SECONDS) or True)

    def close(self) -> None:
        self._channel.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None

    def _has_ended(self, within: float) -> bool:
        if self._end is None:
            return True
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(within * 1000))

    def _hear(self, seconds: float, *, until_forked: bool = False) -> bool:
        """Whether it is over, or forked, by then."""
        deadline = time.monotonic() + seconds
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        while not self._take():
            if until_forked and (self.pid or self.problem):
                return True
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
        return True

    def _take(self) -> bool:
        """All that is there. Whether it is over."""
        while not self._is_over:
            try:
                told, descriptors, _, _ = socket.recv_fds(self._channel, MAX_REPORT_BYTES, _DESCRIPTORS)
            except BlockingIOError:
                return False
            except ConnectionResetError:  # the helper has ended with something unread
                told, descriptors = b"", []
            if not told:
                self._is_over = True
            else:
                self._note(reports.decode(told), descriptors)
        return True

    def _note(self, report: Report, descriptors: list[int]) -> None:
        match report:
            case ProcessForked(pid=pid) if self._end is None and descriptors:
                self.pid, self._end = pid, descriptors[0]
                os.set_inheritable(self._end, False)
            case ProcessNotForked(error=error):
                self.problem = error
            case ProcessReaped():
                self.reaped = report
            case _:
                self.report = report


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
