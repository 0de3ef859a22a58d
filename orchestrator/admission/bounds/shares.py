"""Shares of users: how much each asks of the API, sends and reads, and each address without a valid key.

Who is a little ahead waits; who is far ahead is refused, after a moment, so that to be refused is no way to ask more.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.admission.bounds.company import CHANGE_COST, Company
from orchestrator.admission.bounds.held_back import Bound, HeldBack
from shared.errors import TooMuchAtOnce
from shared.settings.api_limits import ApiLimits

BURST_SECONDS = 4.0
"""For so long somebody may do at once what the settings allow a second."""
PATIENCE_SECONDS = 2.0
"""So long a request waits for its turn; it is refused where that would not do."""
REFUSAL_SECONDS = 1.0
MOST_DELAYED = 512
"""Of one user or address; further ones are refused at once. Each has a connection of its own, or a proxy's."""
IN_HAND = 8
"""So many requests of one user are dealt with at once. Others of it wait, each in its own connection."""
LARGE_BYTES = 64 << 10
"""A smaller body is not counted while it is there."""
STREAM_BURST_BYTES = 1 << 20
"""Of all streams of one user at once. What they all hand on in one moment holds up everybody else."""
BODY_BYTES, BODY_BYTES_OF_ONE = 96 << 20, 16 << 20
"""Of large bodies that are there at once."""

THREAD_SHARE, THREAD_SECONDS = 0.25, 1.0
"""Of a processor for what one user sends in large bodies, and so many seconds of it at once."""
THREADS = 2
LOOP_SHARE, LOOP_SECONDS = 0.25, 2.0
"""Of the event loop's time for what one user asks, and so many seconds of it at once."""

T = TypeVar("T")


class TooManyRequests(TooMuchAtOnce):
    def __init__(self, who: str, what: str, wait_seconds: float) -> None:
        super().__init__(
            f"{who[:1].upper()}{who[1:]} {what}; the next request is taken in {wait_seconds:.1f} s.",
            hint="Ask more slowly, and again after the seconds in Retry-After. API.Limits says how much each one may.",
            wait_seconds=wait_seconds,
        )


class TooManyStreams(TooMuchAtOnce):
    def __init__(self, who: str, most: int) -> None:
        super().__init__(
            f"{who[:1].upper()}{who[1:]} reads {most} streams of events and logs, and may read no more at once.",
            hint="Close some of them. API.Limits.StreamsPerUser says how many one user may read.",
            wait_seconds=PATIENCE_SECONDS,
        )


class UserShares:
    """`clock` gives monotonic seconds."""

    def __init__(
        self,
        limits: ApiLimits,
        held_back: HeldBack,
        changing: Company,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_streams = limits.streams_per_user
        self._held_back = held_back
        self._changing = changing
        self._clock = clock
        self._requests = _allowance(limits.requests_per_second)
        self._strangers = _allowance(limits.strange_requests_per_second)
        self._sent = _allowance(limits.sent_bytes_per_second)
        self._read = _allowance(limits.read_bytes_per_second)
        self._streamed = Allowance(float(limits.streamed_bytes_per_second), STREAM_BURST_BYTES)
        self._streams: Counter[str] = Counter()
        self._delayed: Counter[str] = Counter()
        self._in_hand: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._bodies: Counter[str] = Counter()
        self._thought = Allowance(THREAD_SHARE, THREAD_SECONDS)
        self._time = Allowance(LOOP_SHARE, LOOP_SECONDS)
        self._thinking: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}
        self._threads = asyncio.Semaphore(THREADS)
        self._room: asyncio.Future[None] | None = None
        """Is there when a body waits for room, and done when some may have come."""

    async def admit(self, who: str, *, changes: bool = False) -> None:
        """Wait until this user may ask once more. Raises TooManyRequests."""
        cost = self._cost(who, changes=changes)
        await self._pass(self._requests, who, Bound.REQUESTS, "makes too many requests", cost=cost)
        for allowance, bound, what in (
            (self._time, Bound.TIME, "asks for what takes too long"),
            (self._sent, Bound.SENT_BYTES, "sends too many bytes"),
            (self._read, Bound.READ_BYTES, "reads too many bytes"),
        ):
            await self._pass(allowance, who, bound, what, cost=0)

    def _cost(self, who: str, *, changes: bool) -> int:
        if not changes:
            return 1
        self._changing.note(who)
        return CHANGE_COST if self._changing.has_others(who) else 1

    async def admit_stranger(self, origin: str) -> None:
        """The same for what shows no valid key."""
        await self._pass(self._strangers, origin, Bound.STRANGERS, "asks too much without a valid key")

    async def _pass(self, allowance: Allowance, who: str, bound: Bound, what: str, *, cost: int = 1) -> None:
        now = self._clock()
        wait = allowance.wait_seconds(who, now)
        if wait <= PATIENCE_SECONDS and self._delayed[who] < MOST_DELAYED:
            if cost:
                allowance.charge(who, cost, now)
            if wait:
                self._held_back.note(bound, who)
                await self._delay(who, wait)
            return
        self._held_back.note(bound, who)
        if self._delayed[who] < MOST_DELAYED:
            await self._delay(who, REFUSAL_SECONDS)
        raise TooManyRequests(who, what, max(allowance.wait_seconds(who, self._clock()) - PATIENCE_SECONDS / 2, 0.1))

    async def _delay(self, who: str, seconds: float) -> None:
        self._delayed[who] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            _less(self._delayed, who, 1)

    # ---- what is under way ------------------------------------------------------------------------------------------

    async def begin(self, who: str) -> None:
        """Wait for the turn of this request; `end` has to follow."""
        if self._in_hand[who] >= IN_HAND:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._lines.setdefault(who, deque()).append(turn)
            try:
                await turn  # by `end`, which hands its place on
            except BaseException:
                self._leave(who, turn)
                raise
            return
        self._in_hand[who] += 1

    def _leave(self, who: str, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():
            self.end(who)
        elif turn in (line := self._lines.get(who, deque())):
            line.remove(turn)
            if not line:
                del self._lines[who]

    def end(self, who: str) -> None:
        line = self._lines.get(who)
        while line:
            turn = line.popleft()
            if not line:
                del self._lines[who]
            if not turn.done():
                turn.set_result(None)
                return
        _less(self._in_hand, who, 1)

    def open_stream(self, who: str) -> None:
        """`close_stream` has to follow. Raises TooManyStreams."""
        if self._streams[who] >= self._most_streams:
            self._held_back.note(Bound.STREAMS, who)
            raise TooManyStreams(who, self._most_streams)
        self._streams[who] += 1

    def close_stream(self, who: str) -> None:
        _less(self._streams, who, 1)

    async def open_body(self, who: str, size: int) -> None:
        """Wait until there is room for a body of so many bytes; `close_body` has to follow. Raises TooManyRequests."""
        if not self._has_room(who, size):
            self._held_back.note(Bound.SENT_BYTES, who)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not self._has_room(who, size):
                        self._room = self._room or asyncio.get_running_loop().create_future()
                        await asyncio.shield(self._room)
            except TimeoutError:
                raise TooManyRequests(who, "sends too much at once", PATIENCE_SECONDS) from None
        if size > LARGE_BYTES:
            self._bodies[who] += size

    def _has_room(self, who: str, size: int) -> bool:
        if size <= LARGE_BYTES or not self._bodies:
            return True
        return self._bodies.total() + size <= BODY_BYTES and self._bodies[who] + size <= BODY_BYTES_OF_ONE

    @property
    def large_bodies(self) -> int:
        """Of how many users some are there."""
        return len(self._bodies)

    @property
    def thinking(self) -> int:
        """How many bodies are read in a thread, or wait for that."""
        return self._thinking.total()

    def close_body(self, who: str, size: int) -> None:
        if size > LARGE_BYTES:
            _less(self._bodies, who, size)
            if self._room is not None:
                self._room.set_result(None)
                self._room = None

    def on_sent(self, who: str, size: int) -> None:
        """So many bytes have come from this user."""
        if size:
            self._sent.charge(who, size, self._clock())

    async def in_thread(self, who: str, act: Callable[[], T]) -> T:
        """What takes a processor for long, in a thread: one for each user, which rests in between, and few in all."""
        self._thinking[who] += 1
        lock = self._locks.setdefault(who, asyncio.Lock())
        try:
            async with lock:
                if wait := self._thought.wait_seconds(who, self._clock()):
                    self._held_back.note(Bound.SENT_BYTES, who)
                    await asyncio.sleep(wait)
                async with self._threads:
                    begun = self._clock()
                    try:
                        return await asyncio.to_thread(act)
                    finally:
                        self._thought.charge(who, self._clock() - begun, self._clock())
        finally:
            _less(self._thinking, who, 1)
            if who not in self._thinking:
                del self._locks[who]

    def on_time(self, who: str, seconds: float) -> None:
        """So much of the event loop's time was taken for this user."""
        self._time.charge(who, seconds, self._clock())

    def on_read(self, who: str, size: int) -> None:
        """So many bytes go to this user."""
        if size:
            self._read.charge(who, size, self._clock())

    async def stream(self, who: str, size: int) -> None:
        """So many bytes of a stream are about to go to this user; wait for their turn among all its streams'."""
        if wait := self._streamed.reserve(who, size, self._clock()):
            self._held_back.note(Bound.READ_BYTES, who)
            await asyncio.sleep(wait)

    def __repr__(self) -> str:
        return f"<UserShares, {self._in_hand.total()} requests and {self._streams.total()} streams>"


def _allowance(per_second: int) -> Allowance:
    return Allowance(float(per_second), BURST_SECONDS * per_second)


def _less(counts: Counter[str], who: str, count: int) -> None:
    """Nothing is kept of whom nothing is left."""
    if counts[who] > count:
        counts[who] -= count
    else:
        del counts[who]
