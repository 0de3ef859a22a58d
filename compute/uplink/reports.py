"""Reports to the orchestrator: in order per execution, many executions at once, kept until a stream has them.

A fact that does not end its execution waits a moment for the next one, so that a short task costs one report. What is
due while others are on their way travels together in the next message; nothing waits for that. What was sent stays in
the journal until the orchestrator's receipt; what was not sent when the process ends, too. Progress alone is not in the
journal, and travels apart from what an older orchestrator understands.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from compute.journal.entry import Happening
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId
from shared.messaging.transport import Connection
from shared.protocol import messages
from shared.protocol.messages import AnyFact, ExecutionProgressed, Report, encode
from shared.runtime.backoff import Backoff

HOLD_SECONDS = 0.1
AT_ONCE = 2
MOST_TOGETHER = 64
MOST_FACTS_TOGETHER = messages.MAX_FACTS // 4
MOST_BYTES_TOGETHER = 256 << 10
"""A report alone may have more; a message may have four times as many."""
SEND_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0


class _Told(NamedTuple):
    """What is told of one execution in one report: the first `length` of what is to be told."""

    execution_id: ExecutionId
    happenings: list[Happening]
    length: int


class ReportSender:
    def __init__(self, connection: Connection, subject: str) -> None:
        self.together = False
        """Whether the orchestrator is known to take reports of several executions in one message."""
        self._connection = connection
        self._subject = subject
        self._waiting: dict[ExecutionId, list[Happening]] = {}
        self._held: dict[ExecutionId, float] = {}
        """Until when, by the loop's clock, in this order."""
        self._release_timer: asyncio.TimerHandle | None = None
        self._due: asyncio.Queue[ExecutionId] = asyncio.Queue()
        self._in_hand: set[ExecutionId] = set()
        """Executions that are in `_due` or being sent."""
        self._all_sent = asyncio.Event()
        self._all_sent.set()

    def __repr__(self) -> str:
        return f"<ReportSender on {self._subject}, {len(self._waiting)} waiting>"

    def tell(self, execution_id: ExecutionId, *happenings: Happening, urgent: bool) -> None:
        """Send these after all that was told of this execution before; unless `urgent`, with what follows soon."""
        if not happenings:
            return
        self._waiting.setdefault(execution_id, []).extend(happenings)
        self._all_sent.clear()
        if urgent:
            self._release(execution_id)
        elif execution_id not in self._held and execution_id not in self._in_hand:
            self._hold(execution_id)

    def is_waiting(self, execution_id: ExecutionId) -> bool:
        return execution_id in self._waiting

    def forget(self, execution_id: ExecutionId) -> None:
        """The orchestrator knows how this execution ended, so what is unsent tells it nothing."""
        self._waiting.pop(execution_id, None)
        self._check_all_sent()

    async def all_sent(self) -> None:
        await self._all_sent.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as senders:
            for number in range(AT_ONCE):
                senders.create_task(self._send_due(), name=f"reports-{number}")

    def _hold(self, execution_id: ExecutionId) -> None:
        loop = asyncio.get_running_loop()
        self._held[execution_id] = loop.time() + HOLD_SECONDS
        if self._release_timer is None:
            self._release_timer = loop.call_later(HOLD_SECONDS, self._release_held)

    def _release_held(self) -> None:
        """Those whose time is over; one timer serves all, because most of them are released before."""
        loop = asyncio.get_running_loop()
        self._release_timer = None
        for execution_id, until in list(self._held.items()):
            if until > loop.time():
                self._release_timer = loop.call_at(until, self._release_held)
                return
            self._release(execution_id)

    def _release(self, execution_id: ExecutionId) -> None:
        self._held.pop(execution_id, None)
        if execution_id not in self._in_hand:
            self._in_hand.add(execution_id)
            self._due.put_nowait(execution_id)

    async def _send_due(self) -> None:
        while True:
            taken = [await self._due.get()]
            while self.together and len(taken) < MOST_TOGETHER and not self._due.empty():
                taken.append(self._due.get_nowait())
            try:
                await self._send(taken)
            finally:
                self._in_hand.difference_update(taken)
            for execution_id in taken:
                if execution_id in self._waiting:  # told while the last report was on its way
                    self._release(execution_id)
            self._check_all_sent()

    async def _send(self, execution_ids: Sequence[ExecutionId]) -> None:
        pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while told := self._to_tell(execution_ids):
            if not self._connection.connected:
                await self._connection.wait_connected()
            told, message = _fitting(told)
            try:
                await self._connection.publish_durably(self._subject, message, timeout=SEND_SECONDS)
            except MessagingUnavailable:
                await pauses.pause()
                continue
            for execution_id, happenings, length in told:
                del happenings[:length]
                if not happenings and self._waiting.get(execution_id) is happenings:
                    del self._waiting[execution_id]
            return

    def _to_tell(self, execution_ids: Sequence[ExecutionId]) -> list[_Told]:
        waiting = ((each, self._waiting[each]) for each in execution_ids if each in self._waiting)
        return [_Told(each, happenings, _count_together(happenings)) for each, happenings in waiting]

    def _check_all_sent(self) -> None:
        if not self._waiting:
            self._all_sent.set()


def _count_together(happenings: list[Happening]) -> int:
    """How many of the first ones are progress, or are none; and no more than an orchestrator surely takes at once."""
    is_progress = isinstance(happenings[0].fact, ExecutionProgressed)
    together = happenings[:MOST_FACTS_TOGETHER]
    for count, each in enumerate(together):
        if isinstance(each.fact, ExecutionProgressed) is not is_progress:
            return count
    return len(together)


def _fitting(told: list[_Told]) -> tuple[list[_Told], bytes]:
    """As many as fit into one message, the first ones, and the message."""
    now = time.time()
    reports = [encode(_report(each, now)) for each in told]
    if len(reports) == 1:
        return told, reports[0]
    while len(reports) > 1 and sum(map(len, reports)) > MOST_BYTES_TOGETHER:
        del reports[len(reports) // 2 :]
    return told[: len(reports)], encode(messages.Reports(reports=tuple(map(msgspec.Raw, reports))))


def _report(told: _Told, now: float) -> Report:
    facts = tuple(_aged(each, now) for each in told.happenings[: told.length])
    return Report(execution_id=told.execution_id, facts=facts)


def _aged(happening: Happening, now: float) -> AnyFact:
    return replace(happening.fact, age_seconds=max(0.0, now - happening.at))
