"""In which order jobs are listed: kept up to date as they come, so that a page costs the same beside many others."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from orchestrator.job_entry import JobEntry
from orchestrator.selectors import matches
from shared.jobspec import Constraint

ALL_NAMESPACES = "*"
_EQUALS = frozenset({"=", "=="})

_created = attrgetter("created", "id")


class JobLists:
    """Each list is in order of creation: one of all jobs, one of each namespace and one of each label's value."""

    def __init__(self) -> None:
        self._all: list[JobEntry] = []
        self._of_namespace: dict[str, list[JobEntry]] = {}
        self._of_label: dict[tuple[str, str], list[JobEntry]] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        """Those of each labelled job under which it is found."""

    def put(self, entry: JobEntry, *, is_new: bool) -> None:
        """To be told of every job, and again when its labels may have changed."""
        if is_new:
            _add(self._all, entry)
            _add(self._of_namespace.setdefault(entry.namespace, []), entry)
        before = self._labels.get(entry.id, {})
        if entry.labels != before:
            self._take_labels(entry, before)
            for label in entry.labels.items():
                _add(self._of_label.setdefault(label, []), entry)
            self._labels[entry.id] = entry.labels

    def drop(self, entry: JobEntry) -> None:
        _remove(self._all, entry)
        _remove(self._of_namespace[entry.namespace], entry)
        self._take_labels(entry, self._labels.pop(entry.id, {}))

    def _take_labels(self, entry: JobEntry, labels: Mapping[str, str]) -> None:
        for label in labels.items():
            found = self._of_label[label]
            _remove(found, entry)
            if not found:
                del self._of_label[label]

    def find(
        self, namespace: str, conditions: Iterable[Constraint] = (), *, newest_first: bool = True
    ) -> Iterator[JobEntry]:
        """The jobs of a namespace, or of all of them, whose labels fulfil the conditions. To be read at once."""
        wanted = tuple(conditions)
        found = self._shortest(namespace, wanted)
        ordered: Iterator[JobEntry] = reversed(found) if newest_first else iter(found)
        if not wanted:
            return ordered
        anywhere = namespace == ALL_NAMESPACES
        return (
            entry for entry in ordered if (anywhere or entry.namespace == namespace) and matches(entry.labels, wanted)
        )

    def _shortest(self, namespace: str, conditions: tuple[Constraint, ...]) -> list[JobEntry]:
        """The shortest list that has all of them."""
        lists = [self._all if namespace == ALL_NAMESPACES else self._of_namespace.get(namespace, [])]
        lists += [
            self._of_label.get((each.key, each.values[0]), [])
            for each in conditions
            if each.operator in _EQUALS and len(each.values) == 1
        ]
        return min(lists, key=len)

    def __repr__(self) -> str:
        return f"<JobLists of {len(self._all)} jobs>"


def _add(entries: list[JobEntry], entry: JobEntry) -> None:
    if not entries or _created(entries[-1]) < _created(entry):
        entries.append(entry)  # the rule: who comes last is the newest
    else:
        insort(entries, entry, key=_created)


def _remove(entries: list[JobEntry], entry: JobEntry) -> None:
    at = bisect_left(entries, _created(entry), key=_created)
    assert entries[at] is entry
    del entries[at]
