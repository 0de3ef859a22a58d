"""The guard around an engine from outside: what goes wrong in it is the end of one execution, and no more.

It cannot keep such an engine from blocking the event loop, nor from anything that code in this process can do.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from compute.engines.engine import Broken, Engine, Exited, Run, RunEnd, Unfit
from compute.engines.outside.apart import begun
from compute.engines.outside.problems import EngineMisbehaved, in_words
from compute.processes.mark import ProcessMark
from shared.errors import TarponError
from shared.ids import ExecutionId
from shared.jobs.engine_params import EngineParams
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason
from shared.protocol.nodes.engine_parameters import MAX_PARAMETERS, is_name, told_of
from shared.runtime.aio import cancelled_within

STOP_SECONDS = 30.0
"""So long an engine may take to stop a task."""
LEFT_OVER_SECONDS = 60.0
MAX_WORD = 40
MAX_SENTENCE = 300
MAX_DETAIL = 4096
MAX_EXIT_CODE = (1 << 31) - 1
"""What is more fits into no record of an execution."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class GuardedEngine:
    """Raises EngineMisbehaved where what the engine is cannot be asked of it."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self._engine = engine
        self.isolation = _checked(engine.isolation, str, "isolation")[:MAX_WORD]
        self.shows_inputs = _checked(engine.shows_inputs, bool, "shows_inputs")
        self.parameters = _parameters(engine)
        for method in ("run", "unfit", "end_left_over"):
            if not callable(getattr(engine, method, None)):
                raise EngineMisbehaved(f"it has no method {method}")

    def __repr__(self) -> str:
        return f"<GuardedEngine {self.name}>"

    def unfit(self, task: Task) -> Unfit | None:
        try:
            found = self._engine.unfit(task)
            if found is None:
                return None
            unfit = _checked(found, Unfit, "unfit")
            return Unfit(unfit.reason[:MAX_WORD], unfit.detail[:MAX_SENTENCE])
        except Exception as error:  # noqa: BLE001  # foreign code may raise anything
            _log.exception("The engine %s cannot say which tasks it runs.", self.name)
            detail = f"The engine {self.name} of this node cannot say whether it runs this: {in_words(error)[:100]}"
            return Unfit(EngineMisbehaved.code, detail)

    async def run(self, run: Run) -> RunEnd:
        return await cancelled_within(self._run(run), within=STOP_SECONDS, name=f"run by {self.name}")

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        def call() -> int:
            return self._engine.end_left_over(process, execution_id)

        try:
            return _checked(begun(call, name=self.name).result(LEFT_OVER_SECONDS), int, "end_left_over")
        except Exception:  # noqa: BLE001  # as above
            _log.exception("The engine %s did not end what is left of execution %s.", self.name, execution_id)
            return 0

    async def _run(self, run: Run) -> RunEnd:
        """What an engine may raise goes on; all else becomes an error of the node, which has another node asked."""
        try:
            end = await self._engine.run(run)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            raise EngineMisbehaved("it cancelled a task by itself") from None
        except (OSError, TarponError):
            raise
        except BaseException as error:
            _log.exception("The engine %s failed.", self.name)
            raise EngineMisbehaved(in_words(error)) from error
        return _checked_end(end)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _checked_end(end: object) -> RunEnd:
    match end:
        case Exited(exit_code=int() as code) if abs(code) <= MAX_EXIT_CODE:
            return end
        case Broken(reason=FailureReason() as reason, detail=str() as detail):
            return Broken(reason, detail[:MAX_DETAIL])
        case _:
            raise EngineMisbehaved(
                f"its answer is {type(end).__name__}, and not Exited or Broken with what belongs there"
            )


def _checked(value: object, kind: type[T], what: str) -> T:
    if not isinstance(value, kind):
        raise EngineMisbehaved(f"{what} is {type(value).__name__}, and not {kind.__name__}")
    return value


def _parameters(engine: Engine) -> type[EngineParams]:
    """As it declares them; what its own check of them raises is a problem of the job."""
    declared: Any = engine.parameters
    if not (isinstance(declared, type) and issubclass(declared, EngineParams)):
        raise EngineMisbehaved("parameters is no EngineParams")
    names = [each.name for each in told_of(declared)]
    if len(names) > MAX_PARAMETERS:
        raise EngineMisbehaved(f"it has {len(names)} parameters, and {MAX_PARAMETERS} are possible")
    if wrong := next((each for each in names if not is_name(each)), ""):
        raise EngineMisbehaved(f"the parameter {wrong[:80]!r} has a name that cannot be told to the orchestrator")

    def problems(params: EngineParams) -> Iterator[str]:
        try:
            yield from declared.problems(params)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told
            yield f" cannot be checked by the engine: {in_words(error)[:100]}"

    own = {"problems": problems}
    made: Any = msgspec.defstruct(declared.__name__, (), bases=(declared,), namespace=own, frozen=True)
    guarded: type[EngineParams] = made
    return guarded
