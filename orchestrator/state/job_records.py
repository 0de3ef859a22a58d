"""Records of one job, as they are together in memory, and packed into one string of bytes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import ExecutionRecord, JobRecord, Replaced
from shared.data.plain_data import is_bounded
from shared.ids import JobId
from shared.jobs.capacity import Capacity, sum_of
from shared.jobs.spec import Job, SpecConfig, Task
from shared.jobs.states import ExecutionState
from shared.protocol import subjects


class JobRecords(msgspec.Struct, kw_only=True):
    """The records: specifications by version, executions by key. `revisions` are by what follows a key's job.

    `replaced` is which version another one took the place of, by the number of that other one; `keeps` are the versions
    of which it keeps the parts that have completed. `inputs` and `needs` are those of versions after the
    first.
    """

    record: JobRecord | None = None
    specs: dict[int, Job] = {}
    replaced: dict[int, Replaced] = {}
    keeps: dict[int, tuple[int, ...]] = {}
    inputs: dict[int, FrozenInputs] = {}
    needs: dict[int, tuple[PinnedNeed, ...]] = {}
    executions: dict[str, ExecutionRecord] = {}
    revisions: dict[str, int] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JobRecords)


ExitCodes = tuple[tuple[int, int], ...]

_ONE: dict[int, ExitCodes] = {code: ((code, 1),) for code in range(256)}


def exit_codes(executions: Iterable[ExecutionRecord]) -> ExitCodes:
    """Of the attempts at the parts that have completed, or else the last: codes in order, and how many ended so.

    As far as their tasks have ended.
    """
    latest: dict[int, ExecutionRecord] = {}
    for each in executions:
        known = latest.get(each.partition)
        if known is None or _rank(known) < _rank(each):
            latest[each.partition] = each
    # A node tells a code below 0 of a task that did not end by itself.
    codes = [
        each.output.exit_code for each in latest.values() if each.output is not None and each.output.exit_code >= 0
    ]
    if len(codes) == 1 and codes[0] in _ONE:
        return _ONE[codes[0]]  # the rule, and one for all
    return tuple(sorted(Counter(codes).items()))


def _rank(record: ExecutionRecord) -> tuple[bool, int]:
    return record.state is ExecutionState.COMPLETED, record.attempt


def revisions_of(job: JobId, of_record: int, of_parts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The keys of all records of a job, with their revisions."""
    if of_record:
        yield subjects.job_record(job), of_record
    for part, revision in of_parts.items():
        if part.isdecimal():
            yield subjects.spec_record(job, int(part)), revision
        else:
            yield subjects.execution_record(f"{job}.{part}"), revision


NOTHING_HELD: tuple[Capacity, int] = (Capacity(), 0)


def held_by(executions: Collection[ExecutionRecord]) -> tuple[Capacity, int]:
    if len(executions) == 1:  # the rule
        (only,) = executions
        return (only.resources, 1) if only.state.holds_capacity else NOTHING_HELD
    held = [each.resources for each in executions if each.state.holds_capacity]
    if not held:
        return NOTHING_HELD
    return sum_of(held), len(held)


def packed(records: JobRecords) -> bytes:
    """Without the first specification where the job's record has it too. Nothing if a number has more than 64 bits."""
    first = records.record.first if records.record is not None else None
    specs = {number: spec for number, spec in records.specs.items() if number != 1 or spec is not first}
    try:
        return _encoder.encode(msgspec.structs.replace(records, specs=specs))
    except (OverflowError, RecursionError, ValueError, TypeError):
        return b""


def is_packable(records: JobRecords) -> bool:
    """Whether what may be anything is bounded: what is nested deeply can be packed, and perhaps not be unpacked."""
    tasks = (task for spec in records.specs.values() for task in spec.tasks)
    return all(is_bounded(each.params) for task in tasks for each in _kinds(task) if each.params)


def _kinds(task: Task) -> Iterator[SpecConfig]:
    yield task.engine
    yield task.publisher
    for each in task.input_sources:
        yield each.source


def unpacked(packed: bytes) -> JobRecords:
    records = _decoder.decode(packed)
    if records.record is not None and records.record.first is not None:
        records.specs[1] = records.record.first
    return records


def tokens_of(records: JobRecords) -> tuple[str, ...]:
    """The idempotency tokens of a job, but for that of its first version, which decides its id."""
    record = records.record
    if record is None or (record.version == 1 and not records.replaced):
        return ()
    newest = {record.token} if record.version > 1 else set[str]()
    return tuple({*newest, *(each.token for each in records.replaced.values())} - {""})
