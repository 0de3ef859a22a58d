"""Records that are removed, over real NATS: every orchestrator forgets them, and nothing of them stays."""

import asyncio

import pytest
from nats.js.api import StreamConfig

from orchestrator.rules.records import BindingRecord, NameRecord
from orchestrator.state.model import Model
from orchestrator.storage import removal_marks, store
from orchestrator.storage.leaders_store import LeadersStore
from orchestrator.storage.record_feed import RecordFeed
from orchestrator.storage.store import Store
from shared.errors import MessagingUnavailable, RevisionConflict
from shared.ids import JobId, NodeId
from shared.protocol import subjects
from shared.runtime.aio import background
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.nats_bus import Bus
from tests.waiting import answered, eventually

STREAM = f"KV_{subjects.STATE_BUCKET}"
NODE = NodeId("n-1")
KEY = subjects.binding_record(NODE)
NAME = subjects.name_record("default", "daily")


async def stored_keys(bus: Bus) -> dict[str, int]:
    info = await bus.jetstream.stream_info(STREAM, subjects_filter=">")
    return {subject.removeprefix("$KV.tarpon_state."): count for subject, count in (info.state.subjects or {}).items()}


SHORT = 1.0
"""Marks that go after a second; whoever has heard nothing for a third of it reads everything again."""


class TestRemovedRecords:
    async def test_every_orchestrator_forgets_them(self, any_bus: Bus) -> None:
        async with other(any_bus) as connection, following(any_bus.connection) as mine, following(connection) as others:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await eventually(lambda: others.model.bindings)
            await mine.delete(KEY)
            mark = await any_bus.jetstream.get_last_msg(STREAM, f"$KV.{subjects.STATE_BUCKET}.{KEY}")
            assert (mark.headers or {})["Nats-TTL"] == f"{removal_marks.MARK_SECONDS:.0f}s", "it goes by itself"
            assert removal_marks.away_seconds(removal_marks.MARK_SECONDS) < removal_marks.MARK_SECONDS / 2
            assert (mine.model.bindings, mine.model.revision_of(KEY)) == ({}, 0)
            await eventually(lambda: not others.model.bindings)
            assert await others.read(KEY) is None

    async def test_one_that_starts_later_does_not_know_them(self, bus: Bus) -> None:
        async with following(bus.connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await mine.delete(KEY)
            async with other(bus) as connection, following(connection) as later:
                assert later.model.bindings == {}

    async def test_a_record_that_changed_meanwhile_stays(self, any_bus: Bus) -> None:
        async with other(any_bus) as connection, following(any_bus.connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U1"))
            behind = Store(connection, Model(max_attempts=1))
            await behind.read(KEY)
            await mine.update(KEY, BindingRecord(public_key="U2"))
            with pytest.raises(RevisionConflict):
                await behind.delete(KEY)
            assert await mine.read(KEY) == BindingRecord(public_key="U2")

    async def test_to_change_one_does_not_make_it_anew_when_its_mark_has_gone(self, bus: Bus) -> None:
        async with following(bus.connection, mark_seconds=SHORT) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await mine.delete(KEY)
            async with asyncio.timeout(10):
                while KEY in await stored_keys(bus):  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.05)
            with pytest.raises(RevisionConflict):
                await mine.update(KEY, BindingRecord(public_key="U"))
            assert KEY not in await stored_keys(bus)

    async def test_a_leader_that_had_nothing_to_do_for_long_did_not_stand_still(self, bus: Bus) -> None:
        async with following(bus.connection) as mine:
            leaders = LeadersStore(mine, bus.connection, lambda: None)
            assert leaders._standstill is mine._standstill, "the one that looks all the time"

    async def test_one_that_may_not_lead_removes_nothing(self, bus: Bus) -> None:
        def check() -> None:
            raise MessagingUnavailable("This orchestrator does not lead any more.")

        async with following(bus.connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            with pytest.raises(MessagingUnavailable):
                await LeadersStore(mine, bus.connection, check).delete(KEY)
            assert await mine.read(KEY) == BindingRecord(public_key="U")

    async def test_a_name_can_be_claimed_again_and_a_decision_not_be_taken_again(self, any_bus: Bus) -> None:
        async with following(any_bus.connection) as mine:
            await mine.create(NAME, NameRecord(job_id=JobId("j-1")))
            await mine.delete(NAME)
            with pytest.raises(RevisionConflict):
                await mine.create(NAME, NameRecord(job_id=JobId("j-2")))
            await mine.create_again(NAME, NameRecord(job_id=JobId("j-2")))
            assert await mine.read(NAME) == NameRecord(job_id=JobId("j-2"))
            with pytest.raises(RevisionConflict):
                await mine.create_again(NAME, NameRecord(job_id=JobId("j-3")))

    async def test_what_kv_tools_purge_is_forgotten_too(self, bus: Bus) -> None:
        async with following(bus.connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await (await bus.bucket()).purge(KEY)
            await eventually(lambda: not mine.model.bindings)
            assert mine.model.revision_of(KEY) == 0
            assert await mine.read(KEY) is None

    async def test_their_marks_do_not_stay(self, bus: Bus) -> None:
        async with following(bus.connection, mark_seconds=SHORT) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await mine.delete(KEY)
            await answered(lambda: stored_keys(bus), lambda keys: KEY not in keys, what="the mark is gone")
            async with other(bus) as connection, following(connection) as later:  # its last message is a gap
                await later.catch_up()
                assert not later.model.bindings
            await mine.catch_up()
            assert not mine.model.bindings

    async def test_one_that_was_away_for_longer_than_marks_live_forgets_what_is_not_stored(self, bus: Bus) -> None:
        model = Model(max_attempts=1)
        async with other(bus) as connection:
            away = Store(connection, model, mark_seconds=SHORT)
            async with following(bus.connection, mark_seconds=SHORT) as mine:
                for number in range(3):
                    key = subjects.binding_record(NodeId(f"n-{number}"))
                    await mine.create(key, BindingRecord(public_key="U"))
                async with background(state=away.keep_model()):
                    await eventually(lambda: len(model.bindings) == 3)
                await mine.delete(KEY)
                await answered(lambda: stored_keys(bus), lambda keys: KEY not in keys, what="the mark is gone")
                async with background(state=away.keep_model()):
                    await eventually(lambda: sorted(model.bindings) == ["n-0", "n-2"])

    async def test_a_bucket_of_an_earlier_version_learns_to_let_marks_expire(self, bus: Bus) -> None:
        """Its messages could not expire; what its operator has set besides stays."""
        answer = await bus.jetstream.add_stream(
            StreamConfig(name="KV_old", subjects=["$KV.old.>"], max_msgs_per_subject=1, description="ours")
        )
        assert not answer.config.allow_msg_ttl
        await removal_marks.let_marks_expire(bus.client, "KV_old", timeout=5.0)
        config = (await bus.jetstream.stream_info("KV_old")).config
        assert (config.allow_msg_ttl, config.description) == (True, "ours")


class HastyFeed(RecordFeed):
    """As it is when a server feeds us that has not heard yet of what the others have stored."""

    async def run(self) -> None:
        self._on_current()
        await asyncio.sleep(0.2)  # in which it may be believed
        await super().run()


class TestNewsThatComesTooEarly:
    """A server that was away says that there is no more, and means: no more that it knows of."""

    async def test_nothing_is_taken_for_read_that_is_on_its_way(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with following(bus.connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            monkeypatch.setattr(store, "RecordFeed", HastyFeed)
            async with other(bus) as connection, following(connection) as later:
                assert later.model.bindings == {NODE: BindingRecord(public_key="U")}
                await later.update(KEY, BindingRecord(public_key="U2"))

    async def test_nothing_is_forgotten_that_is_on_its_way(self, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "away_seconds", lambda _: 0.0)
        forgotten: list[str] = []
        async with other(bus) as connection, following(connection) as mine:
            await mine.create(KEY, BindingRecord(public_key="U"))
            await mine.catch_up()
            monkeypatch.setattr(mine.model, "forget", lambda key, _: forgotten.append(key))
            monkeypatch.setattr(store, "RecordFeed", HastyFeed)
            number = connection.connections
            await connection.client.close()
            await connection.next_connection(number)
            await mine.create(NAME, NameRecord(job_id=JobId("j-1")))
            await mine.catch_up()  # by then the new feed has told of everything
        assert forgotten == []
