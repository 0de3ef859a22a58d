"""The client of nats-py as it is used here: mended where it would hang, and with a word about what it takes in."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, Srv
from nats.aio.transport import TcpTransport
from nats.protocol.command import hpub_cmd, pub_cmd

from shared.protocol.nats_address import ENCRYPTED
from shared.runtime.aio import raising_cancellation

NOT_OF_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE"})
"""By which OpenSSL, in several versions, says that what comes is plain text."""

_HEADERS = b"NATS/1.0\r\n%b\r\n\r\n"

Admits = Callable[[bytes, int], bool]
"""Whether a message on this subject, of so many bytes, is to be looked at; asked before it takes any place."""


Take = Callable[[bytes, bytes, bytes], None]
"""What is told of a message that is taken at once: its subject, its payload, and its headers as they came."""


class NotEncrypted(nats.errors.Error):
    """A server that is to be reached by TLS offers none, or somebody on the way says so."""


class ConnectionGone(ConnectionResetError, RuntimeError):
    """It was written to a connection that is closed. nats-py catches it as a RuntimeError in its own loops."""


@contextmanager
def _told_as_gone() -> Iterator[None]:
    """What uvloop tells of a closed connection, and asyncio not at all, as an error of connections."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionGone(str(error)) from error


async def taken_in(client: Client) -> None:
    """Return when the server has dealt with everything that was sent before, subscriptions included.

    One `flush` is not enough: nats-py writes its PING at once, and what `subscribe` and `publish` have put into its
    buffer only afterwards. By the time of the PONG that is written too, so that a second PING comes after it.
    """
    await raising_cancellation(client.flush())
    await raising_cancellation(client.flush())


class ServerGreeting(NamedTuple):
    """What a server says of itself when one connects."""

    name: str = ""
    version: str = ""


class MendedClient(Client):
    """nats-py's client, mended where it would hang, or tell a secret to whoever listens."""

    @property
    def server_greeting(self) -> ServerGreeting:
        told = self._server_info
        return ServerGreeting(str(told.get("server_name", ""))[:128], str(told.get("version", ""))[:64])

    def __init__(self) -> None:
        super().__init__()
        self._taken: dict[int, Take] = {}

    async def take(self, subject: str, take: Take) -> None:
        """Have this called for each message as it is read, which must not raise, and be over at once.

        A queue, and a task that waits at it, would be half of what such a message costs.
        """
        subscription = await self.subscribe(subject, cb=_nothing)
        self._taken[subscription._id] = take  # noqa: SLF001  # as the server names it

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self._taken.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        take(subject, data, headers)

    async def ask(self, subject: str, payload: bytes, *, reply: str, headers: Mapping[str, str] | None = None) -> None:
        """As `publish`, whose checks of headers take long. Those given here are ours, each of one line."""
        if not headers:
            await self.publish(subject, payload, reply=reply)
            return
        if self.is_closed or self.is_draining_pubs:
            raise nats.errors.ConnectionClosedError
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        lines = _HEADERS % "\r\n".join([f"{name}: {value}" for name, value in headers.items()]).encode()
        await self._send_command(hpub_cmd(subject, reply, lines, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    def _connect_command(self) -> bytes:
        """What tells the server who this is; nats-py sends it in the clear where `tls://` meets no TLS."""
        server, transport = self._current_server, self._transport
        if server is not None and server.uri.scheme == ENCRYPTED and not _is_encrypted(transport):
            raise NotEncrypted
        return bytes(super()._connect_command())

    async def _connect_to_server(self, s: Srv) -> None:
        """Begin with TLS where it is promised. An ordinary server speaks first, in the clear, and then encrypts too."""
        s.last_attempt, within = time.monotonic(), self.options["connect_timeout"]
        if s.uri.scheme == ENCRYPTED:
            try:
                self._transport = await _encrypted(s.uri, self.ssl_context, within)
            except ssl.SSLError as error:
                if error.reason not in NOT_OF_TLS:
                    raise
            else:
                return
        self._transport = _JoiningTransport()  # type: ignore[no-untyped-call]  # of nats-py
        await self._transport.connect(s.uri, buffer_size=DEFAULT_BUFFER_SIZE, connect_timeout=within)

    async def _process_connect_init(self) -> None:
        with _told_as_gone():
            await super()._process_connect_init()

    async def _send_ping(self, future: "asyncio.Future[bool] | None" = None) -> None:
        with _told_as_gone():
            await super()._send_ping(future)

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: FBT001, FBT002  # the library's own
        """Where what writes has ended with its connection, nats-py writes here, before it knows of that end."""
        try:
            return await super()._flush_pending(force_flush)
        except RuntimeError as error:
            raise ConnectionGone(str(error)) from error

    async def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """As `publish` of each of these subjects and payloads, of which there is one at least, at half of its cost."""
        *before, (subject, payload) = messages
        if before and self.is_connected:
            self.stats["out_msgs"] += len(before)
            self.stats["out_bytes"] += sum(len(each) for _, each in before)
            await self._send_command(b"".join([pub_cmd(on, "", each) for on, each in before]))
        await self.publish(subject, payload)

    async def _process_pong(self) -> None:
        """Nobody waits any more for the answer to a flush that was cancelled; nats-py would stop reading over it."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """As nats-py's, at a fraction of its cost: every record that is followed has some."""
        if not raw.isascii():
            return Client._parse_header_lines(raw)  # noqa: SLF001  # it is ours where this class is used
        found: dict[str, str] = {}
        for line in raw.decode().split("\r\n"):
            name, colon, value = line.partition(":")
            name = name.strip()
            if colon and len(name.split()) <= 1:  # nothing blank within it
                found[name] = value.strip()
        return found

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002  # the library's own
        """Its closing gives up half-way where what is pending cannot be written any more.

        That is a RuntimeError of uvloop, or an OSError of a connection that was reset. What was pending then has
        nowhere to go; without this, neither would the news that the connection is closed.
        """
        try:
            await super()._close(status, do_cbs)
        except (RuntimeError, OSError):
            self._pending: list[bytes] = []
            self._pending_data_size = 0
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)


async def _nothing(_: object) -> None:
    """For a subscription whose messages are taken."""


class ChoosyClient(MendedClient):
    """What `admits` turns away is dropped before nats-py queues it.

    Its queue is one for all who send on a subscription, so that what came too fast from one of them would push out what
    comes from the others.
    """

    def __init__(self, admits: Admits) -> None:
        super().__init__()
        self._admits = admits

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if self._admits(subject, len(data)):
            await super()._process_msg(sid, subject, reply, data, headers)


class _JoiningTransport(TcpTransport):
    """Messages that are waiting are written together.

    Else each would be a record of TLS by itself, which costs both ends more than what is in it, and the server reads
    one record at a time.
    """

    def writelines(self, payload: list[bytes]) -> None:
        self.write(b"".join(payload))  # type: ignore[no-untyped-call]  # of nats-py


class _EncryptedTransport(_JoiningTransport):
    """A connection that is encrypted from its first byte, so that nothing said before can be taken for more."""

    async def connect_tls(self, *_: Any, **__: Any) -> None:
        """What nats-py calls once it has read that the server encrypts."""


async def _encrypted(uri: ParseResult, context: ssl.SSLContext, within: float) -> _EncryptedTransport:
    made = _EncryptedTransport()  # type: ignore[no-untyped-call]  # of nats-py
    async with asyncio.timeout(within):
        made._io_reader, made._io_writer = await asyncio.open_connection(  # noqa: SLF001  # as its `connect` does
            uri.hostname, uri.port, limit=DEFAULT_BUFFER_SIZE, ssl=context
        )
    return made


def _is_encrypted(transport: Any) -> bool:
    """Of a connection by TCP, which are all that are made here; False for whatever is not known to be."""
    writer = getattr(transport, "_io_writer", None)
    return writer is not None and writer.get_extra_info("ssl_object") is not None
