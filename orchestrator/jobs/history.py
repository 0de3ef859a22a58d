"""The history of a job: which items a reader asked for."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from orchestrator.jobs.execution_names import named_execution
from orchestrator.state.job_entry import JobEntry
from shared.errors import InvalidInput
from shared.protocol import rest
from shared.protocol.rest import HistoryItem

_LEVELS = {"job": rest.JOB_LEVEL, "execution": rest.EXECUTION_LEVEL}
_BEGINNING = datetime.fromtimestamp(0, UTC)
_LATEST = 253402300799.0
"""The last second of the year 9999, beyond which there is no datetime."""


class HistoryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`level` is job, execution, or anything else for both; `version` 0 is all."""

    since: datetime = _BEGINNING
    level: str = ""
    execution: str = ""
    version: int = 0


def moment(text: str) -> datetime:
    """Seconds since 1970, or a time with its zone as RFC 3339 has it. Raises InvalidInput."""
    if not text:
        return _BEGINNING
    try:
        found = _seconds(text) or msgspec.convert(text.strip().replace(" ", "+"), datetime)
    except (msgspec.ValidationError, ValueError):
        found = _BEGINNING.replace(tzinfo=None)
    if found.tzinfo is None:
        raise InvalidInput(
            f"{text[:80]!r} is not a moment.", hint="Give seconds since 1970, or a time such as 2026-01-31T12:00:00Z."
        )
    return found


def _seconds(text: str) -> datetime | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    if not math.isfinite(seconds) or not 0 <= seconds <= _LATEST:
        raise ValueError(text)
    return datetime.fromtimestamp(seconds, UTC)


def execution_of(entry: JobEntry, text: str) -> str:
    """The whole id of which `text` is the beginning; what names no execution stays as it is."""
    found = named_execution(entry.executions.values(), text) if text else None
    return found.id if found is not None else text


def selected(items: Iterable[HistoryItem], asked: HistoryFilter) -> list[HistoryItem]:
    level = _LEVELS.get(asked.level)
    return [
        item
        for item in items
        if item.time >= asked.since
        and level in {None, item.type}
        and asked.execution in {"", item.execution_id}
        and asked.version in {0, item.job_version}
    ]


def is_open(entry: JobEntry, asked: HistoryFilter) -> bool:
    """Whether there can be more of what is asked for."""
    if asked.execution:
        found = named_execution(entry.executions.values(), asked.execution)
        return found is not None and not found.state.is_terminal
    if asked.version and asked.version != entry.job.version:
        return any(
            not each.state.is_terminal for each in entry.executions.values() if each.job_version == asked.version
        )
    return not entry.progress.state.is_terminal
