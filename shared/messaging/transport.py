"""The connection of this process to NATS: one that comes back for ever, and what can be done over it.

nats-py can reconnect by itself, but closes for good on some errors (a refused reconnect is one) and buffers what is
published meanwhile. Here a lost connection is replaced by a new one, every subscription is made again on it, and
nothing is buffered: who sends while there is no connection gets MessagingUnavailable and decides what to do.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.errors import MessagingUnavailable, PayloadTooLarge
from shared.messaging.acknowledgements import EXPECTED, number_in_stream
from shared.messaging.client import Admits, ChoosyClient, MendedClient, ServerGreeting, taken_in
from shared.messaging.problems import check_payload, is_refusal, last_words, why_not
from shared.messaging.replies import Replies
from shared.protocol.nats_address import ENCRYPTED, parse_nats_address
from shared.runtime.aio import background, finish, raising_cancellation
from shared.runtime.backoff import Backoff
from shared.runtime.tls.trust import trusting_system

_log = logging.getLogger(__name__)

MAX_PAYLOAD_BYTES = 1 << 20
"""The largest message that the server takes; everything that is sent is bounded below it."""

CONNECT_SECONDS = 5
ENCRYPTED_CONNECT_SECONDS = 10
"""As long as a server gives TLS to begin.

Where very many come back at once, on machines that have much else to do, those who give up sooner begin again and
again, and all work on what nobody waits for any more.
"""
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 3.0
PING_SECONDS = 10
CLOSE_SECONDS = 5
LOOK_SECONDS = 1.0


_STATUS, _CONTROL, _STALLED = "Status", "100", "Nats-Consumer-Stalled"
"""How JetStream tells a consumer something (ADR-15 of NATS); the last names where to answer so that it goes on."""


class Received:
    """One message, with the right to answer it where its sender waits for an answer."""

    __slots__ = ("_message", "payload", "reply", "subject")

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.subject = message.subject
        self.payload = message.data
        self.reply = message.reply

    @property
    def is_control(self) -> bool:
        """Whether it is no message but the stream's word that it is still there, or waits for us."""
        headers = self._message.headers
        return headers is not None and headers.get(_STATUS) == _CONTROL

    @property
    def stalled(self) -> str:
        """Where to say something, so that a consumer which waits for us goes on; empty where none does."""
        return self.reply or (self._message.headers or {}).get(_STALLED, "")

    async def respond(self, payload: bytes) -> None:
        """Answer; an answer that nobody can receive any more is dropped."""
        if self.reply:
            try:
                await self._message.respond(payload)
            except (nats.errors.Error, OSError) as error:
                _log.debug("An answer on %s could not be sent: %r", self.subject, error)

    def __repr__(self) -> str:
        return f"<Received {self.subject}, {len(self.payload)} bytes>"


class _Subscription(AsyncIterator[Received]):
    def __init__(self, subject: str, queue: str, max_pending: int) -> None:
        self.subject = subject
        self.queue = queue
        self.received: asyncio.Queue[Received] = asyncio.Queue(max_pending)
        self.client: Client | None = None
        self.remove: Any = None

    async def attach(self, client: Client) -> None:
        async def enqueue(message: Msg) -> None:
            await self.received.put(Received(message))

        self.client = client
        handle = await client.subscribe(self.subject, queue=self.queue, cb=enqueue)
        self.remove = handle.unsubscribe

    async def detach(self) -> None:
        if self.remove is not None:
            with contextlib.suppress(nats.errors.Error, OSError):  # the connection may be gone, and this with it
                await self.remove()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        return await self.received.get()


class Connection:
    """The one connection of a process. Make it with `connect`."""

    def __init__(
        self,
        servers: Sequence[str],
        *,
        trust: ssl.SSLContext | None = None,
        admits: Admits | None = None,
        quiet: bool = False,
        **options: Any,
    ) -> None:
        addresses = [parse_nats_address(each) for each in servers]
        self.servers = tuple((each.encrypted if trust else each).url for each in addresses)
        if trust is None and any(each.scheme == ENCRYPTED for each in addresses):
            trust = trusting_system()
        self._trust = trust
        self._connect_seconds = ENCRYPTED_CONNECT_SECONDS if trust else CONNECT_SECONDS
        self._quiet = quiet
        self._admits = admits
        self.connections = 0
        self._options = options
        self._client: MendedClient | None = None
        self._replies: Replies | None = None
        self._subscriptions: set[_Subscription] = set()
        self._changed = asyncio.Condition()
        self._said = ""
        self.problem = ""
        """Why there is no connection, in a sentence; empty while there is one."""
        self._refusals = 0

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def client(self) -> MendedClient:
        """The connected nats-py client, which a later connection replaces. Raises MessagingUnavailable."""
        if self._client is None:
            raise MessagingUnavailable("There is no connection to NATS at present.")
        return self._client

    @property
    def server(self) -> ServerGreeting:
        """The server that this process is connected to."""
        return self._client.server_greeting if self._client is not None else ServerGreeting()

    async def next_connection(self, after: int) -> int:
        """Wait until a connection stands that was made after the `after`th; give its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._client is not None and self.connections > after)
            return self.connections

    async def lost(self, number: int) -> None:
        """Wait until the connection with this number is gone."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._client is None or self.connections != number)

    async def next_refusal(self, after: int) -> int:
        """Wait until servers have refused this process more than `after` times, and there is no connection."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._client is None and self._refusals > after)
            return self._refusals

    async def wait_connected(self) -> None:
        await self.next_connection(0)

    async def request(self, subject: str, payload: bytes, *, timeout: float) -> bytes:
        """Raise MessagingUnavailable when nobody answers within `timeout` seconds."""
        return await self._request(subject, payload, timeout=timeout)

    async def _request(
        self, subject: str, payload: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        _check_size(subject, payload)
        if self._replies is None:
            raise MessagingUnavailable("There is no connection to NATS at present.")
        try:
            return await self._replies.request(subject, payload, timeout=timeout, headers=headers)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"Nobody answered on {subject}: {error!r}") from error

    async def publish(self, subject: str, payload: bytes, *, reply: str = "") -> None:
        """Send to whoever listens now, each of whom may answer at `reply`."""
        _check_size(subject, payload)
        try:
            await self.client.publish(subject, payload, reply)
        except (nats.errors.Error, OSError) as error:
            raise MessagingUnavailable(f"Nothing can be sent on {subject}: {error!r}") from error

    async def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """`publish` these payloads on these subjects, in order and all together. What is too large is left out."""
        fitting = [each for each in messages if len(each[1]) <= MAX_PAYLOAD_BYTES]
        try:
            if fitting:
                await self.client.publish_all(fitting)
        except (nats.errors.Error, OSError) as error:
            raise MessagingUnavailable(f"Nothing can be sent on {fitting[0][0]}: {error!r}") from error

    async def publish_durably(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout: float,
        after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        """The message's number in the stream that has stored it. Raises MessagingUnavailable: it may be stored or not.

        With `after`, it is stored only if the last message on its subject has this number, 0 being none; else this
        raises RevisionConflict.
        """
        conditions = {} if after is None else {EXPECTED: str(after)}
        answer = await self._request(subject, payload, timeout=timeout, headers={**headers, **conditions} or None)
        return number_in_stream(subject, answer)

    @asynccontextmanager
    async def subscribe(
        self, subject: str, *, queue: str = "", max_pending: int = 4096
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """Receive what arrives on `subject`, over every connection that stands meanwhile."""
        subscription = _Subscription(subject, queue, max_pending)
        self._subscriptions.add(subscription)
        try:
            if self._client is not None:
                await self._attach(subscription, self._client)
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.detach()

    @staticmethod
    async def _attach(subscription: _Subscription, client: Client) -> None:
        """Who sends over another connection from now on is heard, unless this one is lost: then over the next."""
        try:
            await subscription.attach(client)
            await taken_in(client)
        except (nats.errors.Error, OSError) as error:
            _log.debug("NATS: %r at a subscription to %s", error, subscription.subject)

    async def keep(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        pauses = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, spread=0.5)
        while True:
            lost = asyncio.Event()
            opened = await self._open(lost)
            if opened is None:
                await pauses.pause()
                continue
            pauses.reset()
            client, replies = opened
            try:
                await _until_closed(client, lost)
                self._say(logging.WARNING, "The connection to NATS is lost; connecting again.")
            finally:
                self._client = self._replies = None
                replies.close()
                await _put_away(self._give_up(client))

    async def _open(self, lost: asyncio.Event) -> tuple[MendedClient, Replies] | None:
        client = MendedClient() if self._admits is None else ChoosyClient(self._admits)
        seen: list[Exception] = []

        async def on_closed() -> None:
            lost.set()

        async def on_error(error: Exception) -> None:
            seen[:] = [error]
            is_ours = not isinstance(error, nats.errors.Error | OSError | TimeoutError)  # of what takes a message in
            _log.log(
                logging.ERROR if is_ours else logging.DEBUG, "NATS: %r", error, exc_info=error if is_ours else None
            )
            if isinstance(error, nats.errors.SlowConsumerError):
                _log.warning("Messages on %s came faster than they were handled, and some are lost.", error.subject)

        try:
            async with asyncio.timeout(self._connect_seconds):
                connecting = client.connect(
                    servers=list(self.servers),
                    # One round over the servers without a pause: pauses between rounds are ours.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=self._connect_seconds,
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=2,
                    closed_cb=on_closed,
                    error_cb=on_error,
                    skip_subject_validation=True,  # shared/protocol/subjects.py makes them of ids that are checked
                    tls=self._trust,
                    **self._options,
                )
                await raising_cancellation(connecting)
                if not client.is_connected:  # it took the server's first ping, before it was let in, for a welcome
                    raise nats.errors.Error("The server did not answer in time.")  # noqa: TRY301  # one way to fail
                check_payload(client.max_payload, MAX_PAYLOAD_BYTES)
                replies = Replies(client)
                await replies.open()
                await self._attach_all(client)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            await _put_away(_close(client))
            self._explain(await last_words(self.servers, seen[0] if seen else error, self._trust))
            async with self._changed:
                self._changed.notify_all()
            return None
        except BaseException:
            await _put_away(_close(client))
            raise
        if lost.is_set():
            return None
        self._client, self._replies, self.problem = client, replies, ""
        async with self._changed:
            self.connections += 1
            self._changed.notify_all()
        self._say(logging.INFO, f"Connected to NATS at {_host(client)}.")
        return client, replies

    async def _give_up(self, client: Client) -> None:
        async with self._changed:
            self._changed.notify_all()
        await _close(client)

    async def _attach_all(self, client: Client) -> None:
        """Make every subscription on this client, also those that are added meanwhile.

        The server's answer is also the proof that it has let this client in.
        """
        await raising_cancellation(client.flush())
        while waiting := [each for each in self._subscriptions if each.client is not client]:
            for subscription in waiting:
                await subscription.attach(client)
            await taken_in(client)

    def _explain(self, error: Exception) -> None:
        if self.problem and isinstance(error, ConnectionResetError | BrokenPipeError):
            return  # the server hung up before what it said was read, and tells less by that than it did before
        why = why_not(error, is_node="token" in self._options)
        self.problem = f"NATS at {', '.join(self.servers)} is {why}"
        self._say(logging.WARNING, f"{self.problem}; trying again until it works.")
        self._refusals += is_refusal(error)

    def _say(self, level: int, message: str) -> None:
        """Log changes of state, not every try."""
        if message != self._said:
            self._said = message
            _log.log(logging.DEBUG if self._quiet else level, message)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<Connection to {', '.join(self.servers)}, {state}, {self.connections} so far>"


@asynccontextmanager
async def connect(
    servers: Sequence[str],
    *,
    name: str,
    nkey_seed: str,
    token: str = "",
    inbox_prefix: str = "_INBOX",
    trust: ssl.SSLContext | None = None,
    admits: Admits | None = None,
    after: asyncio.Event | None = None,
    quiet: bool = False,
) -> AsyncIterator[Connection]:
    """Give a connection at once; it may stand only later. Leaving closes it.

    `nkey_seed` proves who this process is, `token` is what a node shows to join, `name` its id. With `trust` all goes
    by TLS, whatever the addresses begin with, to servers whose certificate it takes; without, those with tls:// are
    trusted as this machine does. What `admits` turns away is dropped unseen. The first try is made once `after` is set.
    A `quiet` one logs for who debugs alone.
    """
    options: dict[str, Any] = {"name": name, "nkeys_seed_str": nkey_seed, "inbox_prefix": inbox_prefix}
    if token:
        options["token"] = token
    connection = Connection(servers, trust=trust, admits=admits, quiet=quiet, **options)

    async def keep() -> None:
        if after is not None:
            await after.wait()
        await connection.keep()

    async with background(nats_connection=keep()):
        yield connection


def _check_size(subject: str, payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(f"A message on {subject}", len(payload), MAX_PAYLOAD_BYTES)


async def _until_closed(client: Client, lost: asyncio.Event) -> None:
    """Wait for the news, and look: a process that never heard of it would wait for NATS for ever."""
    while not (lost.is_set() or client.is_closed):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await lost.wait()


async def _put_away(closing: Coroutine[Any, Any, None]) -> None:
    """Close a client that is not used any more. Where that takes too long, nothing is lost but the wait."""
    try:
        await finish(closing, within=CLOSE_SECONDS)
    except TimeoutError:
        _log.debug("NATS: a connection was not closed within %g s", CLOSE_SECONDS)


async def _close(client: Client) -> None:
    try:
        await client.close()
    except (nats.errors.Error, OSError) as error:
        _log.debug("NATS: %r while closing", error)


def _host(client: Client) -> str:
    url = client.connected_url
    return url.netloc.rpartition("@")[2] if url is not None else "?"
