"""The executions that the description of a job shows one by one: all of a few; of many, the failed and some others."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from shared.jobs.states import ExecutionState
from shared.protocol.rest import ExecutionView, HistoryItem

FEW = 20
"""So many are all shown."""
MOST_FAILED = 20
SOME_OTHERS = 5


class ShownExecutions:
    """`items` are those, in the order of all."""

    def __init__(self, executions: Sequence[ExecutionView]) -> None:
        self._all = executions
        self.items = executions if len(executions) <= FEW else _chosen(executions)

    def __repr__(self) -> str:
        return f"<ShownExecutions {len(self.items)} of {len(self._all)}>"

    def counts(self) -> Iterator[str]:
        """How many are in each state, in a line where not all are shown."""
        if len(self.items) < len(self._all):
            numbers = Counter(each.state_name for each in self._all)
            told = ", ".join(f"{number:,} {state}" for state, number in sorted(numbers.items()))
            yield f"{len(self._all):,} in all: {told}"

    def others(self, job: str) -> Iterator[str]:
        """How many are not shown, and what shows them."""
        if left_out := len(self._all) - len(self.items):
            failed = sum(map(_has_failed, self._all)) - sum(map(_has_failed, self.items))
            of_them = f", of which {failed:,} have failed" if failed else ""
            yield f"and {left_out:,} more{of_them}: tarpon job executions {job}"

    def history(self, items: Iterable[HistoryItem]) -> Sequence[HistoryItem]:
        """What happened to the job itself and to those that are shown."""
        shown = {each.id for each in self.items}
        if len(self.items) == len(self._all):
            return list(items)
        return [each for each in items if not each.execution_id or each.execution_id in shown]


def _chosen(executions: Sequence[ExecutionView]) -> Sequence[ExecutionView]:
    failed = [each.id for each in executions if _has_failed(each)][:MOST_FAILED]
    others = [each.id for each in executions if not _has_failed(each)][:SOME_OTHERS]
    chosen = {*failed, *others}
    return [each for each in executions if each.id in chosen]


def _has_failed(execution: ExecutionView) -> bool:
    return execution.state == ExecutionState.FAILED
