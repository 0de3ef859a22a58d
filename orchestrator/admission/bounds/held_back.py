"""What is held back: counted by kind, and told in one line of the log for each who did it and interval."""

import enum
import logging
import time
from collections import Counter
from collections.abc import Callable

import msgspec

_log = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
MOST_KNOWN = 4096
"""Of so many who were held back last it is known how often since the last line."""
MOST_LINES = 20
"""In one interval, of whomever."""


class Bound(enum.StrEnum):
    """Which bound held somebody back."""

    CONNECTIONS = "connections"
    HEADERS = "headers"
    GUESSES = "guesses"
    STRANGERS = "strangers"
    REQUESTS = "requests"
    TIME = "time"
    STREAMS = "streams"
    SENT_BYTES = "sent_bytes"
    READ_BYTES = "read_bytes"
    NATS_CONNECTIONS = "nats_connections"
    NATS_REQUESTS = "nats_requests"


_TOLD = {
    Bound.CONNECTIONS: "has too many connections to the API, and those idle for longest are closed",
    Bound.HEADERS: "sends headers of requests that are too slow or too large, and its connections are closed",
    Bound.GUESSES: "shows too many wrong passwords, and has to wait",
    Bound.STRANGERS: "asks too much without a valid key, and has to wait",
    Bound.REQUESTS: "makes too many requests, and has to wait",
    Bound.TIME: "asks for what takes much of the orchestrator's time, and has to wait",
    Bound.STREAMS: "reads too many streams at once, and gets no further ones",
    Bound.SENT_BYTES: "sends too many bytes, and has to wait",
    Bound.READ_BYTES: "reads too many bytes, and has to wait",
    Bound.NATS_CONNECTIONS: "connects to NATS too often without a right to, and is not looked at",
    Bound.NATS_REQUESTS: "makes too many requests over NATS, and has to wait",
}


class HeldCount(msgspec.Struct):
    """How often somebody was since the last line about it, and when that was (monotonic)."""

    logged: float = -INTERVAL_SECONDS
    since: int = 0


class HeldBack:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.in_all: Counter[Bound] = Counter()
        self._known: dict[tuple[str, Bound], HeldCount] = {}
        """Whoever was held back last is last."""
        self._clock = clock
        self._begun, self._lines = -INTERVAL_SECONDS, 0

    def note(self, bound: Bound, who: str, count: int = 1) -> None:
        """`who` is an address, or names a user or a program; nothing of a key is in it."""
        self.in_all[bound] += count
        key, now = (who, bound), self._clock()
        held = self._known.pop(key, None) or HeldCount()
        self._known[key] = held
        held.since += count
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        if now - held.logged >= INTERVAL_SECONDS and self._may_log(now):
            _log.warning("%s %s (%d times).", who, _TOLD[bound], held.since)
            held.logged, held.since = now, 0

    def _may_log(self, now: float) -> bool:
        if now - self._begun >= INTERVAL_SECONDS:
            self._begun, self._lines = now, 0
        self._lines += 1
        return self._lines <= MOST_LINES

    def __repr__(self) -> str:
        return f"<HeldBack {self.in_all.total()} times>"
