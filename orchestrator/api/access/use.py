"""Use: what one request takes up of its user's share, and gives back at its end."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from orchestrator.admission.bounds.origins import origin_of
from orchestrator.admission.bounds.shares import UserShares
from orchestrator.admission.principals import ANONYMOUS, OPERATOR, Principal
from orchestrator.api.access.connections import Connections, Peer

T = TypeVar("T")

TOLD_SECONDS = 0.0005
"""Less of the event loop's time than that is not counted yet: most steps of a request take some microseconds."""


class RequestUse:
    """`address` is from where it is asked, as far as is known, and `origin` the same as bounds count it.

    `who` is the user, once that is known.
    """

    __slots__ = (
        "_body",
        "_connections",
        "_has_stream",
        "_has_turn",
        "_peer",
        "_sent",
        "_shares",
        "_took",
        "address",
        "origin",
        "who",
    )

    def __init__(self, shares: UserShares, connections: Connections, peer: Peer | None, address: str) -> None:
        self.address = address
        self.origin = origin_of(address)
        self.who = ""
        self._shares = shares
        self._connections = connections
        self._peer = peer
        self._body: tuple[str, int] | None = None
        self._sent = 0
        self._took = 0.0
        self._has_turn = self._has_stream = False

    async def admit(self, principal: Principal, *, streams: bool, changes: bool = False) -> None:
        """It has been found out who asks: wait until that one may go on. Raises TooMuchAtOnce."""
        self.who = who = self._name(principal)
        self._shares.on_sent(who, self._sent)  # by whom nobody knew
        if self._peer is not None:
            self._connections.judged(self._peer, who)
        await self._shares.admit(who, changes=changes)
        if streams:
            self._shares.open_stream(who)
            self._has_stream = True
        else:
            await self._shares.begin(who)
            self._has_turn = True

    def _name(self, principal: Principal) -> str:
        if principal is OPERATOR:
            return "the operator"
        if principal is ANONYMOUS:
            return self.origin
        return f"{'user' if principal.kind == 'key' else principal.kind} {principal.name}"

    async def admit_stranger(self) -> None:
        """No valid key is shown. Raises TooManyRequests."""
        await self._shares.admit_stranger(self.origin)

    async def begin_body(self, size: int) -> None:
        """Wait until a body of so many bytes at most may be read. It may have been already. Raises TooManyRequests."""
        if self._body is None:
            who = self.who or self.origin
            await self._shares.open_body(who, size)
            self._body = who, size

    def end_body(self, size: int) -> None:
        if not self._sent:
            self._sent = size
            if self.who:
                self._shares.on_sent(self.who, size)

    async def in_thread(self, act: Callable[[], T]) -> T:
        """What takes a processor for long."""
        return await self._shares.in_thread(self.who or self.origin, act)

    def on_time(self, seconds: float) -> None:
        """So much of the event loop's time was taken for it."""
        self._took += seconds
        if self._took >= TOLD_SECONDS:
            self._shares.on_time(self.who or self.origin, self._took)
            self._took = 0.0

    async def until_gone(self) -> web.StreamResponse:
        """Raises ConnectionAbortedError when the connection is lost, which aiohttp tells nobody who does not write."""
        gone = asyncio.Event()
        if self._peer is not None:
            self._peer.on_closed = gone.set
        await gone.wait()
        raise ConnectionAbortedError("The reader has gone.")

    async def stream(self, size: int) -> None:
        """Wait until so many bytes of a stream may be written."""
        await self._shares.stream(self.who or self.origin, size)

    def end(self, response: web.StreamResponse | None) -> None:
        self._shares.on_time(self.who or self.origin, self._took)
        if self._body is not None:
            self._shares.close_body(*self._body)
        if self._has_stream:
            self._shares.close_stream(self.who)
        if self._has_turn:
            self._shares.end(self.who)
            if isinstance(response, web.Response):
                self._shares.on_read(self.who, response.content_length or 0)

    def __repr__(self) -> str:
        return f"<RequestUse by {self.who or self.origin}>"


use_key = web.RequestKey("use", RequestUse)
