"""Failed parts of a job: which, how and where they have failed, and which commands go on from there."""

from collections.abc import Iterable, Iterator, Sequence

from shared.data.plain_text import one_line
from shared.ids import short
from shared.jobs.spec import JobView
from shared.jobs.states import ExecutionState
from shared.protocol.rest import ExecutionView

MOST_TOLD = 5
MOST_TEXT = 200
"""Characters of a reason; `tarpon job executions` has all of it."""

_FAILED = frozenset({ExecutionState.FAILED, ExecutionState.REJECTED})
"""Not those that were stopped because another one had failed."""


class FailedParts:
    """By the last attempt at each part. The executions are of one version of the job, or results that it keeps."""

    def __init__(self, job: JobView, executions: Iterable[ExecutionView]) -> None:
        self._job = job.id
        self._count = job.part_count
        in_order = sorted(executions, key=lambda each: (each.state is ExecutionState.COMPLETED, each.create_time))
        last = {each.partition_index: each for each in in_order}
        self._failed = [last[part] for part in sorted(last) if last[part].state in _FAILED]
        self._is_known = bool(last)
        self._completed = sum(each.state is ExecutionState.COMPLETED for each in last.values())

    def __repr__(self) -> str:
        return f"<FailedParts {len(self._failed)} of {self._count} of {self._job}>"

    def details(self) -> dict[str, str]:
        """For an error. Of a job with one part it is where that was; why it failed is the error itself."""
        if self._count == 1:
            return {"node": self._failed[0].node_id} if self._failed else {}
        if not self._is_known:
            return {}
        told = {"parts": ", ".join(self._sums())}
        told |= {f"part {each.partition_index}": _how_and_where(each) for each in self._failed[:MOST_TOLD]}
        if (more := len(self._failed) - MOST_TOLD) > 0:
            told["and more"] = f"{more}, see `tarpon job executions {self._job}`"
        return told

    def _sums(self) -> Iterator[str]:
        yield f"{len(self._failed)} of {self._count} failed"
        yield f"{self._completed} completed"
        if rest := self._count - self._completed - len(self._failed):
            yield f"{rest} {'was' if rest == 1 else 'were'} stopped or never begun"

    def hint(self) -> str:
        """What to look at, and how what is not done can be run."""
        return f"{self._look()} {self._again()}"

    def _look(self) -> str:
        begun = next((each for each in self._failed if each.run_output is not None), None)
        if begun is None:
            return f"See `tarpon job describe {self._job}`."
        if self._count == 1:
            return f"`tarpon job logs {self._job}` shows what its task wrote."
        which = f"-e {short(begun.id)}"
        return f"`tarpon job logs {self._job} {which}` shows what part {begun.partition_index} wrote."

    def _again(self) -> str:
        if self._completed:
            return f"`tarpon job rerun {self._job} --failed` runs again what has not completed, and keeps the rest."
        return f"`tarpon job rerun {self._job}` runs it again."


def _how_and_where(execution: ExecutionView) -> str:
    code = execution.run_output.exit_code if execution.run_output is not None else 0
    why = execution.compute_state.message or execution.state_name
    told = f"exit code {code}" if code and f"exit code {code}." in why else one_line(why)[:MOST_TEXT].rstrip(".")
    return f"{told} (node {execution.node_id}, execution {short(execution.id)})"


def whose(executions: Sequence[ExecutionView], execution_id: str) -> str:
    """The part of an execution, as the beginning of what is told of it; empty where it is not known."""
    return next((f"Part {each.partition_index}: " for each in executions if each.id == execution_id), "")
