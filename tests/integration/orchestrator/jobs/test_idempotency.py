"""A repeated submit is one job, at any orchestrator and after any restart; another job with its token is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.assembly import input_resolvers
from orchestrator.inputs.listings import Listings
from orchestrator.inputs.sent_data import data_service
from orchestrator.jobs.idempotency import MAX_TOKEN, IdempotencyTokenUsed
from orchestrator.jobs.submissions import Submissions
from orchestrator.rules.records import NameRecord
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.telemetry.traces import Traces
from shared.errors import InvalidInput, JobDeleted, JobNotFound, JobUnchanged
from shared.ids import JobId, new_job_id
from shared.jobs.spec import Job
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import background
from shared.runtime.tracing import OFF
from shared.settings.config import BatchDefaults, Config
from shared.settings.secret import Secret
from shared.settings.sent_data import SentDataSettings
from tests.builders import new_job_record, new_task
from tests.nats_bus import Bus


def job(name: str = "", *, engine: str = "noop", **more: object) -> Job:
    return replace(Job(name=name, type="batch", tasks=(new_task(engine=engine),)), **more)


class Orchestrator:
    """What takes jobs in, over a model of its own."""

    def __init__(self, connection: Connection, defaults: BatchDefaults) -> None:
        self.model, locations = Model(max_attempts=1), Locations(None)
        self.store = Store(connection, self.model)
        self.submissions = Submissions(
            self.model,
            self.store,
            defaults=defaults,
            check_publisher=lambda: None,
            traces=Traces(OFF, self.model, leads=lambda: True),
            secrets=TaskSecrets(self.model, self.store, Secret("of-the-tests")),
            inputs=input_resolvers(
                Config(),
                locations,
                Listings(locations),
                data_service(self.model, self.store, locations, SentDataSettings()),
            ),
        )

    async def submit(self, wanted: Job, token: str = "", *, force: bool = False) -> tuple[str, int]:
        made = await self.submissions.submit(wanted, token=token, force=force)
        return made.job_id, made.version

    async def refuses(self, wanted: Job, token: str) -> str:
        with pytest.raises(IdempotencyTokenUsed) as caught:
            await self.submit(wanted, token)
        return caught.value.message


@asynccontextmanager
async def orchestrator(bus: Bus, defaults: BatchDefaults | None = None) -> AsyncIterator[Orchestrator]:
    made = Orchestrator(bus.connection, defaults or BatchDefaults())
    async with background(state=made.store.keep_model()):
        await made.store.ready.wait()
        yield made


async def test_the_same_submit_again_is_the_same_job_and_another_one_is_refused(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        first = await one.submit(job(), "t")
        assert await one.submit(job(), "t") == first == (new_job_id("t", "default"), 1)
        assert first[0] in await one.refuses(job(priority=1), "t")
        await one.refuses(job("named"), "t")
        assert await one.submit(job(namespace="other"), "t") != first, "each namespace has its own tokens"


async def test_a_name_is_not_taken_by_a_submit_that_was_refused(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        await one.submit(job("first"), "t")
        await one.refuses(job("second"), "t")
        assert (await one.submit(job("second"), "u"))[1] == 1
        assert one.model.names.named("default", "second") == new_job_id("u", "default")


async def test_a_job_that_was_removed_while_somebody_waited_to_change_it_stays_removed(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        made, _ = await one.submit(job())
        entry = one.model.jobs[JobId(made)]
        await one.store.delete(subjects.job_record(JobId(made)))
        with pytest.raises(JobNotFound):
            await one.submissions.stop(entry, "")
        with pytest.raises(JobNotFound):
            await one.submissions.rerun(entry, 1, "")


async def test_it_is_the_same_after_a_restart_with_other_defaults(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        first = await one.submit(job("a"), "t")
    async with orchestrator(bus, BatchDefaults(priority=7)) as later:
        assert await later.submit(job("a"), "t") == first
        await later.refuses(job("a", labels={"x": "y"}), "t")


async def test_an_orchestrator_that_has_not_heard_of_it_yet_refuses_too_and_keeps_no_name(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        first = await one.submit(job("first"), "t")
        late = Orchestrator(bus.connection, BatchDefaults())
        late.store.ready.set()  # as if all that was stored had been read before
        async with background(state=late.store.keep_model()):
            await late.refuses(job("second"), "t")
            assert await late.submit(job("first"), "t") == first
        assert await one.store.read(subjects.name_record("default", "second")) is None


async def test_in_which_order_a_client_writes_maps_makes_no_other_job(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        first = await one.submit(job(labels={"a": "1", "b": "2"}), "t")
        assert await one.submit(job(labels={"b": "2", "a": "1"}), "t") == first


async def test_the_token_of_an_earlier_version_still_is_its_own(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        first = await one.submit(job("a"), "t1")
        second = await one.submit(job("a", priority=2), "t2")
        third = await one.submit(job("a", priority=3), "t3")
        assert [first[1], second[1], third[1]] == [1, 2, 3]
    async with orchestrator(bus) as later:
        assert await later.submit(job("a"), "t1") == first
        assert await later.submit(job("a", priority=2), "t2") == second
        assert await later.submit(job("a", priority=3), "t3") == third
        await later.refuses(job("a", priority=9), "t2")
        await later.refuses(job("b", priority=2), "t2")
        assert later.model.jobs[JobId(first[0])].job.version == 3


async def test_a_job_that_is_run_again_uses_its_token_for_that_alone(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        name, _ = await one.submit(job("a"), "t1")
        entry = one.model.jobs[JobId(name)]
        await one.submissions.stop(entry, "")
        assert await one.submissions.rerun(entry, 1, "", token="t2") == 2
        assert await one.submissions.rerun(entry, 1, "", token="t2") == 2
        for version, token in ((2, "t2"), (1, "t1")):
            with pytest.raises(IdempotencyTokenUsed):
                await one.submissions.rerun(entry, version, "", token=token)
        await one.refuses(job("a"), "t2")


async def test_what_an_earlier_build_stored_has_no_digest_and_is_taken_for_the_same(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        old = new_job_id("t", "default")
        record = new_job_record(old, name="a", token="t", first=job("a", namespace="default", count=1))
        await one.store.create(subjects.name_record("default", "a"), NameRecord(job_id=old))
        await one.store.create(subjects.job_record(old), record)
        assert await one.submit(job("a", priority=3), "t") == (old, 1)
        await one.refuses(job("b"), "t")


async def test_without_a_token_every_submit_is_one_of_its_own(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        assert await one.submit(job()) != await one.submit(job())
        await one.submit(job("a"))
        with pytest.raises(JobUnchanged):
            await one.submit(job("a"))


async def test_tokens_that_differ_after_the_bound_are_not_taken_for_one(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        with pytest.raises(InvalidInput, match="at most 200"):
            await one.submit(job(), "t" * MAX_TOKEN + "1")


async def test_the_token_of_a_version_that_is_forgotten_can_be_used_again(bus: Bus) -> None:
    async with orchestrator(bus) as one:
        name, _ = await one.submit(job("a"), "t1")
        for version in range(2, 5):
            await one.submit(job("a", priority=version), f"t{version}")
        await one.store.delete(subjects.spec_record(JobId(name), 3))  # which has what is known of version 2
        assert await one.submit(job("a", priority=9), "t2") == (name, 5)
        assert one.model.names.named("default", "a") == name


@pytest.mark.parametrize("killed", [False, True], ids=["released", "left behind"])
async def test_the_token_of_a_deleted_job_keeps_no_name(bus: Bus, *, killed: bool) -> None:
    async with orchestrator(bus) as one:
        gone = JobId((await one.submit(job("a"), "t"))[0])
        for key in (subjects.name_record("default", "a"), subjects.job_record(gone)):
            await one.store.delete(key)
        with pytest.raises(JobDeleted):
            await one.submit(job("b"), "t")
        if killed:  # after the claim, before the answer
            await one.store.create_again(subjects.name_record("default", "b"), NameRecord(job_id=gone))
        assert await one.submit(job("b"), "u") == (new_job_id("u", "default"), 1)
