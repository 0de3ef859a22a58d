"""The refill: records of a backup, or of the bucket, put into a state that has none.

Revisions go on far above those of the backup, so that no number of an event that anybody has seen is given twice. A
mark says that the state is not whole, from before the first record until after the last, so that nothing is decided
in between, and a refill that was interrupted can be begun anew.
"""

import asyncio
import json
import os
import time
from collections.abc import Sequence

import msgspec
import nats.errors
import nats.js.errors

from orchestrator.rules.records import OF_INCARNATIONS, OF_REFILLS, IncarnationRecord, decode_record
from orchestrator.storage.nats_fitness import check_server
from orchestrator.storage.record_dump import ASK_SECONDS, PREFIX, STREAM, DumpedRecord
from orchestrator.storage.removal_marks import let_marks_expire, purge
from orchestrator.storage.streams import set_up_streams
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, MessagingUnavailable
from shared.messaging.acknowledgements import refusal
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import raising_cancellation

WRITE_SECONDS = 30.0
READY_SECONDS, RETRY_SECONDS = 30.0, 0.5
BATCH = 256
"""So many records are written at a time."""
GAP = 1 << 30
"""How much further revisions go on, for what was stored after the backup."""


class StateNotEmpty(Conflict):
    def __init__(self, records: int) -> None:
        super().__init__(
            f"{records:,} records are stored here already, and nothing is put over them.",
            hint="Name an empty DataDir, or a NATS cluster without Tarpon's streams (`nats stream ls` shows them).",
        )


class OrchestratorRuns(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The orchestrator {name} works with this NATS cluster.",
            hint="Stop all orchestrators first, and start them again afterwards.",
        )


class Refill:
    """Call `begin`, `put` as often as needed, and `end`. `incarnation` is the one that begins with it."""

    def __init__(self, connection: Connection, *, replicas: int) -> None:
        self.incarnation = os.urandom(4).hex()
        self._connection = connection
        self._replicas = replicas

    async def begin(self, *, above: int) -> None:
        """Raises StateNotEmpty, OrchestratorRuns, MessagingUnfit, MessagingUnavailable. `above` is a revision."""
        await self._go_on_above(max(above, await self._prepared()) + GAP)
        await self._put_mark(is_whole=False)

    async def _prepared(self) -> int:
        """The last revision. Servers that were just started may not agree yet who leads."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                return await self._prepare()
            except MessagingUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _prepare(self) -> int:
        client = self._connection.client
        try:
            await check_server(client)
            await raising_cancellation(set_up_streams(client.jetstream(timeout=ASK_SECONDS), self._replicas))
            await let_marks_expire(client, STREAM, timeout=ASK_SECONDS)
            await self._check_alone()
            return await self._check_empty()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"The state could not be prepared: {error!r}") from error

    async def put(self, records: Sequence[DumpedRecord]) -> None:
        """Raises MessagingUnavailable: some may be stored. They are stored in their order, as far as that matters."""
        together: dict[str, bytes] = {}
        for each in records:
            if each.key in together or each.payload is None or len(together) == BATCH:
                await self._write(together)
                together = {}
            if each.payload is None:
                await purge(self._connection, STREAM, f"{PREFIX}{each.key}", up_to=(1 << 63) - 2, timeout=WRITE_SECONDS)
            else:
                together[each.key] = each.payload
        await self._write(together)

    async def end(self) -> None:
        """From now on orchestrators decide, and tell what they decide apart from what was decided before."""
        await self._put_mark(is_whole=True)

    async def _check_alone(self) -> None:
        bucket = await raising_cancellation(self._connection.client.jetstream().key_value(subjects.LEASE_BUCKET))
        try:
            entry = await raising_cancellation(bucket.get(subjects.LEASE_KEY))
        except nats.js.errors.NotFoundError:
            return
        raise OrchestratorRuns((entry.value or b"").decode(errors="replace").partition(" ")[0][:64])

    async def _check_empty(self) -> int:
        """The last revision."""
        stream = self._connection.client.jetstream(timeout=ASK_SECONDS)
        state = (await raising_cancellation(stream.stream_info(STREAM))).state
        if state.messages and not await self._is_interrupted():
            raise StateNotEmpty(state.messages)
        return state.last_seq

    async def _is_interrupted(self) -> bool:
        stream, key = self._connection.client.jetstream(timeout=ASK_SECONDS), subjects.INCARNATION_RECORD
        try:
            found = await raising_cancellation(stream.get_last_msg(STREAM, f"{PREFIX}{key}"))
            record = decode_record(key, found.data or b"")
        except (nats.js.errors.NotFoundError, msgspec.DecodeError):
            return False
        return isinstance(record, IncarnationRecord) and record.unfinished

    async def _go_on_above(self, revision: int) -> None:
        """A purge up to a number that was not given yet takes away everything, and the next message has that number."""
        request = json.dumps({"seq": revision + 1}).encode()
        answer = await self._connection.request(f"$JS.API.STREAM.PURGE.{STREAM}", request, timeout=WRITE_SECONDS)
        told = msgspec.json.decode(answer)
        if error := told.get("error"):
            raise refusal(f"purge {STREAM}", error.get("err_code"), error.get("description"))

    async def _put_mark(self, *, is_whole: bool) -> None:
        record = IncarnationRecord(
            schema=OF_INCARNATIONS if is_whole else OF_REFILLS,
            incarnation=self.incarnation,
            since=now_ns(),
            unfinished=not is_whole,
        )
        await self._write({record.key: msgspec.json.encode(record)})

    async def _write(self, payloads: dict[str, bytes]) -> None:
        async with asyncio.TaskGroup() as group:
            for key, payload in payloads.items():
                writing = self._connection.publish_durably(f"{PREFIX}{key}", payload, timeout=WRITE_SECONDS)
                group.create_task(writing, name=f"put {key}")

    def __repr__(self) -> str:
        return f"<Refill, incarnation {self.incarnation}>"
