"""Lists of jobs in their orders, kept up to date as jobs come, so that a page costs the same beside many others."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import TypeVar

from orchestrator.rules.label_selectors import matches
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.sorted_items import Key, SortedItems
from shared.jobs.namespaces import ALL_NAMESPACES
from shared.jobs.spec import Constraint

K = TypeVar("K")

_EQUALS = frozenset({"=", "=="})

_created = attrgetter("created", "id")


class JobLists:
    """Each list is in order of creation: one of all jobs, one of each namespace and one of each label's value."""

    def __init__(self) -> None:
        self._all = _no_jobs()
        self._of_namespace: dict[str, SortedItems[JobEntry]] = {}
        self._of_label: dict[tuple[str, str], SortedItems[JobEntry]] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        """Those of each labelled job under which it is found."""

    def put(self, entry: JobEntry, *, is_new: bool) -> None:
        """To be told of every job, and again when its labels may have changed."""
        if is_new:
            self._all.add(entry)
            _put(self._of_namespace, entry.namespace, entry)
        before = self._labels.get(entry.id, {})
        if entry.labels != before:
            self._take_labels(entry, before)
            for label in entry.labels.items():
                _put(self._of_label, label, entry)
            self._labels[entry.id] = entry.labels

    def drop(self, entry: JobEntry) -> None:
        self._all.remove(entry)
        _take(self._of_namespace, entry.namespace, entry)
        self._take_labels(entry, self._labels.pop(entry.id, {}))

    def _take_labels(self, entry: JobEntry, labels: Mapping[str, str]) -> None:
        for label in labels.items():
            _take(self._of_label, label, entry)

    @property
    def namespaces(self) -> AbstractSet[str]:
        """Those that have jobs."""
        return self._of_namespace.keys()

    def count_of(self, namespace: str) -> int:
        return len(self._of_namespace.get(namespace, ()))

    def find(
        self, namespace: str, conditions: Iterable[Constraint] = (), *, newest_first: bool = True
    ) -> Iterator[JobEntry]:
        """The jobs of a namespace, or of all of them, whose labels fulfil the conditions. To be read at once."""
        wanted = tuple(conditions)
        ordered = self.in_order(namespace, wanted, newest_first=newest_first)
        if not wanted:
            return ordered
        anywhere = namespace == ALL_NAMESPACES
        return (
            entry for entry in ordered if (anywhere or entry.namespace == namespace) and matches(entry.labels, wanted)
        )

    def in_order(
        self,
        namespace: str,
        conditions: tuple[Constraint, ...] = (),
        *,
        newest_first: bool = False,
        beyond: Key | None = None,
    ) -> Iterator[JobEntry]:
        """All jobs of which some may be wanted, from those that come after a place on. To be read at once."""
        found = self._shortest(namespace, conditions)
        if beyond is not None:
            return found.before(beyond) if newest_first else found.beyond(beyond)
        return reversed(found) if newest_first else iter(found)

    def of_namespaces(
        self, namespaces: Collection[str], *, newest_first: bool = False, beyond: Key | None = None
    ) -> Iterator[JobEntry]:
        """The jobs of these namespaces alone, as `in_order`: nothing of another one is even looked at."""
        found = [
            self.in_order(each, newest_first=newest_first, beyond=beyond)
            for each in sorted(namespaces)
            if each in self._of_namespace
        ]
        return heapq.merge(*found, key=_created, reverse=newest_first)

    def _shortest(self, namespace: str, conditions: tuple[Constraint, ...]) -> SortedItems[JobEntry]:
        """The shortest list that has all of them."""
        lists = [self._all if namespace == ALL_NAMESPACES else self._of_namespace.get(namespace, _no_jobs())]
        lists += [
            self._of_label.get((each.key, each.values[0]), _no_jobs())
            for each in conditions
            if each.operator in _EQUALS and len(each.values) == 1
        ]
        return min(lists, key=len)

    def __repr__(self) -> str:
        return f"<JobLists of {len(self._all)} jobs>"


def _no_jobs() -> SortedItems[JobEntry]:
    return SortedItems(_created)


def _put(lists: dict[K, SortedItems[JobEntry]], key: K, entry: JobEntry) -> None:
    found = lists.get(key)
    if found is None:
        found = lists[key] = _no_jobs()
    found.add(entry)


def _take(lists: dict[K, SortedItems[JobEntry]], key: K, entry: JobEntry) -> None:
    found = lists[key]
    found.remove(entry)
    if not found:
        del lists[key]
