"""Executions of this node: it takes them on, stops them, and forgets them when the orchestrator knows."""

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from compute.executions.execution import READ_SECONDS, Activity, Execution, Stop
from compute.executions.given_secrets import SecretsNotOpened, SecretsOpener, secrets_of_resumed
from compute.executions.slots import Slots
from compute.executions.supervisor import NOT_BEGUN, Supervisor
from compute.executions.task_output import read_output
from compute.inputs.objects.told_inputs import ToldInputs
from compute.journal.entry import Entry, Happening, Phase, new_entry
from compute.journal.journal import Journal
from compute.uplink.reports import ReportSender
from compute.upload.grants import Ask, ExecutionGrants
from shared.ids import ExecutionId
from shared.protocol.messages import (
    MAX_UPLOADS,
    Accepted,
    Assignment,
    Heartbeat,
    OutputRead,
    ReadOutput,
    Rejected,
    UploadProgress,
)
from shared.protocol.signed_url import Grant

_log = logging.getLogger(__name__)

DELETE_AGAIN_SECONDS = 5.0
REMEMBERED = 10_000
"""How many forgotten ids are known, so that an offer that was delayed on its way does not run again."""
MOST_LOOKS = 30
"""How often it is looked whether the output of what is forgotten is read still, READ_SECONDS apart."""
MOST_READ_ON = 256

_NOT_HELD = Rejected(reason="NotHeld", detail="The node does not hold this execution.")


class Executions:
    """`group` is where the work of each execution lives; it has to outlive every call.

    `on_over` hears of each that the orchestrator has done with.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        slots: Slots,
        supervisor: Supervisor,
        reports: ReportSender,
        ask: Ask,
        group: asyncio.TaskGroup,
        on_over: Callable[[Entry], None],
        opener: SecretsOpener,
        inputs: ToldInputs | None = None,
    ) -> None:
        #: Names this process of the node, so that what another one said is not taken for its word.
        self.session = str(uuid.uuid4())
        self._journal = journal
        self._slots = slots
        self._supervisor = supervisor
        self._reports = reports
        self._ask = ask
        self._group = group
        self._on_over = on_over
        self._opener = opener
        self._inputs = inputs
        #: Everything that was taken on and of which the orchestrator does not know yet that it is over.
        self._held: dict[ExecutionId, Execution] = {}
        #: What is not to be run here any more, in order, the oldest first.
        self._forgotten: deque[ExecutionId] = deque(maxlen=REMEMBERED)
        #: The same, to look it up.
        self._forgotten_set: set[ExecutionId] = set()
        #: How many inventories were taken; each has its number.
        self._inventories = 0
        #: How far the uploads were when that was last told.
        self._told: dict[ExecutionId, tuple[int, int]] = {}
        #: Whether nothing is taken on any more.
        self._stopping = False
        #: Notified at each end while the node stops.
        self._changed = asyncio.Condition()
        #: Those that are forgotten, but for their output, which somebody reads.
        self._read_on: dict[ExecutionId, Execution] = {}
        #: What is forgotten and on disk still.
        self._to_delete: list[ExecutionId] = []
        self._to_delete_any = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Executions: {len(self._held)} held, {self._slots!r}>"

    @property
    def is_leaving(self) -> bool:
        """Whether nothing is taken on any more."""
        return self._stopping

    def inventory(self) -> tuple[int, tuple[ExecutionId, ...]]:
        """The next inventory's number and what is held at this moment."""
        self._inventories += 1
        if self._inputs is not None:
            self._inputs.begin_anew()
        return self._inventories, tuple(self._held)

    @property
    def held(self) -> frozenset[ExecutionId]:
        return frozenset(self._held)

    def activities(self) -> dict[Activity, int]:
        """How many are held, by what is done about each."""
        counts = dict.fromkeys(Activity, 0)
        for execution in self._held.values():
            counts[execution.activity] += 1
        return counts

    @property
    def waiting_for_s3(self) -> int:
        return sum(execution.waits_for_s3 for execution in self._held.values())

    def heartbeat(self) -> Heartbeat:
        counts = self.activities()
        uploads = tuple(islice(self._long_uploads(), MAX_UPLOADS))
        self._told.update({each.execution_id: (each.done_bytes, each.total_bytes) for each in uploads})
        self._told = {execution: told for execution, told in self._told.items() if execution in self._held}
        return Heartbeat(
            session=self.session,
            running=counts[Activity.RUNNING],
            queued=counts[Activity.QUEUED],
            publishing=counts[Activity.PUBLISHING],
            waiting_for_s3=self.waiting_for_s3,
            leaving=self._stopping,
            uploads=uploads,
            inputs=self._inputs.next() if self._inputs is not None else None,
        )

    def has_progress(self) -> bool:
        """Whether there is more to tell than that this node lives: uploads that stand still are none such."""
        if self._inputs is not None and self._inputs.has_news:
            return True
        long = (each for each in self._publishing() if each.upload is not None and each.upload.meter.is_long)
        return any(
            each.upload is not None and each.upload.meter.progress() != self._told.get(each.id)
            for each in islice(long, MAX_UPLOADS)
        )

    def _long_uploads(self) -> Iterator[UploadProgress]:
        for execution in self._publishing():
            how_far = execution.upload.meter.how_far() if execution.upload is not None else None
            if how_far is not None:
                yield UploadProgress(execution_id=execution.id, **how_far._asdict())

    def _publishing(self) -> Iterator[Execution]:
        return (each for each in self._held.values() if each.activity is Activity.PUBLISHING)

    def accepted(self) -> Accepted:
        """Made last, so that every inventory with a higher number was taken later."""
        return Accepted(session=self.session, inventories=self._inventories)

    def accept(self, assignment: Assignment) -> Accepted | Rejected:
        """Take it on, once: whoever offers it again hears the same, and may bring a fresher grant.

        It is in memory alone until its task is about to start. If this process dies before, the next one's inventory
        does not name it, and it is offered again.
        """
        grant = Grant(assignment.archive) if assignment.archive is not None else None
        held = self._held.get(assignment.execution_id)
        if held is not None:
            held.grants.offer(grant)
            held.grants.offer_beside(assignment.beside)
        elif assignment.execution_id not in self._forgotten_set:
            return self._take_on(assignment, grant)
        return self.accepted()

    def _take_on(self, assignment: Assignment, grant: Grant | None) -> Accepted | Rejected:
        if self._stopping:
            return Rejected(reason="NodeStopping", detail="The node is being stopped.", retryable=True)
        try:
            secrets = self._opener.opened(assignment)
        except SecretsNotOpened as error:  # what was sealed may be sealed to the right key the next time
            return Rejected(reason=error.code, detail=error.message, retryable=bool(assignment.secrets))
        slot = self._slots.admit(assignment.resources)
        if slot is None:
            return Rejected(reason="QueueFull", detail="No more executions may wait on this node.", retryable=True)
        grants = ExecutionGrants(assignment.execution_id, self._ask, grant)
        grants.offer_beside(assignment.beside)
        execution = Execution(new_entry(assignment), grants, slot)
        execution.secrets = secrets
        self._held[execution.id] = execution
        self._start(execution)
        _log.debug("Execution %s is taken on.", execution.id)
        return self.accepted()

    def tell_together(self) -> None:
        """The orchestrator offers executions together, so it is one that takes reports together too."""
        self._reports.together = True

    def adopt(self, entry: Entry) -> None:
        """Go on with what an earlier process of this node left, running or ended; what happened is told again."""
        runs = entry.phase is Phase.STARTED
        slot = self._slots.occupy(entry.assignment.resources, entry.devices) if runs else None
        execution = Execution(entry, ExecutionGrants(entry.execution_id, self._ask), slot)
        execution.is_on_disk = True
        execution.secrets = secrets_of_resumed(entry.assignment.task)
        execution.told = len(entry.happenings)
        self._held[execution.id] = execution
        self._reports.tell(execution.id, *entry.happenings, urgent=True)
        if entry.is_final:
            execution.activity = Activity.OVER
        else:
            execution.activity = Activity.RUNNING if runs else Activity.PUBLISHING
            self._start(execution)

    def tell_again(self) -> None:
        """Report every end for which there was no receipt, in case it was lost with the state of the far side."""
        for execution in self._held.values():
            if execution.activity is Activity.OVER and not self._reports.is_waiting(execution.id):
                self._reports.tell(execution.id, *execution.entry.happenings, urgent=True)

    async def read_output(self, order: ReadOutput) -> OutputRead | Rejected:
        """What the task of an execution that is held has written."""
        execution = self._readable(order.execution_id)
        if execution is None:
            return _NOT_HELD
        execution.read_at = time.monotonic()
        is_over = execution.activity in {Activity.PUBLISHING, Activity.OVER}
        workspace = self._journal.workspace(execution.entry)
        found = await asyncio.to_thread(read_output, workspace, order, is_over=is_over)
        if self._readable(order.execution_id) is not execution:  # its folder may be another's already
            return _NOT_HELD
        if is_over and not (found.stdout or found.stderr):
            execution.read_at -= READ_SECONDS  # this reader has all
        return found

    def _readable(self, execution_id: ExecutionId) -> Execution | None:
        return self._held.get(execution_id) or self._read_on.get(execution_id)

    def cancel(self, execution_id: ExecutionId, reason: str) -> None:
        execution = self._held.get(execution_id)
        if execution is not None and execution.activity is not Activity.OVER:
            execution.request_stop(Stop.CANCELLED, reason)

    def forget(self, execution_ids: Iterable[ExecutionId]) -> None:
        """The orchestrator is done with these. What still works is stopped and then forgotten."""
        for execution_id in execution_ids:
            execution = self._held.get(execution_id)
            if execution is None:
                continue
            if execution.activity is Activity.OVER:
                self._drop(execution_id)
            else:
                execution.request_stop(Stop.SETTLED)

    async def delete_forgotten(self) -> None:
        """Remove from disk what is forgotten, until cancelled; what is left then is forgotten again after a restart."""
        while True:
            await self._to_delete_any.wait()
            self._to_delete_any.clear()
            execution_ids, self._to_delete = self._to_delete, []
            try:
                await self._journal.delete(execution_ids)
            except OSError as error:
                _log.warning("What ended executions left cannot be removed, and is tried again: %s", error)
                self._to_delete += execution_ids
                self._to_delete_any.set()
                await asyncio.sleep(DELETE_AGAIN_SECONDS)

    def hand_back(self, execution_ids: Iterable[ExecutionId]) -> None:
        """Tell which of these have not begun, and do not begin them any more, also if an offer of one comes late."""
        for execution_id in execution_ids:
            execution = self._held.get(execution_id)
            if execution is not None and not execution.has_begun:
                execution.release_slot()  # so that it is not granted meanwhile
                execution.request_stop(Stop.HANDED_BACK)
            elif execution is None and execution_id not in self._forgotten_set:
                self._remember(execution_id)
                self._reports.tell(execution_id, Happening(fact=NOT_BEGUN, at=time.time()), urgent=True)

    def take_nothing_on(self) -> None:
        """From now on, until the end of this process; heartbeats say so. What has not begun is handed back."""
        self._stopping = True
        self.hand_back(tuple(self._held))

    async def drain(self, *, tasks_within: float, within: float) -> None:
        """Let all that has begun go on for `tasks_within` seconds, and results alone for `within` seconds more.

        Tasks that have not ended by then are stopped, or left to an engine in which they go on.
        """
        self.take_nothing_on()
        if await self._are_over(within=tasks_within):
            return
        for execution in self._held.values():
            if execution.activity in {Activity.QUEUED, Activity.RUNNING}:
                execution.request_stop(Stop.LEFT if self._supervisor.leaves(execution) else Stop.NODE_STOPS)
        if not await self._are_over(within=within):
            _log.info("Some executions have not ended within %g s; the journal keeps them.", within)

    async def _are_over(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(self._is_quiet)
        except TimeoutError:
            return False
        return True

    def _is_quiet(self) -> bool:
        return all(execution.activity is Activity.OVER for execution in self._held.values())

    def _start(self, execution: Execution) -> None:
        self._group.create_task(self._carry_out(execution), name=f"execution {execution.id}")

    async def _carry_out(self, execution: Execution) -> None:
        await self._supervisor.carry_out(execution)
        _log.info("Execution %s is over: %s.", execution.id, execution.entry.phase.value, extra=execution.about)
        if execution.stop is Stop.SETTLED:
            self._drop(execution.id)
        if self._stopping:
            async with self._changed:
                self._changed.notify_all()

    def _drop(self, execution_id: ExecutionId) -> None:
        execution = self._held.pop(execution_id)
        self._on_over(execution.entry)
        self._reports.forget(execution_id)
        self._remember(execution_id)
        if execution.is_being_read and len(self._read_on) < MOST_READ_ON:
            self._read_on[execution_id] = execution
            self._delete_when_read(execution_id, looks=MOST_LOOKS)
        else:
            self._delete(execution_id)

    def _delete_when_read(self, execution_id: ExecutionId, *, looks: int) -> None:
        """Whoever reads the output of a task gets what it wrote last, if they do not take their time."""
        if looks and self._read_on[execution_id].is_being_read:
            later = partial(self._delete_when_read, execution_id, looks=looks - 1)
            asyncio.get_running_loop().call_later(READ_SECONDS, later)
        else:
            del self._read_on[execution_id]
            self._delete(execution_id)

    def _delete(self, execution_id: ExecutionId) -> None:
        self._to_delete.append(execution_id)
        self._to_delete_any.set()

    def _remember(self, execution_id: ExecutionId) -> None:
        """That it is not to be run here any more."""
        if len(self._forgotten) == REMEMBERED:
            self._forgotten_set.discard(self._forgotten[0])
        self._forgotten.append(execution_id)
        self._forgotten_set.add(execution_id)
