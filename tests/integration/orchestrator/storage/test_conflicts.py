"""Many who want the same thing at once: one gets it, the others are told so, and nobody hears that NATS is away."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.admission.claims import Claim, Right
from orchestrator.admission.node_keys import StoredNodeKeys
from orchestrator.rules.joining.join_tokens import NodeNameTaken
from orchestrator.rules.records import BindingRecord, Record
from orchestrator.storage.store import Store
from shared.errors import RevisionConflict
from shared.ids import NodeId
from shared.messaging.transport import connect
from shared.protocol import subjects
from tests.integration.orchestrator.jobs.removal.test_retention import NOOP
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.integration.running import Answer, Running, running_orchestrator
from tests.nats_bus import Bus
from tests.nats_cluster import NatsCluster
from tests.servers import S3Server
from tests.waiting import answered

MANY = 150
OFTEN = 20
NODE = NodeId("n-1")
KEY = subjects.binding_record(NODE)
JOBS = "/api/v1/orchestrator/jobs"


@pytest.fixture(params=["one server", "three replicas"])
async def pair(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Running, Running]]:
    """Two orchestrators, over a NATS of one server or of three."""
    sets: tuple[str, ...] = ()
    if request.param == "three replicas":
        cluster: NatsCluster = request.getfixturevalue("nats_cluster")
        await cluster.ready()
        await asyncio.to_thread(with_secrets, cluster.folder / "secrets", tmp_path / "a", tmp_path / "b")
        sets += (f"Orchestrator.NATS.Servers={','.join(cluster.urls)}",)
    async with running_orchestrator(tmp_path / "a", s3_server, monkeypatch, publisher=False, sets=sets) as first:
        if request.param == "one server":
            await asyncio.to_thread(with_secrets, tmp_path / "a/data/orchestrator/secrets", tmp_path / "b")
            sets += (f"Orchestrator.NATS.Servers={first.server}",)
        async with running_orchestrator(tmp_path / "b", s3_server, monkeypatch, publisher=False, sets=sets) as second:
            yield first, second


def with_secrets(secrets: Path, *folders: Path) -> None:
    for folder in folders:
        shutil.copytree(secrets, folder / "data" / "orchestrator" / "secrets")


def job(**more: Any) -> dict[str, Any]:
    return {"Job": {"Name": "daily", "Type": "batch", "Tasks": [NOOP], **more}}


async def at_once(asks: list[Any]) -> list[Answer]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in asks]
    return [task.result() for task in tasks]


class TestAStorm:
    async def test_of_submissions_of_one_name_makes_a_version_of_one_job_of_each(
        self, pair: tuple[Running, Running]
    ) -> None:
        asks = [pair[n % 2].ask(JOBS, "PUT", job(Meta={"n": str(n)})) for n in range(MANY)]
        answers = await at_once(asks)
        assert Counter(each.status for each in answers) == {200: MANY}, {each.body[:300] for each in answers}
        assert len({each.json["JobID"] for each in answers}) == 1
        found = await pair[0].ask(f"{JOBS}/daily")
        assert found.json["Job"]["Version"] >= MANY, "numbers that were lost to another orchestrator are left out"

    async def test_of_equal_submissions_makes_one_job_and_tells_the_others_so(
        self, pair: tuple[Running, Running]
    ) -> None:
        answers = await at_once([pair[n % 2].ask(JOBS, "PUT", job()) for n in range(MANY)])
        assert Counter(each.json.get("Code", "made") for each in answers) == {"made": 1, "JobUnchanged": MANY - 1}

    async def test_of_stops_stops_the_job(self, pair: tuple[Running, Running]) -> None:
        made = (await pair[0].ask(JOBS, "PUT", job())).json["JobID"]
        while (await pair[1].ask(f"{JOBS}/{made}")).status != 200:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)
        answers = await at_once([pair[n % 2].ask(f"{JOBS}/{made}", "DELETE") for n in range(MANY)])
        assert {each.status for each in answers} == {200}, {each.body[:300] for each in answers}
        assert (await pair[0].wait_state(made, "Stopped"))["Job"]["Version"] == 1


@pytest.fixture
async def three(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, nats_cluster: NatsCluster
) -> AsyncIterator[list[Running]]:
    """Three orchestrators over a NATS of three servers."""
    await nats_cluster.ready()
    folders = [tmp_path / name for name in "abc"]
    await asyncio.to_thread(with_secrets, nats_cluster.folder / "secrets", *folders)
    sets = (f"Orchestrator.NATS.Servers={','.join(nats_cluster.urls)}",)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                running_orchestrator(folder, s3_server, monkeypatch, publisher=False, sets=sets)
            )
            for folder in folders
        ]


async def test_a_storm_of_submits_and_stops_of_one_name_at_three_orchestrators_has_an_answer_for_each(
    three: list[Running],
) -> None:
    made = (await three[0].ask(JOBS, "PUT", job())).json["JobID"]
    for each in three:
        await answered(lambda: each.ask(f"{JOBS}/{made}"), lambda found: found.status == 200)  # noqa: B023
    submits = [three[n % 3].ask(JOBS, "PUT", job(Meta={"n": str(n)})) for n in range(MANY)]
    stops = [three[n % 3].ask(f"{JOBS}/{made}", "DELETE") for n in range(MANY)]
    answers = await at_once([each for pair in zip(submits, stops, strict=True) for each in pair])
    assert Counter(each.status for each in answers) == {200: 2 * MANY}, {each.body[:300] for each in answers}


class TestWhoLosesOften:
    """More often than any storm makes likely, and is served all the same."""

    async def test_stops_a_job(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        made = (await running.ask(JOBS, "PUT", job())).json["JobID"]
        async with rival(running, monkeypatch, subjects.job_record(made)):
            stopped = await running.ask(f"{JOBS}/{made}", "DELETE")
        assert stopped.status == 200, stopped.body

    async def test_submits_a_version(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        made = (await running.ask(JOBS, "PUT", job())).json["JobID"]
        async with rival(running, monkeypatch, subjects.job_record(made)):
            again = await running.ask(JOBS, "PUT", job(Meta={"n": "2"}))
        assert again.status == 200, again.body

    async def test_rejects_a_node(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running.node("n-1") as node:
            await node.register()
            async with rival(running, monkeypatch, KEY):
                rejected = await running.ask("/api/v1/orchestrator/nodes/n-1", "PUT", {"Action": "reject"})
        assert rejected.status == 200, rejected.body


@asynccontextmanager
async def rival(running: Running, monkeypatch: pytest.MonkeyPatch, key: str) -> AsyncIterator[None]:
    """Whenever the orchestrator has decided on the record, and before it writes it, another one has written it."""
    secrets = running.config.data_dir / "orchestrator" / "secrets"
    seed = (secrets / "orchestrator.nkey").read_text().strip()
    async with connect((running.server,), name="rival", nkey_seed=seed) as connection, following(connection) as theirs:
        genuine, written = Store.update, 0

        async def update(store: Store, written_key: str, record: Record, *, revision: int | None = None) -> None:
            nonlocal written
            decided_on = store.model.revision_of(written_key) if revision is None else revision
            if store is not theirs and written_key == key and written < OFTEN:
                written += 1
                await touch(theirs, key)
            await genuine(store, written_key, record, revision=decided_on)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "update", update)
            yield
        assert written == OFTEN


async def touch(store: Store, key: str) -> None:
    """Write what is stored once more, so that it has another revision."""
    record = await store.read(key)
    assert record is not None
    await store.update(key, record)


class TestAConflict:
    async def test_is_one_for_all_but_one_of_many_that_create_update_or_remove(self, any_bus: Bus) -> None:
        async with other(any_bus) as connection, following(any_bus.connection) as mine, following(connection) as others:
            assert await winners([(mine, others)[n % 2].create(KEY, record(n)) for n in range(MANY)]) == 1
            await mine.catch_up()
            revision = mine.model.revision_of(KEY)
            updates = [(mine, others)[n % 2].update(KEY, record(n), revision=revision) for n in range(MANY)]
            assert await winners(updates) == 1
            await mine.catch_up()
            await others.catch_up()
            await mine.delete(KEY)
            assert await winners([(mine, others)[n % 2].create_again(KEY, record(n)) for n in range(MANY)]) == 1

    async def test_over_the_id_of_a_node_is_won_by_one_key(self, any_bus: Bus) -> None:
        async with following(any_bus.connection) as mine:
            claims = [Claim(NODE, f"U{number}", Right.JOIN_SECRET) for number in range(MANY)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(is_bound(StoredNodeKeys(mine), claim)) for claim in claims]
            assert [task.result() for task in tasks].count(True) == 1


async def is_bound(bindings: StoredNodeKeys, claim: Claim) -> bool:
    try:
        await bindings.bind(claim)
    except NodeNameTaken:
        return False
    return True


def record(number: int) -> BindingRecord:
    return BindingRecord(public_key=f"U{number}")


async def winners(writes: list[Any]) -> int:
    """How many of these succeed, where all others conflict."""
    won = 0

    async def write(one: Any) -> None:
        nonlocal won
        try:
            await one
        except RevisionConflict:
            return
        won += 1

    async with asyncio.TaskGroup() as group:
        for one in writes:
            group.create_task(write(one))
    return won
