"""Lists of jobs in their orders, kept up to date as jobs come, so that a page costs the same beside many others.

Those in memory are in lists here, and filed ones are read from the index, in the same order.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeVar

from orchestrator.rules.label_selectors import matches
from orchestrator.state.filing.filed_job import FiledJob
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.filing.job_index_tables import CREATED, LOOKED_THROUGH, JobListing, Place, RowFilter
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.sorted_items import Key, SortedItems
from shared.jobs.namespaces import ALL_NAMESPACES
from shared.jobs.spec import Constraint

K = TypeVar("K")
L = TypeVar("L")

_EQUALS = frozenset({"=", "=="})

_created = attrgetter("created", "id")

ListedJob = JobEntry | FiledJob
"""What is known of a job at little cost: what filters look at, and what decides its place."""

LEAST_LOOKED_THROUGH = 512
FEW_LABELLED = 5000
"""Of a label with more filed jobs these are looked for among all others of their namespace."""


class JobLists:
    """Each list is in order of creation: one of all jobs, one of each namespace and one of each label's value."""

    def __init__(self, filed: JobIndex) -> None:
        self._filed = filed
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
    def namespaces(self) -> set[str]:
        """Those that have jobs."""
        return self._of_namespace.keys() | self._filed.namespaces.keys()

    def count_of(self, namespace: str) -> int:
        return len(self._of_namespace.get(namespace, ())) + self._filed.namespaces.get(namespace, 0)

    def find(
        self, namespace: str, conditions: Iterable[Constraint] = (), *, newest_first: bool = True
    ) -> Iterator[ListedJob]:
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
        only: RowFilter | None = None,
        looked_through: int = 0,
    ) -> Iterator[ListedJob]:
        """All jobs of which some may be wanted, from those that come after a place on. To be read at once.

        With `only` most filed jobs that are not wanted are left out (JobIndex.listed).
        """
        live = self.live_in_order(namespace, conditions, newest_first=newest_first, beyond=beyond)
        if not self._filed.count:
            return live
        wanted = None if namespace == ALL_NAMESPACES else namespace
        through = looked_through or LOOKED_THROUGH
        listing = JobListing(CREATED, wanted, self._rare_label(conditions), newest_first, only, through)
        return merged(live, self._filed.listed(listing, beyond), _created, newest_first=newest_first)

    def live_in_order(
        self,
        namespace: str,
        conditions: tuple[Constraint, ...] = (),
        *,
        newest_first: bool = False,
        beyond: Key | None = None,
    ) -> Iterator[JobEntry]:
        """As `in_order`, of those in memory."""
        found = self._shortest(namespace, conditions)
        if beyond is not None:
            return found.before(beyond) if newest_first else found.beyond(beyond)
        return reversed(found) if newest_first else iter(found)

    def of_namespaces(
        self,
        namespaces: Collection[str],
        *,
        newest_first: bool = False,
        beyond: Key | None = None,
        only: RowFilter | None = None,
    ) -> Iterator[ListedJob]:
        """The jobs of these namespaces alone, as `in_order`: nothing of another one is even looked at."""
        known = sorted(self.namespaces.intersection(namespaces))
        share = _share_of(known)
        found = [
            self.in_order(each, newest_first=newest_first, beyond=beyond, only=only, looked_through=share)
            for each in known
        ]
        return heapq.merge(*found, key=_created, reverse=newest_first)

    def filed_in(
        self,
        order: tuple[str, ...],
        namespaces: Collection[str] | None,
        conditions: tuple[Constraint, ...] = (),
        *,
        newest_first: bool = False,
        beyond: Place | None = None,
        only: RowFilter | None = None,
    ) -> Iterator[FiledJob]:
        """Filed jobs in any order, from those that come after a place on; None are all namespaces.

        With conditions some of other namespaces may be among them.
        """
        label = self._rare_label(conditions)
        if label is not None:
            key = attrgetter(*order)
            found = sorted(self._filed.listed(JobListing(label=label)), key=key, reverse=newest_first)
            if beyond is None:
                return iter(found)
            after = beyond if len(order) > 1 else beyond[0]
            return (each for each in found if (key(each) < after if newest_first else key(each) > after))
        if namespaces is None:
            return self._filed.listed(JobListing(order, newest_first=newest_first, only=only), beyond)
        known = sorted(each for each in namespaces if each in self._filed.namespaces)
        share = _share_of(known)
        listings = (JobListing(order, each, None, newest_first, only, share) for each in known)
        lists = [self._filed.listed(listing, beyond) for listing in listings]
        return heapq.merge(*lists, key=attrgetter(*order), reverse=newest_first)

    def _rare_label(self, conditions: tuple[Constraint, ...]) -> tuple[str, str] | None:
        """The label of the fewest filed jobs that all of them must have, if it is of few."""
        labels = [(each.key, each.values[0]) for each in conditions if _is_one(each)]
        counts = [(self._filed.count_of_label(each, FEW_LABELLED + 1), each) for each in labels]
        count, label = min(counts, default=(FEW_LABELLED + 1, None))
        return label if count <= FEW_LABELLED else None

    def _shortest(self, namespace: str, conditions: tuple[Constraint, ...]) -> SortedItems[JobEntry]:
        """The shortest list that has all of them."""
        lists = [self._all if namespace == ALL_NAMESPACES else self._of_namespace.get(namespace, _no_jobs())]
        lists += [self._of_label.get((each.key, each.values[0]), _no_jobs()) for each in conditions if _is_one(each)]
        return min(lists, key=len)

    def __repr__(self) -> str:
        return f"<JobLists of {len(self._all)} jobs in memory, {self._filed!r}>"


def _share_of(lists: Collection[str]) -> int:
    """How many filed jobs are looked through at once in each of several lists."""
    return max(LEAST_LOOKED_THROUGH, LOOKED_THROUGH // max(1, len(lists)))


def _is_one(condition: Constraint) -> bool:
    """Whether the label has to have one value."""
    return condition.operator in _EQUALS and len(condition.values) == 1


def merged(
    live: Iterator[L], filed: Iterator[L], key: Callable[[L], tuple[Any, ...]], *, newest_first: bool
) -> Iterator[L]:
    """Two lists in order as one. That of the jobs in memory ends long before the other one as a rule."""
    first = next(live, None)
    while first is not None:
        for each in filed:
            while first is not None and (key(first) > key(each)) is newest_first:
                yield first
                first = next(live, None)
            yield each
            if first is None:
                break
        else:
            yield first
            yield from live
            return
    yield from filed


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
