"""What was removed stays so when nats-server is killed after the mark has gone; what it brings back goes again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import msgspec
import pytest
from nats.js.errors import NotFoundError

from orchestrator.admission.claims import Claim, Right
from orchestrator.admission.node_keys import StoredNodeKeys
from orchestrator.inputs.listings import Listings
from orchestrator.jobs.removal.retention import Retention
from orchestrator.rules.records import BindingRecord, NameRecord, NodeRecord, Record, SpecRecord, TokenRecord
from orchestrator.s3.locations import Locations
from orchestrator.storage import returned_records
from orchestrator.storage.removal_marks import is_removal
from orchestrator.storage.store import Store
from shared.ids import JobId, NodeId, execution_key
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo
from shared.settings.config import JobRetention
from tests.builders import new_job, new_job_record
from tests.integration.orchestrator.jobs.removal.test_retention import JOBS, another, stopped_job
from tests.integration.orchestrator.nodes.test_node_deletion import deleted, known, leave
from tests.integration.orchestrator.storage.test_removed_records import SHORT, STREAM, stored_keys
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import Bus
from tests.servers import S3Server
from tests.unit.orchestrator.state.test_model import execution
from tests.waiting import eventually

NODE = NodeId("n-1")
KEPT = subjects.binding_record(NodeId("kept"))
BINDING = subjects.binding_record(NODE)
JOB = JobId("j-1")
NAME = subjects.name_record("default", "daily")
TOKEN = subjects.token_record("t-1")
FILLER = "$KV.tarpon_state.filler."
OLD_MARK = {"KV-Operation": "DEL", "Nats-TTL": "1s"}
"""As an earlier version of Tarpon writes it, once."""
BLOCK = b"x" * 500_000
"""A few of these fill one of the blocks in which nats-server keeps what is stored."""
SPEC = new_job("daily")

ALL: dict[str, Record] = {
    NAME: NameRecord(job_id=JOB),
    subjects.job_record(JOB): new_job_record(name="daily", first=SPEC),
    subjects.spec_record(JOB, 2): SpecRecord(job=SPEC),
    subjects.execution_record(execution_key(JOB, 1, 0, 0)): execution(of=JOB),
    subjects.node_record(NODE): NodeRecord(info=NodeInfo(node_id=NODE, version="0")),
    BINDING: BindingRecord(public_key="U"),
    TOKEN: TokenRecord(id="t-1", digest="0" * 64, create_time=1),
}


async def kill_server(bus: Bus, *followers: Store) -> None:
    """And wait until it is back, and everybody follows it again."""
    assert bus.server.pid is not None
    number = bus.connection.connections
    os.kill(bus.server.pid, signal.SIGKILL)
    await bus.connection.next_connection(number)
    for each in followers:
        await each.catch_up()


async def until_marks_are_gone(bus: Bus, *keys: str) -> None:
    async with asyncio.timeout(10):
        while set(keys) & set(await stored_keys(bus)):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.05)


async def stored_records(bus: Bus) -> set[str]:
    """Of those that were removed. A mark that comes back goes by itself again."""
    found: set[str] = set()
    for key in set(ALL) & set(await stored_keys(bus)):
        with contextlib.suppress(NotFoundError):
            last = await bus.jetstream.get_last_msg(STREAM, f"$KV.tarpon_state.{key}")
            found |= set() if is_removal(last.headers) else {key}
    return found


async def remove_as_before(bus: Bus, *keys: str) -> None:
    """As an earlier version of Tarpon removes: by a mark that goes by itself, and nothing else."""
    for key in keys:
        await bus.jetstream.publish(f"$KV.tarpon_state.{key}", b"", headers=OLD_MARK)
    await until_marks_are_gone(bus, *keys)


async def fill_blocks(bus: Bus, what: str, *, count: int, keep: bool) -> None:
    for number in range(count):
        await bus.jetstream.publish(f"{FILLER}{what}-{number if keep else number % 2}", BLOCK)


@asynccontextmanager
async def stored(bus: Bus, *keys: str) -> AsyncIterator[Store]:
    """One that has stored these, after a record that stays."""
    async with following(bus.connection, mark_seconds=SHORT) as mine:
        await mine.create(KEPT, BindingRecord(public_key="U"))
        for key in keys:
            await mine.create(key, ALL[key])
        yield mine


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returned_records, "GRACE_SECONDS", 0.0)


class TestWhatIsRemoved:
    async def test_does_not_return_when_the_server_is_killed_after_the_mark_has_gone(self, bus: Bus) -> None:
        async with stored(bus, *ALL) as mine:
            for key, record in ALL.items():
                await mine.update(key, record)
                await mine.delete(key)
            await until_marks_are_gone(bus, *ALL)
            await mine.create(subjects.binding_record(NodeId("later")), BindingRecord(public_key="U"))
            await kill_server(bus, mine)
            assert not await stored_records(bus)
            async with other(bus) as connection, following(connection) as later:
                assert set(later.model.bindings) == {"kept", "later"}
                assert not later.model.nodes
                assert later.model.stored_job(JOB) is None
                assert mine.returned.total == 0

    async def test_leaves_its_name_free_when_the_server_has_dropped_all_that_was_stored_with_the_marks(
        self, bus: Bus
    ) -> None:
        """Of what is written more than once an older value may return then, which is removed again."""
        async with stored(bus, *ALL) as mine:
            await fill_blocks(bus, "live", count=18, keep=True)
            await fill_blocks(bus, "dead", count=9, keep=False)
            for key in ALL:
                await mine.delete(key)
            await fill_blocks(bus, "dead", count=30, keep=False)
            await until_marks_are_gone(bus, *ALL)
            await kill_server(bus, mine)
            assert not {
                key for key in await stored_records(bus) if key.startswith(("name", "binding", "spec", "token"))
            }

    async def test_leaves_no_mark_for_ever_also_where_the_server_has_brought_one_back(self, bus: Bus) -> None:
        async with stored(bus, *ALL) as mine:
            for key in ALL:
                await mine.delete(key)
            await until_marks_are_gone(bus, *ALL)
            await kill_server(bus, mine)
            await eventually(lambda: mine.returned._marks)
            await sweep(mine)
            await until_marks_are_gone(bus, *ALL)
            assert not mine.returned._marks

    async def test_may_be_removed_again_where_it_is_not_known_whether_it_was(self, bus: Bus) -> None:
        async with stored(bus, BINDING) as mine:
            request = msgspec.json.encode({"filter": f"$KV.tarpon_state.{BINDING}"})
            await bus.client.request(f"$JS.API.STREAM.PURGE.{STREAM}", request)
            async with other(bus) as connection, following(connection) as later:
                await mine.delete(BINDING)
                assert NODE not in mine.model.bindings
                await later.catch_up()
            assert mine.returned.total == 0


class TestWhatAnEarlierVersionHasRemoved:
    async def test_is_noticed_by_who_was_there_and_is_removed_again(
        self, bus: Bus, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with stored(bus, *ALL) as mine:
            await remove_as_before(bus, *ALL)
            await kill_server(bus, mine)
            assert await stored_records(bus) == set(ALL), "the server does not do that any more"
            await eventually(lambda: mine.returned.total == len(ALL))
            await eventually(lambda: f"NATS has brought back {len(ALL)} records that were removed" in caplog.text)
            assert (set(mine.model.bindings), mine.model.nodes) == ({"kept"}, {})
            await sweep(mine)
            await until_marks_are_gone(bus, *ALL)
            assert mine.returned.records(99) == []
            await kill_server(bus, mine)
            assert not await stored_records(bus)
            assert mine.returned.total == len(ALL)

    async def test_does_not_stand_in_the_way_of_another_of_its_name(self, bus: Bus) -> None:
        async with stored(bus, NAME, BINDING) as mine:
            await remove_as_before(bus, NAME, BINDING)
            await kill_server(bus, mine)
            await StoredNodeKeys(mine).bind(Claim(NODE, "another", Right.JOIN_SECRET))
            assert await mine.is_removed(NAME)
            await mine.create_again(NAME, NameRecord(job_id=JobId("j-2")))
            await sweep(mine)
            assert await mine.read(NAME) == NameRecord(job_id=JobId("j-2"))
            assert mine.model.bindings[NODE].public_key == "another"

    async def test_is_removed_again_by_one_that_was_not_there_where_it_belongs_to_no_job(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.jobs.removal.retention.RETURNED_SECONDS", 0.0)
        key = subjects.execution_record(execution_key(JOB, 1, 0, 0))
        async with stored(bus, key) as mine:
            retention = retention_of(mine)
            await eventually(lambda: mine.model.endings.strays)
            await retention.sweep()
            await retention.sweep()
            assert mine.model.stored_job(JOB) is None

    async def test_what_belongs_to_a_job_that_cannot_be_read_stays(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.jobs.removal.retention.RETURNED_SECONDS", 0.0)
        key = subjects.execution_record(execution_key(JOB, 1, 0, 0))
        async with stored(bus, key) as mine:
            await bus.jetstream.publish(f"$KV.tarpon_state.{subjects.job_record(JOB)}", b'{"made":"by another"}')
            await mine.catch_up()
            retention = retention_of(mine)
            await retention.sweep()
            await retention.sweep()
            assert mine.model.stored_job(JOB) is not None

    async def test_nothing_is_taken_for_it_that_cannot_be_read_or_is_of_a_newer_kind(self, bus: Bus) -> None:
        async with stored(bus) as mine:
            for key in ("node.n-9", "thing.9"):
                await bus.jetstream.publish(f"$KV.tarpon_state.{key}", b'{"made":"by another"}')
            await mine.catch_up()
            await kill_server(bus, mine)
            await eventually(lambda: not mine.returned.wanted.is_set())
            await mine.create(BINDING, BindingRecord(public_key="U"))
            await sweep(mine)
            assert mine.returned.total == 0
            assert {"node.n-9", "thing.9"} < set(await stored_keys(bus))


def retention_of(store: Store) -> Retention:
    settings = JobRetention()
    return Retention(
        store.model,
        store,
        Locations(None),
        Listings(Locations(None)),
        settings=settings,
        results_seconds=0.0,
        without_record=lambda _: nullcontext(),
    )


async def sweep(store: Store) -> None:
    """As the leader does each second."""
    await retention_of(store).sweep()


async def kill_nats_after_marks(running: Running, *parts: str) -> None:
    """When no key in which one of these stands is stored any more; return when it is back and in use."""
    pid_file = running.config.data_dir / "orchestrator" / "nats" / "nats-server.pid"
    pid = int(pid_file.read_text())
    async with another(running) as store, asyncio.timeout(20):
        stream = store._connection.client.jetstream()
        while True:
            info = await stream.stream_info(STREAM, subjects_filter=">")
            if not any(part in subject for subject in info.state.subjects or {} for part in parts):
                break
            await asyncio.sleep(0.05)
        await stopped_job(running)
        number = store._connection.connections
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pid_file.exists() and int(pid_file.read_text() or 0) not in {0, pid})
        while (await running.ask("/readyz")).status != 200:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)
        await store._connection.next_connection(number)


async def test_a_deleted_job_and_node_stay_deleted_and_their_names_free_over_kills_of_both_servers(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.NATS.RemovalMarks=3s",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        await stopped_job(running, Name="stays")
        job = await stopped_job(running, Name="daily")
        async with running.node("gone") as node:
            await node.register()
            await leave(node)
        await deleted(running, "gone")
        assert (await running.ask(f"{JOBS}/{job}/record", "DELETE")).json["Deleted"]
        await kill_nats_after_marks(running, job, "node.gone", "binding.gone", subjects.name_record("default", "daily"))
        assert await stopped_job(running, Name="daily") != job
        async with asyncio.timeout(10), running.node("gone") as node:  # of another key
            await node.register()
            await leave(node)
        await deleted(running, "gone")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        assert await known(running) == {}
        assert (await running.ask(f"{JOBS}/{job}")).status == 404
