"""An execution that the node holds: what is known of it, and how the work on it is interrupted."""

import asyncio
import enum
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from compute.archive.small import SmallArchive
from compute.disk.workspace import Workspace
from compute.engines.task_usage import TaskUsage
from compute.executions.given_secrets import NO_SECRETS
from compute.executions.slots import Slot
from compute.journal.entry import Entry, Phase, moved
from compute.upload.grants import ExecutionGrants
from compute.upload.upload import Upload
from shared.ids import ExecutionId
from shared.protocol.messages import AnyFact
from shared.runtime.log_lines import about

READ_SECONDS = 2.0
"""Who has read a task's output within this time reads on."""


class Activity(enum.Enum):
    QUEUED = enum.auto()
    RUNNING = enum.auto()
    PUBLISHING = enum.auto()
    """The task has ended; what follows needs no slot."""
    OVER = enum.auto()


class Stop(enum.Enum):
    """Why an execution is stopped from outside."""

    CANCELLED = enum.auto()
    SETTLED = enum.auto()
    """The orchestrator does not wait for its end any more, so nothing is told."""
    NODE_STOPS = enum.auto()
    HANDED_BACK = enum.auto()
    """It has not begun, and will not on this node."""
    LEFT = enum.auto()
    """The node stops, and the task goes on in its engine for the node's next process."""


class Execution:
    """One execution that this node holds, in whatever phase.

    It is changed on the event loop alone. What is done for it in a thread is taken over from there.
    """

    def __init__(self, entry: Entry, grants: ExecutionGrants, slot: Slot | None = None) -> None:
        self.entry = entry
        #: The right to write its result, renewed when it is asked for.
        self.grants = grants
        #: What its task was given, which is in no journal.
        self.secrets = NO_SECRETS
        #: What is being done about it.
        self.activity = Activity.QUEUED
        #: The upload of its result, from when that begins.
        self.upload: Upload | None = None
        #: Its folder, once it was asked for.
        self.workspace: Workspace | None = None
        #: The result, if it is small and waits for being sent.
        self.packed: SmallArchive | None = None
        #: Why it is stopped from outside, and in whose words.
        self.stop: Stop | None = None
        self.stop_reason = ""
        #: Whether there is an entry in the journal, or a folder, before its end.
        self.is_on_disk = False
        #: How many of its happenings have been handed on to be reported.
        self.told = 0
        #: When its output was read last.
        self.read_at = -READ_SECONDS
        #: What its task uses while it runs.
        self.usage = TaskUsage()
        #: When its task was over, where what follows takes time.
        self.over_at: float | None = None
        #: Of its task, while an engine has it.
        self.deadline: asyncio.Timeout | None = None
        self._slot = slot
        #: The stretch of work that `request_stop` ends.
        self._scope: asyncio.Timeout | None = None

    def __repr__(self) -> str:
        return f"<Execution {self.id} {self.activity.name.lower()}, {self.entry.phase}>"

    @property
    def id(self) -> ExecutionId:
        return self.entry.execution_id

    @property
    def about(self) -> dict[str, str]:
        """For a log line about it."""
        return about(execution=self.id, job=self.entry.assignment.job_id)

    @property
    def was_interrupted(self) -> bool:
        return self._scope is not None and self._scope.expired()

    @property
    def has_begun(self) -> bool:
        return self.activity is not Activity.QUEUED or self._slot is None or self._slot.is_granted

    @property
    def waits_for_s3(self) -> bool:
        """Whether its result is ready and S3 does not take it."""
        return self.activity is Activity.PUBLISHING and self.upload is not None and self.upload.trouble.is_waiting

    @property
    def is_being_read(self) -> bool:
        return time.monotonic() - self.read_at < READ_SECONDS

    def take_over(self, entry: Entry, *, is_on_disk: bool, packed: SmallArchive | None) -> None:
        """What the thread of its engine has written."""
        self.entry, self.is_on_disk, self.packed = entry, is_on_disk, packed

    def move(self, phase: Phase, fact: AnyFact) -> None:
        self.entry = moved(self.entry, phase, fact)

    def request_stop(self, stop: Stop, reason: str = "") -> None:
        """Interrupt the work wherever it is; `Supervisor` then decides what the end is. No effect after the end."""
        if self.stop is not Stop.SETTLED:
            self.stop, self.stop_reason = stop, reason
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """A stretch that `request_stop` ends with TimeoutError: a deadline that is set only when it is needed."""
        async with asyncio.timeout(None) as scope:
            if self.stop is not None:
                scope.reschedule(asyncio.get_running_loop().time())
            self._scope = scope
            yield

    @property
    def devices(self) -> tuple[str, ...]:
        """The GPUs that are its own until it releases its slot."""
        return () if self._slot is None else self._slot.devices

    async def slot_granted(self) -> None:
        if self._slot is not None:
            await self._slot.granted()

    def release_slot(self) -> None:
        if self._slot is not None:
            self._slot.release()


def run_seconds(execution: Execution, entry: Entry) -> float:
    """For how long its task has run that was started, as `entry` says."""
    if execution.usage.run_seconds is not None:
        return execution.usage.run_seconds
    over_at = time.time() if execution.over_at is None else execution.over_at
    return max(0.0, over_at - entry.happenings[-1].at)
