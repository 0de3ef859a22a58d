"""The engine that does nothing, for tests and for measuring everything around it."""

from collections.abc import Mapping
from typing import Any

from compute.engines.engine import Exited, Run, RunEnd
from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId
from shared.jobs.engine_params import NOOP


class NoopEngine:
    name = NOOP
    isolation = ""
    shows_inputs = False

    def check(self, params: Mapping[str, Any]) -> None:
        pass

    async def run(self, run: Run) -> RunEnd:
        run.on_started(None)
        return Exited(0)

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:  # noqa: ARG002  # nothing runs
        return 0
