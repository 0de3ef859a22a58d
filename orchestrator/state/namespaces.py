"""Namespaces: what their executions hold of the fleet, kept up to date as jobs change, and their weights."""

from collections.abc import Mapping

from orchestrator.rules.fair_share import Held
from orchestrator.rules.records import NamespaceRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_records import NOTHING_HELD
from shared.ids import JobId
from shared.jobs.capacity import Capacity


class Namespaces:
    def __init__(self) -> None:
        #: Of those that were given one.
        self.weights: dict[str, int] = {}
        self._of: dict[str, Held] = {}
        self._jobs: dict[JobId, tuple[Capacity, int]] = {}
        """What each job holds that holds something."""

    @property
    def held(self) -> Mapping[str, Held]:
        """Of the namespaces that hold something."""
        return self._of

    def put(self, record: NamespaceRecord) -> None:
        self.weights[record.namespace] = record.weight

    def forget(self, namespace: str) -> None:
        """It has the weight of those that were given none. Also where it was given none."""
        self.weights.pop(namespace, None)

    def note(self, entry: JobEntry) -> None:
        """Take in that what follows from a job's records was found out anew."""
        before, now = self._jobs.get(entry.id, NOTHING_HELD), entry.held
        if before is not now:
            self._change(entry, before, now)

    def drop(self, entry: JobEntry) -> None:
        """Take in that this is no job any more that anybody sees."""
        before = self._jobs.get(entry.id, NOTHING_HELD)
        if before is not NOTHING_HELD:
            self._change(entry, before, NOTHING_HELD)

    def _change(self, entry: JobEntry, before: tuple[Capacity, int], now: tuple[Capacity, int]) -> None:
        held = self._of.get(entry.namespace)
        if held is None:
            held = self._of[entry.namespace] = Held()
        if before is not NOTHING_HELD:
            held.add(before[0], -before[1], -1)
        if now is NOTHING_HELD:
            del self._jobs[entry.id]
        else:
            held.add(now[0], now[1])
            self._jobs[entry.id] = now
        if not held.executions:  # and with it goes what sums of floats have left
            del self._of[entry.namespace]

    def __repr__(self) -> str:
        return f"<Namespaces: {len(self._of)} hold something>"
