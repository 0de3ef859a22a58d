"""Many who want the same thing at once: one gets it, the others are told so, and nobody hears that NATS is away."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bindings import StoredBindings
from orchestrator.records import BindingRecord
from shared import subjects
from shared.errors import RevisionConflict
from shared.ids import NodeId
from tests.integration.running import Answer, Running, running_orchestrator
from tests.integration.test_retention import NOOP
from tests.integration.test_several_orchestrators import following, other
from tests.nats_bus import Bus
from tests.nats_cluster import NatsCluster
from tests.servers import S3Server

MANY = 150
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
            bindings = StoredBindings(mine)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(bindings.bind(NODE, f"U{number}")) for number in range(MANY)]
            assert [task.result() for task in tasks].count(True) == 1


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
