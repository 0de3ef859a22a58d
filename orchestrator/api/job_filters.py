"""Filters of jobs: namespace, labels, state, exit codes, age and name, all of which have to hold."""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.jobs.history import moment
from orchestrator.rules.label_selectors import matches, selector
from orchestrator.state.filing.job_index_tables import LARGEST, SEVERAL_CODES, RowFilter
from orchestrator.state.job_lists import ListedJob
from shared.data.decoding import close_match
from shared.errors import InvalidDuration, InvalidInput
from shared.jobs.durations import parse_duration
from shared.jobs.spec import Constraint
from shared.jobs.states import JobState

MAX_PATTERN = 200
NOT_ZERO = "nonzero"
_DAYS = re.compile(r"([0-9]{1,6})d\Z", re.ASCII)
_CODE = re.compile(r"-?[0-9]{1,10}\Z", re.ASCII)


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What is empty rules nothing out. `since` is in nanoseconds since 1970.

    `namespaces` are those that are looked at, None being all, and `limited` is whether there are others of which the
    reader must see nothing.
    """

    namespaces: frozenset[str] | None = None
    limited: bool = False
    labels: tuple[Constraint, ...] = ()
    states: frozenset[JobState] = frozenset()
    exit_codes: frozenset[int] = frozenset()
    not_zero: bool = False
    since: int = 0
    name: re.Pattern[str] | None = None
    glob: str = ""
    schedules: bool = False

    @property
    def of_rows(self) -> RowFilter | None:
        """As far as it can be told of filed jobs without a look at each; None where that is nothing."""
        conditions, bound = list[str](), list[Any]()
        if self.states:
            conditions.append(f"state IN ({', '.join('?' * len(self.states))})")
            bound += sorted(state.value for state in self.states)
        if self.glob and "[" not in self.glob:  # brackets mean something else there
            conditions.append("name GLOB ?")
            bound.append(self.glob)
        if self.schedules:
            conditions.append("is_schedule")
        if self.exit_codes or self.not_zero:
            codes = sorted({code for code in self.exit_codes if 0 <= code <= LARGEST} | {SEVERAL_CODES})
            some = f"code IN ({', '.join('?' * len(codes))})"
            conditions.append(f"({some} OR code != 0)" if self.not_zero else some)
            bound += codes
        return RowFilter(" AND ".join(conditions), tuple(bound)) if conditions else None

    def admits(self, entry: ListedJob) -> bool:
        """All that is looked at is at hand, also of a job that is packed or filed."""
        return (
            (self.namespaces is None or entry.namespace in self.namespaces)
            and entry.created >= self.since
            and (not self.states or entry.listed_state in self.states)
            and (self.name is None or self.name.match(entry.name) is not None)
            and (not self.schedules or bool(entry.is_schedule))
            and self._has_code(entry)
            and matches(entry.labels, self.labels)
        )

    def _has_code(self, entry: ListedJob) -> bool:
        if not self.exit_codes and not self.not_zero:
            return True
        return any(code in self.exit_codes or (self.not_zero and code != 0) for code, _ in entry.exit_codes)


def job_filter(
    *,
    namespaces: frozenset[str] | None,
    limited: bool = False,
    labels: Iterable[str] = (),
    states: Iterable[str] = (),
    exit_codes: Iterable[str] = (),
    since: str = "",
    name: str = "",
    schedules: bool = False,
    now: int,
) -> JobFilter:
    """As it is asked for in words. Raises InvalidInput."""
    codes = list(_words(exit_codes))
    return JobFilter(
        namespaces=namespaces,
        limited=limited,
        labels=selector(labels),
        states=frozenset(_state(word) for word in _words(states)),
        exit_codes=frozenset(_code(word) for word in codes if word.lower() != NOT_ZERO),
        not_zero=any(word.lower() == NOT_ZERO for word in codes),
        since=_since(since, now),
        name=_pattern(name),
        glob=name,
        schedules=schedules,
    )


def _words(texts: Iterable[str]) -> Iterator[str]:
    """What stands between commas."""
    return (word for text in texts for each in text.split(",") if (word := each.strip()))


def _state(word: str) -> JobState:
    found = next((state for state in JobState if state.value.lower() == word.lower()), None)
    if found is None:
        known = [state.value for state in JobState]
        meant = close_match(word[:80], known)
        asked = f"Did you mean {meant}? " if meant else ""
        raise InvalidInput(f"{word[:80]!r} is not a state of a job.", hint=f"{asked}States are {', '.join(known)}.")
    return found


def _code(word: str) -> int:
    if not _CODE.match(word):
        raise InvalidInput(f"{word[:80]!r} is not an exit code.", hint=f"Give a number, such as 1, or {NOT_ZERO}.")
    return int(word)


def _since(text: str, now: int) -> int:
    """For how long, or from which moment on."""
    days = _DAYS.match(text.strip())
    try:
        ago = float(days[1]) * 86400 if days else parse_duration(text) if text and not text[-1:].isdigit() else None
    except InvalidDuration:
        ago = None
    if ago is not None:
        return max(0, now - int(abs(ago) * 1e9))
    try:
        return int((moment(text) - datetime.fromtimestamp(0, UTC)).total_seconds() * 1e9)
    except InvalidInput:
        raise InvalidInput(
            f"{text[:80]!r} is neither a time nor for how long.",
            hint="Give a length such as 30m, 12h or 7d, seconds since 1970, or a time such as 2026-01-31T12:00:00Z.",
        ) from None


def _pattern(text: str) -> re.Pattern[str] | None:
    """A name with `*`, `?` and `[...]` as in a shell."""
    if not text:
        return None
    if len(text) > MAX_PATTERN:
        raise InvalidInput(
            f"A pattern of names has at most {MAX_PATTERN} characters.", hint="Use * for what may be anything."
        )
    return re.compile(fnmatch.translate(text))
