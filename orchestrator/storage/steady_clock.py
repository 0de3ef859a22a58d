"""The steady clock, by which records are timed while somebody sets the machine's: a step must last.

Ages decide whether a result, a job or a task has taken too long, and when old jobs are removed. A clock that is wrong
by hours for a moment, as on a machine that asks a wrong time server, must not end everything.
"""

import logging

_log = logging.getLogger(__name__)

STEP_NS = 5_000_000_000
"""A smaller difference is followed at once: clocks are corrected all the time."""
BELIEVED_AFTER_NS = 600_000_000_000


class SteadyClock:
    """Made with what both clocks say now: the one on the wall, and one that only ever runs, in nanoseconds."""

    def __init__(self, wall: int, running: int) -> None:
        self._offset = wall - running
        self._step = 0
        self._stepped_at = 0

    def __repr__(self) -> str:
        return f"<SteadyClock, {self._step / 1e9:+.0f} s not believed>"

    def now(self, wall: int, running: int) -> int:
        """The time on the wall, but for a step that has not lasted for long enough."""
        step = wall - running - self._offset
        if abs(step) <= STEP_NS:
            self._offset, self._step = self._offset + step, 0
        elif abs(step - self._step) > STEP_NS:
            self._step, self._stepped_at = step, running
            told = "This machine's clock was set by %+.0f s. That is believed when it stays so for %.0f minutes."
            _log.warning(told, step / 1e9, BELIEVED_AFTER_NS / 60e9)
        elif running - self._stepped_at > BELIEVED_AFTER_NS:
            _log.warning("This machine's clock stays set by %+.0f s, so that is the time now.", step / 1e9)
            self._offset, self._step = self._offset + step, 0
        return running + self._offset
