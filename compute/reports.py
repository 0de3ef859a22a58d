"""How facts reach the orchestrator: in order per execution, many executions at once, kept until a stream has them.

A fact that does not end its execution waits a moment for the next one, so that a short task costs one report. What was
sent stays in the journal until the orchestrator's receipt; what was not sent when the process ends, too. Progress alone
is not in the journal, and travels apart from what an older orchestrator understands.
"""

import asyncio
import time

from msgspec.structs import replace

from compute.backoff import Backoff
from compute.journal_entry import Happening
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId
from shared.messages import AnyFact, ExecutionProgressed, Report, encode
from shared.transport import Connection

HOLD_SECONDS = 0.05
AT_ONCE = 32
SEND_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0


class Reports:
    def __init__(self, connection: Connection, subject: str) -> None:
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
        return f"<Reports on {self._subject}, {len(self._waiting)} waiting>"

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
            execution_id = await self._due.get()
            try:
                await self._send(execution_id)
            finally:
                self._in_hand.discard(execution_id)
            if execution_id in self._waiting:  # told while the last report was on its way
                self._release(execution_id)
            self._check_all_sent()

    async def _send(self, execution_id: ExecutionId) -> None:
        pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while happenings := self._waiting.get(execution_id):
            if not self._connection.connected:
                await self._connection.wait_connected()
            count = _count_together(happenings)
            report = encode(_report(execution_id, happenings[:count]))
            try:
                await self._connection.publish_durably(self._subject, report, timeout=SEND_SECONDS)
            except MessagingUnavailable:
                await pauses.pause()
                continue
            del happenings[:count]
            if not happenings and self._waiting.get(execution_id) is happenings:
                del self._waiting[execution_id]
            return

    def _check_all_sent(self) -> None:
        if not self._waiting:
            self._all_sent.set()


def _count_together(happenings: list[Happening]) -> int:
    """How many of the first ones are progress, or are none."""
    is_progress = isinstance(happenings[0].fact, ExecutionProgressed)
    for count, each in enumerate(happenings):
        if isinstance(each.fact, ExecutionProgressed) is not is_progress:
            return count
    return len(happenings)


def _report(execution_id: ExecutionId, happenings: list[Happening]) -> Report:
    now = time.time()
    return Report(execution_id=execution_id, facts=tuple(_aged(each, now) for each in happenings))


def _aged(happening: Happening, now: float) -> AnyFact:
    return replace(happening.fact, age_seconds=max(0.0, now - happening.at))
