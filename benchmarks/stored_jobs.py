"""How a benchmark gets many ended jobs into the state: copies of one that really ran, written while nobody leads.

Ids and times differ from copy to copy; all else is as the orchestrator wrote it, whatever records a job has.
"""

import asyncio
import re
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import nats
import nkeys

from benchmarks.nats_wire import connect
from shared.ids import JobId, new_execution_id
from shared.protocol import subjects

AT_ONCE = 2000
APART_NS = 1_000_000
_INSTANT = re.compile(rb"\b1[0-9]{18}\b")
_BUCKET = f"$KV.{subjects.STATE_BUCKET}."


class Original:
    """The stored records of one job, by their keys."""

    def __init__(self, job: str, records: dict[str, bytes]) -> None:
        self._job = job
        self._records = records
        self._executions = [
            (key.removeprefix(subjects.execution_record("")), new_execution_id(key.removeprefix("execution.")))
            for key in records
            if key.startswith("execution.")
        ]

    def __repr__(self) -> str:
        return f"<Original {self._job} of {len(self._records)} records>"

    def copies(self, count: int) -> Iterator[tuple[str, bytes]]:
        """Keys and payloads of `count` other jobs, the oldest first."""
        for number in range(count, 0, -1):
            yield from self._copy(JobId(f"j-{uuid.uuid4()}"), number * APART_NS)

    def _copy(self, job: JobId, earlier_ns: int) -> Iterator[tuple[str, bytes]]:
        names = [(self._job.encode(), job.encode())]
        for key, execution in self._executions:
            names.append((execution.encode(), new_execution_id(key.replace(self._job, job)).encode()))
        for key, payload in self._records.items():
            copied = _INSTANT.sub(lambda found: b"%d" % (int(found[0]) - earlier_ns), payload)
            for old, new in names:
                copied = copied.replace(old, new)
            yield key.replace(self._job, job), copied


def read_original(seed_file: Path, server: str, job: str, trust: ssl.SSLContext | None) -> Original:
    return asyncio.run(_read(seed_file.read_text().strip(), server, job, trust))


def store(seed_file: Path, server: str, original: Original, count: int, trust: ssl.SSLContext | None) -> None:
    """Return when JetStream has stored them all."""
    asyncio.run(_store(seed_file.read_text().strip(), server, original, count, trust))


async def _read(seed: str, server: str, job: str, trust: ssl.SSLContext | None) -> Original:
    client = await nats.connect(server, nkeys_seed_str=seed, tls=trust, tls_handshake_first=trust is not None)
    try:
        bucket = await client.jetstream().key_value(subjects.STATE_BUCKET)
        keys = [key for key in await bucket.keys() if job in key.split(".")]
        return Original(job, {key: (await bucket.get(key)).value or b"" for key in keys})
    finally:
        await client.close()


async def _store(seed: str, server: str, original: Original, count: int, trust: ssl.SSLContext | None) -> None:
    free = asyncio.Semaphore(AT_ONCE)
    refused: list[bytes] = []

    def on_answer(_: str, payload: bytes) -> None:
        if b'"error"' in payload:
            refused.append(payload)
        free.release()

    inbox = f"_INBOX.{uuid.uuid4().hex}"
    wire = await connect(server, key=nkeys.from_seed(seed.encode()), deliver=on_answer, trust=trust)
    wire.subscribe(inbox)
    for key, payload in original.copies(count):
        await free.acquire()
        wire.publish(f"{_BUCKET}{key}", payload, reply=inbox)
    for _ in range(AT_ONCE):
        await free.acquire()
    wire.close()
    if refused:
        raise AssertionError(f"{len(refused)} records were not stored: {refused[0]!r}")
