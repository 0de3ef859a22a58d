"""A gate on the way to S3: it counts what goes through, and can be shut. Runs in a thread of its own."""

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

PIECE_BYTES = 1 << 18


class TcpGate:
    """Listens on `port` of loopback while it is open, and passes everything on to `target_port`."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self.sent_bytes = 0
        """From clients to the target."""
        self.received_bytes = 0
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def __repr__(self) -> str:
        return f"<TcpGate {self.port} to {self._target_port}, {self.sent_bytes} bytes sent>"

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def open(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def shut(self) -> None:
        """Refuse connections, and cut those that there are."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                target_reader, target = await asyncio.open_connection("127.0.0.1", self._target_port)
                self._open.add(target)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pass(reader, target, is_sent=True), name="to target")
                        group.create_task(self._pass(target_reader, writer, is_sent=False), name="to client")
                finally:
                    self._open.discard(target)
                    target.close()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_sent: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if is_sent:
                    self.sent_bytes += len(piece)
                else:
                    self.received_bytes += len(piece)
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
