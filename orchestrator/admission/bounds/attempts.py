"""Attempts to connect to NATS: of those without a right to, how many from one address are looked at.

Who shows what is known here, such as a node that comes back, is judged before all others, and however many strangers
come from the same address. What is right by itself, such as a password or a token, is never held back; a key is only
named before it is judged, so whoever names it without having it is counted with it.
"""

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.admission.bounds.held_back import Bound, HeldBack
from orchestrator.admission.bounds.origins import origin_of

REFUSED_PER_SECOND, REFUSED_AT_ONCE = 5.0, 100.0
"""From one address; a machine may have many nodes that were rejected, and each comes again every few seconds."""

AT_ONCE, WAITING = 64, 4096
STRANGERS_AT_ONCE, STRANGERS_WAITING = 8, 256


class AttemptStanding(Enum):
    """What can be told of who connects before its signature has been looked at."""

    STRANGE = auto()
    NAMED = auto()
    """A key that is known is said to be its own."""
    PROVEN = auto()
    """A secret that is known has been shown."""


class AttemptsQueue:
    """Those that wait to be judged, in the order of their arrival."""

    def __init__(self, at_once: int, most_waiting: int) -> None:
        self.free = asyncio.Semaphore(at_once)
        self.waiting = 0
        self.most_waiting = most_waiting

    def __repr__(self) -> str:
        return f"<AttemptsQueue, {self.waiting} waiting>"


class NatsAttempts:
    """`clock` gives monotonic seconds."""

    def __init__(self, held_back: HeldBack, clock: Callable[[], float] = time.monotonic) -> None:
        self._held_back = held_back
        self._clock = clock
        self._known = AttemptsQueue(AT_ONCE, WAITING)
        self._strangers = AttemptsQueue(STRANGERS_AT_ONCE, STRANGERS_WAITING)
        self._refused = Allowance(REFUSED_PER_SECOND, REFUSED_AT_ONCE)

    def queue_for(self, host: str, name: str, standing: AttemptStanding) -> "AttemptsQueue | None":
        """Where an attempt waits; None for one that is not judged at all, which the server ends after a while.

        A name that was said too often from there without its key is a stranger's.
        """
        now = self._clock()
        if standing is AttemptStanding.PROVEN or (
            standing is AttemptStanding.NAMED and self._refused.wait_seconds(_named(host, name), now) == 0
        ):
            queue = self._known
        elif self._refused.wait_seconds(origin_of(host), now) == 0:
            queue = self._strangers
        else:
            self._held_back.note(Bound.NATS_CONNECTIONS, origin_of(host))
            return None
        return queue if queue.waiting < queue.most_waiting else None

    def on_refused(self, host: str, name: str) -> None:
        """`name` is that of a key, or empty where none was to let it in."""
        now = self._clock()
        self._refused.charge(origin_of(host), 1, now)
        if name:
            self._refused.charge(_named(host, name), 1, now)

    def __repr__(self) -> str:
        return f"<Attempts, {self._refused!r} for refused ones>"


def _named(host: str, name: str) -> str:
    return f"{origin_of(host)} {name}"
