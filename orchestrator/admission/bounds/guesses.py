"""Guesses at passwords: whoever shows wrong ones has to wait, longer each time, and nobody else does.

Waiting is counted by origin, and by origin and user name. It never holds back somebody from elsewhere who knows the
password: while many origins guess at one name, each of them has to wait after its first wrong one instead.
"""

import time
from collections.abc import Callable

import msgspec

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.admission.bounds.held_back import Bound, HeldBack
from shared.errors import TooMuchAtOnce

FREE = 5
"""So many wrong ones for one name follow each other at once: people mistype."""
FREE_OF_ORIGIN = 20
"""The same for all names: several people may be behind one address."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
BESIEGED_WAIT_SECONDS = 8.0
FORGET_SECONDS = 3600.0
WRONG_PER_SECOND, WRONG_AT_ONCE = 0.5, 30.0
"""For one name from all origins: beyond that it is being guessed at by many."""
MOST_KNOWN = 32_768


class TooManyAttempts(TooMuchAtOnce):
    def __init__(self, wait_seconds: float) -> None:
        super().__init__(
            f"Too many wrong passwords came from this address; the next one is looked at in {wait_seconds:.1f} s.",
            hint="Wait that long, and check which password is set. Keys of `tarpon user create` are not held back.",
            wait_seconds=wait_seconds,
        )


class _Wrong(msgspec.Struct):
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Guesses:
    """`clock` gives monotonic seconds."""

    def __init__(self, held_back: HeldBack, clock: Callable[[], float] = time.monotonic) -> None:
        self._held_back = held_back
        self._clock = clock
        self._wrong: dict[tuple[str, str], _Wrong] = {}
        """By origin and name, and by origin and no name; whoever was wrong last is last."""
        self._right: dict[tuple[str, str], None] = {}
        """Who was right from where: the wrong ones of neighbours do not count against them."""
        self._of_names = Allowance(WRONG_PER_SECOND, WRONG_AT_ONCE)

    def check(self, origin: str, name: str) -> None:
        """Raise TooManyAttempts where nothing that is shown from there is looked at for now."""
        keys = [(origin, name)] if (origin, name) in self._right else [(origin, name), (origin, "")]
        now = self._clock()
        wait = max(found.until - now if (found := self._wrong.get(key)) else 0.0 for key in keys)
        if wait > 0:
            self._held_back.note(Bound.GUESSES, origin)
            raise TooManyAttempts(wait)

    def on_wrong(self, origin: str, name: str) -> None:
        now = self._clock()
        is_besieged = bool(name) and not self._of_names.take(name, 1, now)
        if name:
            self._count((origin, name), 0 if is_besieged else FREE, now, besieged=is_besieged)
        self._count((origin, ""), FREE_OF_ORIGIN, now)

    def on_right(self, origin: str, name: str) -> None:
        self._wrong.pop((origin, name), None)
        self._right.pop((origin, name), None)
        self._right[origin, name] = None
        if len(self._right) > MOST_KNOWN:
            del self._right[next(iter(self._right))]

    def _count(self, key: tuple[str, str], free: int, now: float, *, besieged: bool = False) -> None:
        wrong = self._wrong.pop(key, None)
        if wrong is None or now - wrong.last > FORGET_SECONDS:
            wrong = _Wrong()
        self._wrong[key] = wrong
        wrong.count += 1
        wrong.last = now
        if wrong.count > free:
            first = BESIEGED_WAIT_SECONDS if besieged else FIRST_WAIT_SECONDS
            wrong.until = now + min(LONGEST_WAIT_SECONDS, first * 2 ** min(wrong.count - free - 1, 10))
        if len(self._wrong) > MOST_KNOWN:
            del self._wrong[next(iter(self._wrong))]

    def __repr__(self) -> str:
        return f"<Guesses, wrong ones from {len(self._wrong)} origins and names>"
