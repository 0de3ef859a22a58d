"""What the check keeps of each record, which is little: what others lead to it, and which object it leads to."""

from typing import NamedTuple

import msgspec

from orchestrator.rules.location import Location
from orchestrator.rules.records import (
    NEWEST_SCHEMA,
    DataRecord,
    ExecutionRecord,
    IncarnationRecord,
    JobRecord,
    NameRecord,
    decode_record,
)
from orchestrator.storage.record_dump import RecordDump
from shared.messaging.transport import Connection
from shared.protocol import subjects


class Known(NamedTuple):
    """`job` is the job that it belongs to, `version` is of a job's own record, and `name_key` where it has a name.

    `place` is where an object is, or may be; with an `etag` it has to be there, and with a size of so many bytes.
    `problem` is what is wrong with the record itself: a kind of misfit.
    """

    job: str = ""
    name_key: str = ""
    version: int = 0
    place: Location | None = None
    etag: str = ""
    size_bytes: int = 0
    problem: str = ""


async def known_records(connection: Connection) -> dict[str, Known]:
    """By their keys, all at one moment. Raises StateAbsent, MessagingUnavailable."""
    found: dict[str, Known] = {}
    async for batch in RecordDump(connection).batches():
        for each in batch:
            found.pop(each.key, None)
            if each.payload is not None:
                found[each.key] = _known(each.key, each.payload)
    return found


def _known(key: str, payload: bytes) -> Known:
    try:
        record = decode_record(key, payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Known(problem="RecordUnreadable")
    if record is None:
        return Known(problem="RecordUnknown")
    if record.schema > NEWEST_SCHEMA:
        return Known(problem="RecordNewer")
    match record:
        case JobRecord():
            is_called = record.name not in {"", record.id}
            name_key = subjects.name_record(record.namespace, record.name) if is_called else ""
            return Known(job=record.id, name_key=name_key, version=record.version)
        case NameRecord():
            return Known(job=record.job_id)
        case ExecutionRecord():
            return _of_execution(record)
        case DataRecord():
            return Known(place=record.location, etag="*") if record.is_ready else Known(place=record.location)
        case IncarnationRecord() if record.unfinished:
            return Known(problem="StateUnfinished")
        case _:
            return Known(job=key.split(".")[1]) if key.startswith("spec.") else Known()


def _of_execution(record: ExecutionRecord) -> Known:
    place = record.location if record.may_have_objects else None
    if place is None or record.result is None:
        return Known(job=record.job_id, place=place)
    return Known(job=record.job_id, place=place, etag=record.result.etag, size_bytes=record.result.size_bytes)
