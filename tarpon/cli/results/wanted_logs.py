"""Wanted logs, of `tarpon job logs`: those of one execution, of one part, or of all."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from shared.protocol.rest import ExecutionView

_AT_WORK = frozenset({"Running", "BidAccepted", "Publishing"})
_COMPLETED = "Completed"
_ENDED = frozenset({_COMPLETED, "Failed", "Cancelled", "BidRejected", "AskForBidRejected"})


class WantedLogs(NamedTuple):
    """Whose logs are meant: those of one execution, by its id or the beginning of it, or of one part, or of all."""

    execution: str = ""
    partition: int | None = None

    @property
    def is_narrow(self) -> bool:
        return bool(self.execution) or self.partition is not None

    def of_part(self, executions: "Iterable[ExecutionView]") -> "list[ExecutionView]":
        return [each for each in executions if self.partition in {None, each.partition_index}]

    def is_at_its_end(self, executions: "Sequence[ExecutionView]", job: str) -> bool:
        """Whether nothing will be written any more by what is meant, whatever becomes of the job."""
        if self.execution:
            return has_ended(named(executions, self.execution, job))
        return self.partition is not None and any(each.state_name == _COMPLETED for each in executions)


def running(executions: "Sequence[ExecutionView]", text: str, job: str) -> "ExecutionView | None":
    """The execution to watch: the one that is named, if it runs, or else the one that began to run last."""
    if text:
        found = named(executions, text, job)
        return found if found.state_name in _AT_WORK else None
    at_work = [each for each in executions if each.state_name in _AT_WORK]
    return max(at_work, key=lambda each: each.create_time, default=None)


def latest(executions: "Sequence[ExecutionView]") -> "list[ExecutionView]":
    """Of each part, the attempt that completed, or else the last that wrote anything; in the order of the parts.

    The executions of a version are also those of earlier ones whose results it keeps.
    """
    by_part: dict[int, ExecutionView] = {}
    for each in sorted(executions, key=lambda each: (each.state_name == _COMPLETED, each.create_time)):
        if each.run_output is not None:
            by_part[each.partition_index] = each
    return [by_part[part] for part in sorted(by_part)]


def named(executions: "Sequence[ExecutionView]", text: str, job: str) -> "ExecutionView":
    """The execution of this id, or of this beginning of an id."""
    found = [each for each in executions if each.id == text] or [
        each for each in executions if each.id.startswith(text)
    ]
    if not found:
        raise NotFound(f"Job {job} has no execution {text[:80]!r}.", hint=f"`tarpon job executions {job}` lists them.")
    if len(found) > 1:
        raise InvalidInput(f"{text[:80]!r} is the beginning of {len(found)} executions' ids.", hint="Give more of it.")
    return found[0]


def has_ended(execution: "ExecutionView") -> bool:
    return execution.state_name in _ENDED


def others(executions: "Iterable[ExecutionView]", wanted: WantedLogs) -> set[str]:
    """Those that are not waited for: they have ended, or are of other parts."""
    return {each.id for each in executions if has_ended(each) or wanted.partition not in {None, each.partition_index}}
