"""The listener of the API: connections are counted from the moment at which they are taken, before TLS and all else."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from orchestrator.api.access.connections import Connections, Peer
from shared.runtime.aio import background, begin

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often it is looked whose headers take too long."""
NO_FILES_SECONDS = 0.1
CLOSED_AT_ONCE = 64


class _Watched(asyncio.Protocol):
    """Hands on to aiohttp what a connection brings, as long as that is within bounds."""

    def __init__(self, peer: Peer, handler: RequestHandler, listener: "Listener") -> None:
        self._peer = peer
        self._handler = handler
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._peer.transport = cast("asyncio.Transport", transport)
        self._listener.peers[self._handler] = self._peer
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._listener.connections.received(self._peer, data):
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        self._handler.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.closed(self._peer)
        self._listener.peers.pop(self._handler, None)
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()


class Listener:
    """Serves an application at sockets of TCP."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.peers: dict[object, Peer] = {}
        """By the handler of aiohttp that a request is read by."""

    @asynccontextmanager
    async def serving(
        self, runner: web.AppRunner, listening: socket.socket, tls: ssl.SSLContext | None
    ) -> AsyncIterator[None]:
        """While this is open, connections to `listening` are taken. The runner is set up, and not cleaned up yet."""
        listening.setblocking(False)
        async with background(api_connections=self._accept(runner, listening, tls), slow_headers=self._look()):
            yield

    async def _accept(self, runner: web.AppRunner, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, address = await loop.sock_accept(listening)
                except ConnectionError:  # it has gone already
                    continue
                except OSError as error:
                    _log.warning("The API cannot take a connection: %s. Some that are idle are closed.", error)
                    self.connections.close_idle(CLOSED_AT_ONCE)
                    await asyncio.sleep(NO_FILES_SECONDS)
                    continue
                peer = self.connections.opened(connection, address[0])
                begin(group, self._attach(runner, peer, tls), name="api connection")

    async def _attach(self, runner: web.AppRunner, peer: Peer, tls: ssl.SSLContext | None) -> None:
        server = runner.server
        assert server is not None, "the runner is set up"
        within = self.connections.header_seconds if tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Watched(peer, server(), self), peer.socket, ssl=tls, ssl_handshake_timeout=within
            )
        except (OSError, EOFError) as error:  # of TLS too
            _log.debug("A connection came to nothing: %r", error)
        if peer.transport is None:
            self.connections.closed(peer)
            with contextlib.suppress(OSError):
                peer.socket.close()

    async def _look(self) -> None:
        while True:
            self.connections.close_slow()
            await asyncio.sleep(LOOK_SECONDS)

    def __repr__(self) -> str:
        return f"<Listener of {self.connections!r}>"
