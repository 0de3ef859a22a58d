"""Connections to the API: how many of one address or user there are, and which one is closed for another.

A connection is a stranger's until a request over it has shown a valid key, and counts for its address; then it counts
for that user. Where there are too many it is the oldest that goes: whoever has something to ask asks at once, and so
gets in also beside others that say nothing.
"""

import socket
import time
from asyncio import Transport
from collections.abc import Callable, Iterator
from contextlib import suppress

from orchestrator.admission.bounds.held_back import Bound, HeldBack
from orchestrator.admission.bounds.origins import Proxies, origin_of
from shared.errors import TooMuchAtOnce
from shared.settings.api_limits import ApiLimits

HEAD_BYTES = 32 << 10
"""Of the headers of one request; programs send a few hundred bytes, and browsers some thousand."""
AHEAD_BYTES = 1 << 20
"""What may come with the headers before they have been read, which is most of a body."""
SLACK_BYTES = 64 << 10
"""What may come beside the body that is told of: nobody sends the next request before the answer to this one."""
_END = b"\r\n\r\n"
_TOO_LARGE = b"The headers of the request are too large.\n"
TOO_LARGE = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_TOO_LARGE), _TOO_LARGE)
)


class TooManyConnections(TooMuchAtOnce):
    def __init__(self, most: int) -> None:
        super().__init__(
            f"This user has {most} connections with requests that go on, and may have no more (API.Limits).",
            hint="Let some of them end; use one client for many requests.",
            wait_seconds=1.0,
        )


class Peer:
    """One connection. `owner` is the user whose key was shown over it last; `through` is a trusted proxy's address."""

    __slots__ = (
        "ahead",
        "head",
        "is_busy",
        "is_whole",
        "on_closed",
        "origin",
        "owner",
        "room",
        "socket",
        "tail",
        "through",
        "transport",
    )

    def __init__(self, connection: socket.socket, address: str, *, is_proxy: bool) -> None:
        self.socket = connection
        self.on_closed: Callable[[], None] | None = None
        self.transport: Transport | None = None
        self.origin = origin_of(address)
        self.through = is_proxy
        self.owner = ""
        self.is_busy = self.is_whole = False
        self.head = self.ahead = self.room = 0
        self.tail = b""

    @property
    def who(self) -> str:
        return self.owner or self.origin

    def close(self, answer: bytes = b"") -> None:
        """At once, or when it has been told the answer."""
        if self.transport is not None:
            if answer:
                self.transport.write(answer)
                self.transport.close()
            else:
                self.transport.abort()
            return
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def takes(self, data: bytes) -> bool:
        """Whether so much may come now."""
        if self.is_busy:
            self.room -= len(data)
            return self.room >= 0
        if self.is_whole:
            self.ahead += len(data)
            return self.ahead <= AHEAD_BYTES
        if not self.tail:  # blank lines before a head are none of it, and do not end it
            come, data = len(data), data.lstrip(b"\r\n")
            self.head += come - len(data)
        joined = self.tail + data
        end = joined.find(_END)
        if end < 0:
            self.tail = joined[1 - len(_END) :]
            self.head += len(data)
        else:
            self.is_whole, self.ahead = True, len(joined) - end - len(_END)
            self.head += end - len(self.tail)
        return self.head <= HEAD_BYTES

    def begin(self, body_bytes: int) -> None:
        """A request has been read up to its body, which has so many bytes at most."""
        self.is_busy, self.room = True, body_bytes + SLACK_BYTES - self.ahead
        self.head = self.ahead = 0
        self.tail, self.is_whole = b"", False

    def __repr__(self) -> str:
        return f"<Peer {self.who}, {'busy' if self.is_busy else 'idle'}>"


class Connections:
    """Of one listener. `clock` gives monotonic seconds."""

    def __init__(
        self,
        limits: ApiLimits,
        proxies: Proxies,
        held_back: HeldBack,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.header_seconds = float(limits.header_timeout)
        self._limits = limits
        self._proxies = proxies
        self._held_back = held_back
        self._clock = clock
        self._strange: dict[str, dict[Peer, None]] = {}
        """Of each origin, the oldest first."""
        self._strangers = 0
        self._owned: dict[str, dict[Peer, None]] = {}
        """Of each user, the one that asked last is last."""
        self._heads: dict[Peer, float] = {}
        """Whose request has begun, and has not come up to its body: since when, the first one first."""

    def opened(self, connection: socket.socket, address: str) -> Peer:
        peer = Peer(connection, address, is_proxy=self._proxies.trust(address))
        crowd = self._strange.get(peer.origin, {})
        if not peer.through and len(crowd) >= self._limits.strange_connections_per_address:
            self._drop(next(iter(crowd)), Bound.CONNECTIONS)
        elif self._strangers >= self._limits.strange_connections:
            fullest = max(self._strange, key=lambda origin: len(self._strange[origin]))
            self._drop(next(iter(self._strange[fullest])), Bound.CONNECTIONS)
        self._strange.setdefault(peer.origin, {})[peer] = None
        self._strangers += 1
        self._heads[peer] = self._clock()
        return peer

    def received(self, peer: Peer, data: bytes) -> bool:
        """Whether to go on with this connection; else it has been closed."""
        if not peer.is_busy and not peer.is_whole and peer not in self._heads:
            self._heads[peer] = self._clock()
        if not peer.takes(data):
            self._drop(peer, Bound.HEADERS, b"" if peer.is_busy else TOO_LARGE)
            return False
        if peer.is_whole:
            self._heads.pop(peer, None)
        return True

    def begin(self, peer: Peer, body_bytes: int) -> None:
        self._heads.pop(peer, None)
        peer.begin(body_bytes)
        if peer.room < 0:
            self._drop(peer, Bound.HEADERS)

    def judged(self, peer: Peer, owner: str) -> None:
        """A valid key was shown. Raises TooManyConnections where this user is busy with all that it may have."""
        if peer.through:  # many people share it
            owner = peer.origin
        crowd = self._owned.get(owner)
        if peer.owner == owner and crowd is not None and peer in crowd:
            del crowd[peer]
            crowd[peer] = None
            return
        self._remove(peer)
        crowd = self._owned.setdefault(owner, {})
        peer.owner = owner
        crowd[peer] = None
        if not peer.through and len(crowd) > self._limits.connections_per_user:
            self._make_room(crowd, peer)

    def _make_room(self, crowd: dict[Peer, None], peer: Peer) -> None:
        idle = next((each for each in crowd if not each.is_busy), None)
        self._held_back.note(Bound.CONNECTIONS, peer.owner)
        if idle is None:
            raise TooManyConnections(self._limits.connections_per_user)
        idle.close()
        self.closed(idle)

    def closed(self, peer: Peer) -> None:
        """It may be told several times."""
        self._heads.pop(peer, None)
        self._remove(peer)
        if peer.on_closed is not None:
            peer.on_closed()
            peer.on_closed = None

    def close_slow(self) -> None:
        """Close those whose headers take too long."""
        for peer in [*self._slow()]:
            self._drop(peer, Bound.HEADERS)

    def close_idle(self, most: int) -> None:
        """Close so many of the oldest: the process can open no more files."""
        crowds = sorted((*self._strange.values(), *self._owned.values()), key=len, reverse=True)
        for peer in [each for crowd in crowds for each in crowd if not each.is_busy][:most]:
            self._drop(peer, Bound.CONNECTIONS)

    def _slow(self) -> Iterator[Peer]:
        before = self._clock() - self.header_seconds
        for peer, since in self._heads.items():
            if since > before:
                return
            yield peer

    def _drop(self, peer: Peer, bound: Bound, answer: bytes = b"") -> None:
        self._held_back.note(bound, peer.who)
        peer.close(answer)
        self.closed(peer)

    def _remove(self, peer: Peer) -> None:
        crowds, key = (self._owned, peer.owner) if peer.owner else (self._strange, peer.origin)
        crowd = crowds.get(key)
        if crowd is None or peer not in crowd:
            return
        del crowd[peer]
        if not crowd:
            del crowds[key]
        self._strangers -= not peer.owner

    def __repr__(self) -> str:
        owned = sum(map(len, self._owned.values()))
        return f"<Connections, {self._strangers} of strangers and {owned} of users>"
