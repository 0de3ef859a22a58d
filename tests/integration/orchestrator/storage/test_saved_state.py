"""An orchestrator that starts again reads what was stored since it was there, or everything where that is not sure."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.rules.records import IncarnationRecord, NameRecord, TokenRecord
from orchestrator.state.filing.index_file import SavedPlace
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.model import Model
from orchestrator.storage.start.saved_state import SavedState, StreamNow, stream_now
from orchestrator.storage.store import Store
from shared.ids import JobId
from shared.jobs.states import ExecutionState, JobState
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import background
from tests.builders import new_execution, new_job, new_job_record
from tests.integration.orchestrator.storage.test_removed_records import STREAM
from tests.integration.orchestrator.test_several_orchestrators import other
from tests.nats_bus import Bus

ENDED = [JobId(f"j-{number}") for number in range(6)]
WAITING = JobId("j-waits")
TOKEN = TokenRecord(id="t", digest="0" * 64, create_time=1)


@asynccontextmanager
async def started(connection: Connection, path: Path) -> AsyncIterator[Store]:
    """With an index in this file, which is closed as by a kill."""
    model = Model(max_attempts=1, index=JobIndex(path, again=True), filed_at_once=2)
    store = Store(connection, model)
    async with background(state=store.keep_model()):
        await store.ready.wait()
        yield store
    model.filed.close()


async def fill(store: Store) -> None:
    for job in ENDED:
        await end(store, job)
    await store.create(subjects.job_record(WAITING), new_job_record(WAITING, first=new_job()))
    await store.create(TOKEN.key, TOKEN)


async def end(store: Store, job: JobId) -> None:
    record = new_job_record(job, first=new_job(), name=f"name-of-{job}")
    done = new_execution(ExecutionState.COMPLETED, of=job)
    await store.create(subjects.name_record("default", record.name), NameRecord(job_id=job))
    await store.create(record.key, record)
    await store.create(done.key, done)


@pytest.fixture
async def path(bus: Bus, tmp_path: Path) -> Path:
    """The index that one has left who has filed everything that has ended."""
    path = tmp_path / "jobs.sqlite"
    async with other(bus) as connection, started(connection, path) as store:
        await fill(store)
        await store.catch_up()
        store.model.save()
    return path


def known(store: Store) -> tuple[object, ...]:
    model = store.model
    states = {state: count for state, count in model.backlog.job_states.items() if count}
    executions = {state: count for state, count in model.executions.states.items() if count}
    return sorted(model.jobs), states, executions, sorted(model._all_revisions()), sorted(model.tokens), model.followed


def has_resumed(caplog: pytest.LogCaptureFixture) -> bool:
    return "The index of ended jobs has the state up to" in caplog.text


async def test_it_reads_what_was_stored_since_and_knows_the_same(
    bus: Bus, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with other(bus) as connection, started(connection, path.with_name("another.sqlite")) as whole:
        await end(whole, JobId("j-later"))
        await whole.delete(subjects.execution_record(f"{ENDED[0]}.1.0.0"))
        await whole.delete(TOKEN.key)
        stopped = replace(whole.model.jobs[ENDED[1]].job, modify_time=99)
        await whole.update(stopped.key, stopped)
        await whole.catch_up()
        async with started(connection, path) as store:
            await store.catch_up()
            assert known(store) == known(whole)
            assert store.model.backlog.job_states[JobState.COMPLETED] == len(ENDED)
            assert store.model.jobs[ENDED[1]].modified == 99
    assert has_resumed(caplog)


async def test_one_that_was_killed_before_it_had_saved_anything_reads_everything(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with other(bus) as connection:
        index = JobIndex(tmp_path / "jobs.sqlite")
        index.close()
        async with started(connection, tmp_path / "other.sqlite") as store:
            await fill(store)
        async with started(connection, tmp_path / "jobs.sqlite") as store:
            assert len(store.model.jobs) == len(ENDED) + 1
    assert not has_resumed(caplog)


async def purge(bus: Bus, key: str) -> None:
    await bus.jetstream.purge_stream(STREAM, subject=f"$KV.tarpon_state.{key}")


async def test_where_a_record_is_gone_without_a_mark_everything_is_read(
    bus: Bus, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await purge(bus, subjects.job_record(ENDED[3]))
    await purge(bus, subjects.execution_record(f"{ENDED[3]}.1.0.0"))
    async with other(bus) as connection, started(connection, path) as store:
        assert sorted(store.model.jobs) == sorted({*ENDED, WAITING} - {ENDED[3]})
    assert "made anew, because what is stored as job.j-3 is not what it was" in caplog.text


async def test_after_a_restore_everything_is_read(bus: Bus, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with other(bus) as connection, started(connection, path.with_name("another.sqlite")) as store:
        incarnation = IncarnationRecord(incarnation="a", since=1)
        await store.create(incarnation.key, incarnation)
        await store.catch_up()
        store.model.save()
        for again in (path, path.with_name("another.sqlite")):
            async with started(connection, again) as resumed:
                assert resumed.model.incarnation == "a"
    assert has_resumed(caplog)


def of_another_stream(now: StreamNow, place: SavedPlace) -> None:
    now.created = "2020-01-01T00:00:00Z"


def of_one_that_lost_something(now: StreamNow, place: SavedPlace) -> None:
    now.state.last_seq = place.followed - 1


def too_late(now: StreamNow, place: SavedPlace) -> None:
    now.state.last_seq += 1
    now.ts = "2999-01-01T00:00:00Z"


def late_and_nothing_happened(now: StreamNow, place: SavedPlace) -> None:
    now.ts = "2999-01-01T00:00:00Z"


def as_it_is(now: StreamNow, place: SavedPlace) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (of_another_stream, "the stream of the state is another one"),
        (of_one_that_lost_something, "NATS has lost what was stored last"),
        (too_late, "may not be told any more"),
        (late_and_nothing_happened, ""),
        (as_it_is, ""),
    ],
)
async def test_it_relies_on_an_index_of_just_this_stream(
    bus: Bus,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[StreamNow, SavedPlace], None],
    told: str,
) -> None:
    caplog.set_level(logging.INFO)
    index = JobIndex(path, again=True)
    assert index.saved is not None
    async with other(bus) as connection:
        now = await stream_now(connection.client, STREAM, timeout=5)
        assert now.created
        assert now.now > 1e9
        change(now, index.saved)
        found = await SavedState(index, connection.client, STREAM, mark_seconds=900).fitting(now)
    assert (found is None) == bool(told)
    assert told in caplog.text
    index.close()
