"""Orchestrators that share one NATS: one leads at a time, each knows what the others wrote, and none undoes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from orchestrator.rules.records import NEWEST_SCHEMA, BindingRecord
from orchestrator.state.model import Model
from orchestrator.storage import lease as lease_module
from orchestrator.storage.leaders_store import LeadersStore
from orchestrator.storage.lease import Lease
from orchestrator.storage.removal_marks import MARK_SECONDS
from orchestrator.storage.store import StateNewer, Store
from orchestrator.storage.streams import has_reports_consumer, restart_reports_consumer
from shared.errors import MessagingUnavailable, RevisionConflict
from shared.ids import NodeId
from shared.messaging.transport import Connection, connect
from shared.protocol import subjects
from shared.runtime.aio import background
from tests.nats_bus import Bus
from tests.waiting import eventually

KEY = subjects.binding_record(NodeId("n-1"))


async def _for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def other(bus: Bus) -> AsyncIterator[Connection]:
    seed = bus.secrets.orchestrator_seed.reveal()
    async with connect(bus.urls, name="other", nkey_seed=seed) as connection:
        await connection.wait_connected()
        yield connection


@asynccontextmanager
async def following(connection: Connection, *, mark_seconds: float = MARK_SECONDS) -> AsyncIterator[Store]:
    store = Store(connection, Model(max_attempts=1), mark_seconds=mark_seconds)
    async with background(state=store.keep_model()):
        await store.ready.wait()
        yield store


class TestLease:
    async def test_one_leads_and_the_other_does_when_it_resigns(self, any_bus: Bus) -> None:
        first, second = Lease(any_bus.connection, "o-1"), Lease(any_bus.connection, "o-2")
        async with background(second=second.lead(_for_ever, may=lambda: bool(first.leader))):
            async with background(first=first.lead(_for_ever)):
                await eventually(lambda: first.is_held)
                await eventually(lambda: second.leader == "o-1")
                assert not second.is_held
            await first.resign()
            await eventually(lambda: second.is_held, within=lease_module.TRY_SECONDS * 3)

    async def test_one_that_was_replaced_does_not_take_the_lease_from_its_successor_by_resigning(
        self, any_bus: Bus
    ) -> None:
        first, second = Lease(any_bus.connection, "o-1"), Lease(any_bus.connection, "o-2")
        async with background(first=first.lead(_for_ever)):
            await eventually(lambda: first.is_held)
        await (await any_bus.jetstream.key_value(subjects.LEASE_BUCKET)).delete(subjects.LEASE_KEY)
        async with background(second=second.lead(_for_ever)):
            await eventually(lambda: second.is_held)
            await first.resign()
            entry = await (await any_bus.jetstream.key_value(subjects.LEASE_BUCKET)).get(subjects.LEASE_KEY)
            assert (entry.value or b"").startswith(b"o-2 ")

    async def test_a_leader_that_is_started_again_takes_its_own_lease_over_at_once(self, bus: Bus) -> None:
        killed = Lease(bus.connection, "o-1")
        async with background(killed=killed.lead(_for_ever)):
            await eventually(lambda: killed.is_held)
        again = Lease(bus.connection, "o-1")
        async with background(again=again.lead(_for_ever)):
            await eventually(lambda: again.is_held, within=lease_module.TRY_SECONDS)

    async def test_two_of_one_name_do_not_take_the_lease_from_each_other_for_ever(self, bus: Bus) -> None:
        first, second = Lease(bus.connection, "o-1"), Lease(bus.connection, "o-1")
        async with background(first=first.lead(_for_ever)):
            await eventually(lambda: first.is_held)
            async with background(second=second.lead(_for_ever)):
                await eventually(lambda: second.is_held and not first.is_held)
                await asyncio.sleep(lease_module.LEAD_SECONDS)
                assert second.is_held
                assert not first.is_held

    async def test_one_whose_time_is_over_does_not_lead_before_it_was_told(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = Lease(bus.connection, "o-1")
        async with background(lease=lease.lead(_for_ever)):
            await eventually(lambda: lease.is_held)
            lease.check()
            now = lease_module._now()
            monkeypatch.setattr(lease_module, "_now", lambda: now + lease_module.LEAD_SECONDS)
            with pytest.raises(MessagingUnavailable):
                lease.check()

    async def test_one_that_must_not_decide_does_not_ask_for_the_lease(self, bus: Bus) -> None:
        lease = Lease(bus.connection, "o-1")
        asked: list[bool] = []

        def may() -> bool:
            asked.append(lease.is_held)
            return False

        async with background(lease=lease.lead(_for_ever, may=may)):
            await eventually(lambda: len(asked) == 3)
            assert not any(asked)

    async def test_one_that_must_not_decide_knows_whether_another_one_does(self, bus: Bus) -> None:
        lease, leading = Lease(bus.connection, "o-1"), Lease(bus.connection, "o-2")
        async with background(lease=lease.lead(_for_ever, may=lambda: False)):
            async with background(leading=leading.lead(_for_ever)):
                await eventually(lambda: lease.is_led and lease.leader == "o-2")
            await leading.resign()
            await eventually(lambda: not lease.is_led)


class TestStore:
    async def test_what_another_stored_is_known_after_catching_up(self, any_bus: Bus) -> None:
        async with other(any_bus) as connection, following(any_bus.connection) as mine, following(connection) as others:
            for number in range(200):
                await others.create(subjects.binding_record(NodeId(f"n-{number}")), BindingRecord(public_key="U"))
            await mine.catch_up()
            assert len(mine.model.bindings) == 200

    async def test_a_record_that_moved_since_its_revision_was_read_is_not_replaced(self, any_bus: Bus) -> None:
        async with following(any_bus.connection) as store:
            await store.create(KEY, BindingRecord(public_key="U1"))
            revision = store.model.revision_of(KEY)
            await store.update(KEY, BindingRecord(public_key="U2"))
            with pytest.raises(RevisionConflict):
                await store.update(KEY, BindingRecord(public_key="U3"), revision=revision)
            assert await store.read(KEY) == BindingRecord(public_key="U2")

    async def test_a_leader_writes_nothing_once_it_may_not_lead(self, bus: Bus) -> None:
        def check() -> None:
            raise MessagingUnavailable("This orchestrator does not lead any more.")

        async with following(bus.connection) as store:
            with pytest.raises(MessagingUnavailable):
                await LeadersStore(store, bus.connection, check).create(KEY, BindingRecord(public_key="U"))
            assert await store.read(KEY) is None

    async def test_records_go_on_arriving_when_their_consumer_is_gone(self, bus: Bus) -> None:
        stream = f"KV_{subjects.STATE_BUCKET}"
        async with other(bus) as connection, following(connection) as store, following(bus.connection) as writer:
            for consumer in await bus.jetstream.consumers_info(stream):
                await bus.jetstream.delete_consumer(stream, consumer.name)
            await writer.create(KEY, BindingRecord(public_key="U"))
            await eventually(lambda: NodeId("n-1") in store.model.bindings, within=8)

    async def test_a_program_that_is_older_than_what_is_stored_decides_nothing(self, bus: Bus) -> None:
        async with following(bus.connection) as store:
            assert store.may_decide
            newer = msgspec.json.encode(BindingRecord(public_key="U", schema=NEWEST_SCHEMA + 1))
            await (await bus.bucket()).create(KEY, newer)
            await store.catch_up()
            store.check_ready()  # another one leads, as far as is known
            assert not store.may_decide

    async def test_a_program_that_is_older_says_so_where_nobody_leads(self, bus: Bus) -> None:
        store = Store(bus.connection, Model(max_attempts=1), is_led=lambda: False)
        async with background(state=store.keep_model()):
            await store.ready.wait()
            store.check_ready()
            newer = msgspec.json.encode(BindingRecord(public_key="U", schema=NEWEST_SCHEMA + 1))
            await (await bus.bucket()).create(KEY, newer)
            await store.catch_up()
            with pytest.raises(StateNewer):
                store.check_ready()

    async def test_it_can_be_told_whether_reports_are_given_out(self, bus: Bus) -> None:
        assert not await has_reports_consumer(bus.jetstream)
        await restart_reports_consumer(bus.jetstream)
        assert await has_reports_consumer(bus.jetstream)
