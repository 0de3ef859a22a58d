"""The engine that does nothing, for tests and for measuring everything around it."""

from compute.engines.engine import Exited, Run, RunEnd, Unfit
from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId
from shared.jobs.engine_params import NOOP, EngineParams
from shared.jobs.spec import Task


class NoopEngine:
    name = NOOP
    isolation = ""
    parameters = EngineParams
    shows_inputs = False

    def unfit(self, task: Task) -> Unfit | None:  # noqa: ARG002  # it does nothing, which is possible everywhere
        return None

    async def run(self, run: Run) -> RunEnd:
        run.on_started(None)
        return Exited(0)

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:  # noqa: ARG002  # nothing runs
        return 0
