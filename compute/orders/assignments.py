"""Orders that the node carries out: assignments, cancellations, receipts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from compute.disk.workspace import check_result_paths
from compute.engines.engine import Engine, OutlivingEngine
from compute.engines.environment import EnvironmentPolicy, VariableRefused
from compute.executions.held import Executions
from compute.inputs.local.allowed_paths import NO_PATHS, AllowedPaths
from shared.errors import InvalidJob
from shared.ids import is_safe_id
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import read_params as read_engine_params
from shared.jobs.inputs.kinds import LOCAL, LocalInputParams, read_params
from shared.jobs.inputs.kinds import kind_of as kind_of_input
from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import Task
from shared.messaging.transport import Received
from shared.protocol.messages import (
    Accepted,
    Assignment,
    Assignments,
    AssignmentsAnswered,
    CancelExecution,
    HandBack,
    Order,
    ReadOutput,
    Receipt,
    Register,
    Rejected,
    UnknownMessage,
    decode,
    encode,
    orders,
)

_log = logging.getLogger(__name__)

READS_AT_ONCE = 64
DROPS_PER_LOG_LINE = 1000


@dataclass(frozen=True, kw_only=True)
class NodeOffer:
    """What this node can do, which its registration tells too."""

    engines: Mapping[str, Engine]
    publishers: Sequence[str]
    input_sources: Sequence[str] = ()
    """Kinds of inputs, in lower case."""
    environment: EnvironmentPolicy
    capacity: Capacity
    local_paths: AllowedPaths = NO_PATHS

    @property
    def available_engines(self) -> tuple[str, ...]:
        """Those that can start a task now."""
        return tuple(
            name for name, engine in self.engines.items() if not isinstance(engine, OutlivingEngine) or engine.available
        )

    @property
    def isolation(self) -> dict[str, str]:
        """What keeps tasks in their place, by engine: also of one that is away and may come back."""
        return {
            name: engine.isolation
            for name, engine in self.engines.items()
            if engine.isolation and (not isinstance(engine, OutlivingEngine) or engine.offered)
        }


def refusal(assignment: Assignment, offer: NodeOffer) -> Rejected | None:
    """Why this node cannot run this, for now or ever; None if it can."""
    task = assignment.task
    engine = offer.engines.get(task.engine.type.lower())
    may_be_away = engine if isinstance(engine, OutlivingEngine) else None
    if engine is None or (may_be_away is not None and not may_be_away.offered):
        return Rejected(reason="EngineNotOffered", detail=f"This node has no engine {task.engine.type[:80]!r}.")
    if may_be_away is not None and not may_be_away.available:
        detail = f"The engine {engine.name} of this node cannot be used for now."
        return Rejected(reason="EngineUnavailable", detail=detail, retryable=True)
    if task.publisher.type.lower() not in NO_PUBLISHERS | set(offer.publishers):
        return Rejected(reason="PublisherNotOffered", detail=f"This node cannot use {task.publisher.type[:80]!r}.")
    if unknown := sorted({each.source.type.lower() for each in task.input_sources} - set(offer.input_sources)):
        detail = f"This node cannot fetch inputs of the kind {unknown[0][:80]!r}."
        return Rejected(reason="InputsNotOffered", detail=detail)
    if why := _local_path_refused(task, offer.local_paths):
        return Rejected(reason="LocalPathNotAllowed", detail=why)
    if unfit := engine.unfit(task):
        return Rejected(reason=unfit.reason, detail=unfit.detail)
    lacking = assignment.resources.lacks(offer.capacity)
    if lacking:
        return Rejected(reason="CapacityExceeded", detail=f"This node has too little {', '.join(lacking)}.")
    try:
        read_engine_params(task.engine.params, engine.parameters)
        check_result_paths(task.result_paths)
        offer.environment.resolve(task.env)
    except InvalidJob as error:
        return Rejected(reason="InvalidTask", detail=error.message)
    except VariableRefused as error:
        return Rejected(reason="VariableRefused", detail=f"{error.message} {error.hint}")
    return None


def _local_path_refused(task: Task, allowed: AllowedPaths) -> str:
    local = (
        read_params(each.source, LocalInputParams) for each in task.input_sources if kind_of_input(each.source) == LOCAL
    )
    told = (allowed.why_refused(each.source_path, to_write=each.read_write) for each in local)
    return next(filter(None, told), "")


class Orders:
    """Answers orders as they come; those for which the disk is read, some at once.

    `register` asks for a registration without waiting for it.
    """

    def __init__(self, executions: Executions, offer: NodeOffer, register: Callable[[], None]) -> None:
        self.dropped = 0
        self._executions = executions
        self._offer = offer
        self._register = register

    def __repr__(self) -> str:
        return f"<Orders, {self.dropped} orders dropped>"

    async def run(self, received: AsyncIterator[Received]) -> None:
        bound = asyncio.Semaphore(READS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            async for message in received:
                order = self._order(message)
                if isinstance(order, ReadOutput):
                    await bound.acquire()
                    task = group.create_task(self._answer(message, order), name="read output")
                    task.add_done_callback(lambda _: bound.release())
                elif order is not None:
                    await self._answer(message, order)

    def _order(self, message: Received) -> Order | None:
        """An order without reply subject was not sent by the orchestrator: another node can make the server do that."""
        if not message.reply:
            self._drop("it has no reply subject")
            return None
        try:
            order = decode(orders, message.payload)
        except UnknownMessage as error:
            self._drop(error.message)
            return None
        if not _is_well_formed(order):
            self._drop("it names an execution in a way that is not safe")
            return None
        return order

    async def _answer(self, message: Received, order: Order) -> None:
        try:
            answer = await self._executions.read_output(order) if isinstance(order, ReadOutput) else self._act(order)
            await message.respond(encode(answer))
        except Exception:  # noqa: BLE001  # one bad order must not end the intake
            _log.exception("An order of %d bytes could not be carried out.", len(message.payload))

    def _act(
        self, order: Assignment | Assignments | CancelExecution | HandBack | Receipt | Register
    ) -> Accepted | AssignmentsAnswered | Rejected:
        match order:
            case Assignment():
                return self._accept(order)
            case Assignments(assignments=assignments):
                self._executions.tell_together()
                return AssignmentsAnswered(answers=tuple(map(self._accept, assignments)))
            case CancelExecution(execution_id=execution_id, reason=reason):
                self._executions.cancel(execution_id, reason)
            case HandBack(execution_ids=execution_ids):
                self._executions.hand_back(execution_ids)
            case Receipt(execution_ids=execution_ids):
                self._executions.forget(execution_ids)
            case Register():
                self._register()
        return self._executions.accepted()

    def _accept(self, assignment: Assignment) -> Accepted | Rejected:
        return refusal(assignment, self._offer) or self._executions.accept(assignment)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if self.dropped % DROPS_PER_LOG_LINE == 1:
            _log.warning("An order was dropped, number %d so far: %s.", self.dropped, why)


def _is_well_formed(order: Order) -> bool:
    match order:
        case Assignment(execution_id=execution_id, job_id=job_id):
            return is_safe_id(execution_id) and is_safe_id(job_id)
        case Assignments(assignments=assignments):
            return all(_is_well_formed(each) for each in assignments)
        case CancelExecution(execution_id=execution_id):
            return is_safe_id(execution_id)
        case HandBack(execution_ids=execution_ids) | Receipt(execution_ids=execution_ids):
            return all(is_safe_id(each) for each in execution_ids)
        case ReadOutput(execution_id=execution_id):
            return is_safe_id(execution_id)
        case Register():
            return True
