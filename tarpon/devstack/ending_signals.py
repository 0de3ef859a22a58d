"""Signals that end a process which has to clean up: the first one in order, another one at once.

All count that end a process by themselves, but SIGKILL, which nobody can handle, and those by which the system answers
a fault of the program, which must not go on.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS}
_HARMLESS = {
    *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    *(signal.SIGPIPE, signal.SIGXFSZ),  # which Python makes errors of
}
ENDING = frozenset(signal.valid_signals() - _FAULTS - _HARMLESS - {signal.SIGKILL})


class Asked(NamedTuple):
    """What has been asked for: to stop in order, and to end at once, which never comes first."""

    stop: asyncio.Event
    at_once: asyncio.Event


@contextmanager
def ending_signals() -> Iterator[Asked]:
    """SIGHUP is not taken where it is ignored, as it is for what `nohup` starts."""
    asked = Asked(asyncio.Event(), asyncio.Event())
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (asked.at_once if asked.stop.is_set() else asked.stop).set()

    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set[signal.Signals]()
    numbers = ENDING - ignored
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield asked
    finally:
        for number in numbers:
            with suppress(ValueError, OSError):
                loop.remove_signal_handler(number)
