"""The log of refusals: a line for each of the first ones in a while, and the number of the rest."""

import logging

_log = logging.getLogger(__name__)

LOGGED_REFUSALS = 20
LOG_WINDOW_SECONDS = 60.0


class RefusalLog:
    """Warns about refused connections, but not about each of a flood."""

    def __init__(self) -> None:
        self._since = -LOG_WINDOW_SECONDS
        self._count = 0

    def note(self, line: str, *, now: float) -> None:
        """`now` is in seconds on a clock that never goes back."""
        if now - self._since >= LOG_WINDOW_SECONDS:
            if self._count > LOGGED_REFUSALS:
                _log.warning("%d more connections were refused meanwhile.", self._count - LOGGED_REFUSALS)
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= LOGGED_REFUSALS:
            _log.warning(line)
