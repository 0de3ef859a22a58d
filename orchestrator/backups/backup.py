"""Backup and restore: the state into a file, and out of it into a state that is empty."""

import asyncio
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from orchestrator.assembly import replicas
from orchestrator.backups.access import Access, Progress, access
from orchestrator.backups.backup_file import FORMAT, BackupEnd, BackupHeader, BackupReader, BackupWriter
from orchestrator.backups.secret_copies import copied_secrets, put_secrets_back
from orchestrator.rules.records import BackupRecord, ExecutionRecord, JobRecord, decode_record
from orchestrator.state.event_numbers import numbered
from orchestrator.storage.record_dump import PREFIX, DumpedRecord, RecordDump
from orchestrator.storage.record_refill import BATCH, Refill
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection
from shared.runtime.version import version_text
from shared.settings.config import Config

NOTE_SECONDS = 10.0

T = TypeVar("T")


class BackupTaken(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`noted` is whether the state knows of it, by which orchestrators tell how old the last backup is."""

    file: str
    records: int
    size_bytes: int
    with_secrets: bool
    sha256: str
    noted: bool = True


class Restored(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`taken` is in nanoseconds since 1970. Where `knows_nodes` is false, the nodes of that state are not let in."""

    records: int
    taken: int
    incarnation: str
    secrets: tuple[str, ...]
    knows_nodes: bool


async def take_backup(config: Config, path: Path, *, with_secrets: bool, progress: Progress) -> BackupTaken:
    """Write all that is stored at one moment, while orchestrators work.

    Raises FileExists, StateAbsent, MessagingUnavailable, OSError, and what `access` raises.
    """
    async with access(config) as (connection, secrets):
        header = BackupHeader(
            format=FORMAT,
            version=version_text(),
            taken=time.time_ns(),
            issuer=secrets.issuer_public_key,
            secrets=copied_secrets(config, secrets) if with_secrets else {},
        )
        dump = RecordDump(connection)
        with BackupWriter(path, header) as writer:
            async for batch in dump.batches():
                await asyncio.to_thread(writer.add, batch)
                progress(writer.records, dump.count)
            end = await asyncio.to_thread(writer.end, dump.revision)
        noted = await _noted(connection, header)
    return BackupTaken(
        file=str(path),
        records=end.records,
        size_bytes=writer.size_bytes,
        with_secrets=with_secrets,
        sha256=end.sha256,
        noted=noted,
    )


async def _noted(connection: Connection, header: BackupHeader) -> bool:
    """Whether it could be stored that there is this backup, which is whole in any case."""
    record = BackupRecord(taken=header.taken)
    try:
        await connection.publish_durably(f"{PREFIX}{record.key}", msgspec.json.encode(record), timeout=NOTE_SECONDS)
    except MessagingUnavailable:
        return False
    return True


async def restore(config: Config, path: Path, *, progress: Progress) -> Restored:
    """Put what is in the file into a state that is empty, and begin a new incarnation of it.

    The whole file is read before anything is changed.

    Raises BackupDamaged, BackupNewer, SecretsDiffer, StateNotEmpty, OrchestratorRuns, MessagingUnavailable, OSError,
    and what `access` raises.
    """
    reader = BackupReader(path)
    header, end = await asyncio.to_thread(reader.check)
    names = await asyncio.to_thread(put_secrets_back, config, header.secrets)
    async with access(config, alone=True) as opened:
        refill = await _refilled(config, opened, reader, (header, end), progress)
    return Restored(
        records=end.records,
        taken=header.taken,
        incarnation=refill.incarnation,
        secrets=names,
        knows_nodes=header.issuer == opened.secrets.issuer_public_key,
    )


async def _refilled(
    config: Config, opened: Access, reader: BackupReader, frame: tuple[BackupHeader, BackupEnd], progress: Progress
) -> Refill:
    header, end = frame
    refill = Refill(opened.connection, replicas=replicas(config))
    await refill.begin(above=end.revision)
    records, done = reader.records(), 0
    while batch := await asyncio.to_thread(_some, records):
        await refill.put([_with_numbers(each) for each in batch])
        done += len(batch)
        progress(done, end.records)
    last = BackupRecord(taken=header.taken)
    await refill.put([DumpedRecord(last.key, end.revision, msgspec.json.encode(last))])
    await refill.end()
    return refill


def _some(records: Iterable[T]) -> list[T]:
    return list(islice(records, BATCH))


def _with_numbers(found: DumpedRecord) -> DumpedRecord:
    """As it is stored the next time: events that have their numbers by its revision keep these under a new one."""
    if found.payload is None or not found.key.startswith(("job.", "execution.")):
        return found
    try:
        record = decode_record(found.key, found.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return found  # orchestrators leave it alone
    match record:
        case JobRecord():
            told: JobRecord | ExecutionRecord = numbered(record, found.revision)
        case ExecutionRecord():
            told = numbered(record, found.revision)
        case _:
            return found
    return found if told is record else found._replace(payload=msgspec.json.encode(told))
