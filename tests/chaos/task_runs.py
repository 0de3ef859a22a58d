"""When the task of each execution really ran, as the tasks wrote it down themselves (no tests in here)."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.chaos.evidence import Effect, Execution, Job


class Runs:
    """How often each began, whether it came to its end, and from when to when it was seen.

    Those that `met_full_disk` ended too, with a result that is not whole.
    """

    def __init__(self, effects: Sequence[Effect]) -> None:
        self.starts = Counter(each.execution for each in effects if each.what == "start")
        self.met_full_disk = {each.execution for each in effects if each.what == "full"}
        self.ended = {each.execution for each in effects if each.what == "end"} | self.met_full_disk
        self.spans: dict[str, tuple[int, int]] = {}
        for each in effects:
            first, last = self.spans.get(each.execution, (each.at, each.at))
            self.spans[each.execution] = min(first, each.at), max(last, each.at)

    def overlap(self, one: Execution, other: Execution) -> bool:
        if one.id not in self.spans or other.id not in self.spans:
            return False
        (begun, ended), (other_begun, other_ended) = self.spans[one.id], self.spans[other.id]
        return begun < other_ended and other_begun < ended


def overlaps(job: Job, runs: Runs) -> list[tuple[Execution, Execution]]:
    """Executions of one part whose tasks ran at the same time."""
    return [
        (one, other)
        for executions in by_partition(job).values()
        for number, one in enumerate(executions)
        for other in executions[number + 1 :]
        if runs.overlap(one, other)
    ]


def by_partition(job: Job) -> dict[int, list[Execution]]:
    found: dict[int, list[Execution]] = defaultdict(list)
    for each in job.executions:
        found[each.partition].append(each)
    return found
