"""Repetitions: what the same one is refused again and again has a few lines and then a sum.

So no flood fills the disk, or has older lines rotated away. Who is known has some lines of each kind in a minute, and
then one that sums up the others. Strangers have fewer, and all of them together have a budget: beyond it one line a
minute counts them all.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from orchestrator.audit.events import AUDIT, SUM, AuditEvent

WINDOW_SECONDS = 60.0
LINES_OF_KNOWN = 20
LINES_OF_STRANGER = 5
"""Of one kind, by one address, in a window."""
STRANGERS_AT_ONCE = 1000
STRANGERS_PER_SECOND = 0.1
"""Lines of all strangers together. At 400 bytes each that is 3.5 MB a day."""
MOST_REMEMBERED = 4096
"""Kinds of refusals in a window. Who is known has a line for each further one."""
MOST_OF_STRANGERS = MOST_REMEMBERED // 2
"""Of these; further ones are counted together."""


class _Window(msgspec.Struct):
    since: float
    event: AuditEvent
    lines: int = 0
    more: int = 0


class Repetitions:
    """`now` is in seconds on a clock that never goes back."""

    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()
        self._of_strangers = 0
        """How many of the windows."""
        self._room = float(STRANGERS_AT_ONCE)
        self._filled_at = 0.0
        self._uncounted = 0
        self._uncounted_since = 0.0

    def __repr__(self) -> str:
        return f"<Repetitions of {len(self._windows)} kinds>"

    def take(self, event: AuditEvent, now: float) -> bool:
        """Whether the event gets a line of its own; otherwise it is counted."""
        key, is_stranger = _key(event), event.kind == "stranger"
        window = self._windows.get(key)
        if window is None:
            is_full = len(self._windows) >= MOST_REMEMBERED
            if is_stranger and (is_full or self._of_strangers >= MOST_OF_STRANGERS):
                self._count_alone(now)
                return False
            if is_full:
                return True
            window = self._windows[key] = _Window(now, event)
            self._of_strangers += is_stranger
        if window.lines < (LINES_OF_STRANGER if is_stranger else LINES_OF_KNOWN) and self._has_room(event, now):
            window.lines += 1
            return True
        window.more += 1
        return False

    def sums(self, now: float, *, at_end: bool = False) -> Iterator[AuditEvent]:
        """Of the windows that have ended, or of all."""
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if now - window.since < WINDOW_SECONDS and not at_end:
                break
            del self._windows[key]
            self._of_strangers -= window.event.kind == "stranger"
            if not window.more:
                continue
            if self._has_room(window.event, now):
                seconds = max(1, round(now - window.since))
                yield replace(window.event, object="", times=window.more, seconds=seconds)
            else:
                self._count_alone(now, window.more)
        if self._uncounted and (at_end or now - self._uncounted_since >= WINDOW_SECONDS):
            seconds = max(1, round(now - self._uncounted_since))
            told = "refusals of many, each without a line of its own"
            yield AuditEvent(
                kind="stranger",
                action=AUDIT,
                operation=SUM,
                outcome="refused",
                times=self._uncounted,
                seconds=seconds,
                detail=told,
            )
            self._uncounted = 0

    def _has_room(self, event: AuditEvent, now: float) -> bool:
        if event.kind != "stranger":
            return True
        self._room = min(STRANGERS_AT_ONCE, self._room + (now - self._filled_at) * STRANGERS_PER_SECOND)
        self._filled_at = now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    def _count_alone(self, now: float, count: int = 1) -> None:
        if not self._uncounted:
            self._uncounted_since = now
        self._uncounted += count


def _key(event: AuditEvent) -> tuple[str, ...]:
    """What is the same refusal. A stranger is known by its network, as whoever has one address of IPv6 has many."""
    if event.kind == "stranger":
        return ("stranger", _network(event.source), event.action, event.code)
    return (event.kind, event.who, event.action, event.operation, event.code)


def _network(source: str) -> str:
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    return source if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
