"""The recorder of the audit log: what is done is written before it is answered, by many in one write.

Whoever changes something asks `check` before, and waits for `record` after it. While the log cannot be written both
raise AuditUnwritable, unless the operator has chosen that the orchestrator goes on; it is tried again each second.
Lines are numbered and written in a thread, so that a slow disk holds up nothing but what waits for its line.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from orchestrator.audit.events import AUDIT, LOST, SIGN_IN, START, STOP, AuditEvent
from orchestrator.audit.lines import Position, written_time
from orchestrator.audit.repetitions import Repetitions
from shared.errors import Unavailable
from shared.runtime.aio import in_thread

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.02
"""Between the beginnings of two writes at most: what comes meanwhile is written together."""
PAUSE_OF_ONE_SECONDS = 0.002
"""For each event of the last write: a thread has its price, which many share, and who comes alone waits for nobody."""
STUCK_SECONDS = 5.0
"""A write that takes longer is no write: who waits for it is refused."""
LOOK_SECONDS = 1.0
MOST_WAITING = 16_384
"""Events that are not written yet; what comes beyond that is refused, or counted as lost."""
CLOSE_SECONDS = 5.0

OnFailure = Literal["refuse", "continue"]
_Stamped = tuple[bytes, AuditEvent]


class AuditUnwritable(Unavailable):
    """`done` is whether it was found out only after something was done that has no line yet."""

    def __init__(self, why: str, *, done: bool = False) -> None:
        means = (
            "What was asked may have been done." if done else "Nothing is changed and no URL is signed until it can."
        )
        super().__init__(
            f"The audit log cannot be written: {why}. {means}",
            hint="Make room on the orchestrator's disk, or give it the right to write: it goes on by itself."
            " Orchestrator.Audit.OnFailure=continue has it go on without.",
        )


class AuditSink(Protocol):
    """Where lines go. Its methods block, and raise OSError."""

    @property
    def position(self) -> Position: ...

    def open(self) -> None:
        """Also where it is open."""
        ...

    def write(self, events: Iterable[_Stamped]) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class AuditHealth(NamedTuple):
    """How the log is: why it cannot be written, how far it is, and how many events have no line."""

    problem: AuditUnwritable | None
    seq: int
    lost: int


class Audit:
    """Open as an async context manager, and let `run()` run in a task meanwhile."""

    def __init__(self, sink: AuditSink, *, on_failure: OnFailure = "refuse") -> None:
        self._sink = sink
        self._refuses = on_failure == "refuse"
        self._thread = ThreadPoolExecutor(1, "audit")
        self._repetitions = Repetitions()
        self._waiting: list[_Stamped] = []
        self._told: list[asyncio.Future[None]] = []
        """Who waits for what is waiting, and for what is being written."""
        self._told_next: list[asyncio.Future[None]] = []
        self._now = b""
        self._is_scheduled = False
        self._writing_since = 0.0
        self._rests_until = 0.0
        self._is_taken = True
        """Whether what is being written has its numbers, so that it is not to be given again."""
        self._problem = ""
        """Why it cannot be written."""
        self._is_closed = False
        self._lost = 0
        self._lost_in_all = 0

    def __repr__(self) -> str:
        return f"<Audit by {self._sink!r}, {len(self._waiting)} waiting>"

    async def __aenter__(self) -> Self:
        self._add((AuditEvent(kind="orchestrator", action=AUDIT, operation=START),))
        await self._flushed()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._add(tuple(self._repetitions.sums(time.monotonic(), at_end=True)))
        self._add((AuditEvent(kind="orchestrator", action=AUDIT, operation=STOP),))
        await self._flushed()
        self._is_closed = True
        with suppress(TimeoutError):
            await in_thread(self._sink.close, within=CLOSE_SECONDS, pool=self._thread)
        self._thread.shutdown(wait=False)

    @property
    def health(self) -> AuditHealth:
        problem = AuditUnwritable(self._problem) if self._problem else None
        return AuditHealth(problem, self._sink.position.seq, self._lost_in_all)

    def check(self) -> None:
        """Raise AuditUnwritable where nothing may be done now, as it could not be told."""
        if self._problem and self._refuses:
            raise AuditUnwritable(self._problem)

    async def record(self, *events: AuditEvent) -> None:
        """Return when all of them are written. Raises AuditUnwritable; what was done is written all the same, later.

        Whoever is cancelled while it waits has its lines too.
        """
        if not events:
            return
        self._add(events)
        if self._problem and self._refuses:
            raise AuditUnwritable(self._problem, done=True)
        if self._problem:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told_next.append(written)
        await written

    def note(self, event: AuditEvent) -> None:
        """Have it written, without waiting for it. Repeated refusals are summed up, and so is who is let in again."""
        if (event.outcome != "refused" and event.action != SIGN_IN) or self._repetitions.take(event, time.monotonic()):
            self._add((event,))

    async def run(self) -> None:
        """Write sums, sync what is due, and try again what could not be written, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._add(tuple(self._repetitions.sums(time.monotonic())))
            if self._writing_since and time.monotonic() - self._writing_since > STUCK_SECONDS:
                self._fail(f"a write has taken longer than {STUCK_SECONDS:g} s")
            else:
                self._schedule()

    # ---- writing ----------------------------------------------------------------------------------------------------

    def _add(self, events: tuple[AuditEvent, ...]) -> None:
        room = MOST_WAITING - len(self._waiting)
        if len(events) > room:
            self._lose(len(events) - room)
            events = events[:room]
            if not self._problem:
                self._fail("it takes longer to write than events come")
        if events:
            if self._problem or not self._waiting:  # else they are written within the same moment
                self._now = written_time()
            self._waiting += [(self._now, event) for event in events]
            self._schedule()

    def _schedule(self) -> None:
        """At once where few come, and soon after another write where many do."""
        if self._is_scheduled or self._writing_since or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        self._is_scheduled = True
        loop.call_later(max(0.0, self._rests_until - time.monotonic()), self._begin)

    def _begin(self) -> None:
        self._is_scheduled = False
        if self._writing_since or self._is_closed:
            return
        batch, self._waiting = self._waiting, []
        self._told, self._told_next = self._told_next, []
        self._writing_since = time.monotonic()
        self._rests_until = self._writing_since + min(PAUSE_SECONDS, (len(batch) - 1) * PAUSE_OF_ONE_SECONDS)
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch)
        writing.add_done_callback(partial(self._end, batch))

    def _write(self, batch: list[_Stamped]) -> None:
        self._is_taken = False
        self._sink.open()
        self._sink.write(())  # what is left of the last one; nothing more gets numbers before that is out of memory
        self._is_taken = True
        self._sink.write(batch)
        self._sink.sync()

    def _end(self, batch: list[_Stamped], writing: "asyncio.Future[None]") -> None:
        self._writing_since = 0.0
        error = writing.exception()
        if error is not None:
            if not self._is_taken:
                self._put_back(batch)
            if not isinstance(error, OSError):
                _log.error("The audit log failed.", exc_info=error)
            self._fail((error.strerror if isinstance(error, OSError) else "") or str(error))
            return
        for each in self._told:
            if not each.done():
                each.set_result(None)
        self._told = []
        self._recover()
        if self._waiting:
            self._schedule()

    def _put_back(self, batch: list[_Stamped]) -> None:
        """Before what has come meanwhile, of which the newest is lost where both are too many."""
        both = batch + self._waiting
        self._waiting = both[:MOST_WAITING]
        self._lose(len(both) - len(self._waiting))

    def _lose(self, count: int) -> None:
        self._lost += count
        self._lost_in_all += count

    def _fail(self, why: str) -> None:
        if not self._problem:
            _log.error("The audit log cannot be written: %s. %s", why, _MEANS[self._refuses])
        self._problem = why
        told, self._told, self._told_next = (*self._told, *self._told_next), [], []
        for each in told:
            if not each.done():
                if self._refuses:
                    each.set_exception(AuditUnwritable(why, done=True))
                else:
                    each.set_result(None)

    def _recover(self) -> None:
        if not self._problem:
            return
        self._problem = ""
        _log.warning("The audit log can be written again.")
        if self._lost:
            lost, self._lost = self._lost, 0
            self._add((AuditEvent(kind="orchestrator", action=AUDIT, operation=LOST, times=lost),))

    async def _flushed(self) -> None:
        """All is written, or cannot be."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told_next.append(written)
        await asyncio.wait((written,), timeout=CLOSE_SECONDS)
        if written.done():
            written.exception()


_MEANS = {
    True: "Nothing is changed and no URL is signed until it can; it is tried again each second.",
    False: "The orchestrator goes on without, as Orchestrator.Audit.OnFailure says.",
}
