"""Several jobs that are submitted together: all of them are stored or none, and what is wrong with each is told."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import msgspec
import pytest
from msgspec.structs import replace

from orchestrator.jobs.idempotency import IdempotencyTokenUsed
from orchestrator.rules.records import OF_NEEDS
from shared.errors import InvalidJob, JobUnchanged, RevisionConflict
from shared.jobs.several import MAX_JOBS
from shared.jobs.spec import Job
from shared.messaging.acknowledgements import EXPECTED
from shared.protocol import subjects
from tests.builders import new_task
from tests.integration.desk import Desk, desk_over
from tests.nats_bus import Bus


def job(name: str = "", *needs: str, engine: str = "noop", **more: object) -> Job:
    return replace(Job(name=name, type="batch", tasks=(new_task(engine=engine),), needs=needs), **more)


CHAIN = (job("collect", "train"), job("train", "prepare"), job("prepare"))


@pytest.fixture
async def desk(bus: Bus) -> AsyncIterator[Desk]:
    async with desk_over(bus.connection) as made:
        yield made


async def test_jobs_are_stored_together_with_the_versions_that_they_need(desk: Desk) -> None:
    (collect, _), (train, _), (prepare, _) = await desk.submit(*CHAIN)
    records = {entry.job.name: entry.job for entry in desk.model.jobs.values()}
    assert [(each.job, each.version) for each in records["collect"].needs] == [(train, 1)]
    assert [(each.job, each.version) for each in records["train"].needs] == [(prepare, 1)]
    assert records["collect"].schema == OF_NEEDS, "so that an older program leaves it alone"
    assert records["prepare"].schema == 1, "and takes this one as ever"
    stored = sorted(desk.model.jobs, key=lambda each: desk.model.revision_of(subjects.job_record(each)))
    assert stored == [prepare, train, collect], "what is needed comes first"


async def test_jobs_that_are_submitted_again_get_their_next_versions_together(desk: Desk, bus: Bus) -> None:
    first = await desk.submit(*CHAIN)
    with pytest.raises(JobUnchanged):
        await desk.submit(*CHAIN)
    changed = (*CHAIN[:2], replace(CHAIN[2], priority=3))
    again = await desk.submit(*changed)
    assert [job for job, _ in again] == [job for job, _ in first]
    assert [version for _, version in again] == [2, 2, 2]
    async with desk_over(bus.connection) as other:
        entry = other.model.jobs[other.model.names.find("train").id]
        assert [(each.job, each.version) for each in entry.needs] == [(again[2][0], 2)], "as others read it, too"


async def test_a_repeated_submission_meets_its_first_try_at_any_orchestrator(desk: Desk, bus: Bus) -> None:
    first = await desk.submit(*CHAIN, token="t")
    assert await desk.submit(*CHAIN, token="t") == first
    async with desk_over(bus.connection) as other:
        assert await other.submit(*CHAIN, token="t") == first
    with pytest.raises(IdempotencyTokenUsed):
        await desk.submit(*CHAIN[1:], token="t")
    assert len(desk.model.jobs) == 3


async def test_submissions_of_the_same_jobs_at_once_leave_whole_chains(bus: Bus) -> None:
    async with desk_over(bus.connection) as one, desk_over(bus.connection) as other:
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(each.submit(*CHAIN, force=True), name="a try") for each in (one, other) * 4]
        versions = sorted(made.result()[0][1] for made in tries)
        assert versions == list(range(1, 9))
        for made in tries:
            assert len({version for _, version in made.result()}) == 1, "all jobs of a try have the same version"


async def test_where_one_record_has_changed_meanwhile_none_is_stored(desk: Desk) -> None:
    await desk.submit(job("prepare"))
    entry = desk.model.jobs[desk.model.names.find("prepare").id]
    stale = desk.model.revision_of(entry.job.key)
    await desk.submissions.stop(entry, "")
    new = replace(entry.job, id="j-new", name="new")
    with pytest.raises(RevisionConflict):
        await desk.store.write_together([(new.key, new, 0), (entry.job.key, entry.job, stale)])
    await desk.store.catch_up()
    assert len(desk.model.jobs) == 1


async def test_a_submission_that_is_interrupted_leaves_nothing_behind(bus: Bus) -> None:
    """As by a kill before the last of its messages, which decides about all of them."""
    async with desk_over(bus.connection) as desk:
        await desk.submit(job("first"), job("second", "first"))
        of_whom = [entry.job for entry in desk.model.jobs.values()]
        for number, record in enumerate(of_whom, 1):
            half = replace(record, id=f"j-half-{number}", name=f"half-{number}")
            headers = {"Nats-Batch-Id": "killed", "Nats-Batch-Sequence": str(number), EXPECTED: "0"}
            subject = f"$KV.{subjects.STATE_BUCKET}.{half.key}"
            await bus.connection.client.publish(subject, msgspec.json.encode(half), headers=headers)
        later = await desk.submit(job("third", "second"), job("fourth", "third"))
    async with desk_over(bus.connection) as other:
        names = [entry.job.name for entry in other.model.jobs.values()]
        assert sorted(names) == ["first", "fourth", "second", "third"]
        assert [version for _, version in later] == [1, 1]


# ---- bad input ------------------------------------------------------------------------------------------------------


async def test_a_loop_is_refused_and_told_as_it_goes(desk: Desk) -> None:
    found = await desk.problems(job("a", "b"), job("b", "c"), job("c", "a"))
    assert len(found) == 1
    assert found[0].startswith("They need each other in a loop, so that none could begin: ")
    names = found[0].rpartition(": ")[2].rstrip(".").split(" -> ")
    assert names[0] == names[-1]
    needs = {"a": "b", "b": "c", "c": "a"}
    assert all(needs[one] == other for one, other in pairwise(names))


async def test_a_job_that_needs_itself_is_refused(desk: Desk) -> None:
    found = await desk.problems(job("prepare"), job("train", "train"))
    assert "job 2 (train): Needs[0]: the job cannot need itself." in found


async def test_a_need_of_an_unknown_name_is_refused(desk: Desk) -> None:
    told = "Needs[0]: there is no job 'prepaer', in this submission or in its namespace."
    assert await desk.problems(job("prepare"), job("train", "prepaer")) == (
        f"job 2 (train): {told} Did you mean 'prepare'?",
    )
    with pytest.raises(InvalidJob) as caught:
        await desk.submissions.submit(job("train", "prepaer"))
    assert caught.value.problems == (told,)
    assert not desk.model.jobs


async def test_a_job_of_another_namespace_is_not_known_to_what_needs_it(desk: Desk) -> None:
    ((other, _),) = await desk.submit(job("prepare", namespace="other"))
    for called in ("prepare", other):
        with pytest.raises(InvalidJob) as caught:
            await desk.submissions.submit(job("train", called))
        assert f"there is no job {called!r}" in caught.value.message
    both = (job("prepare", namespace="another"), job("train", "prepare"))
    with pytest.raises(InvalidJob, match="job 2 \\(train\\): Needs\\[0\\]: there is no job 'prepare'"):
        await desk.submit(*both)


async def test_jobs_of_one_name_are_refused(desk: Desk) -> None:
    assert await desk.problems(job("a"), job("b"), job("a")) == ("job 3 (a): job 1 has the same name.",)


async def test_all_that_is_wrong_is_told_with_the_job_that_has_it(desk: Desk) -> None:
    found = await desk.problems(job("good"), job("bad", "good", "good", priority=1, count=0), job("worse", count=-1))
    assert found == (
        "job 2 (bad): Count is 0; it must be between 1 and 10,000.",
        "job 2 (bad): Needs[1] 'good' is there twice.",
        "job 3 (worse): Count is -1; it must be between 1 and 10,000.",
    )


async def test_no_more_jobs_are_taken_together_than_are_stored_together(desk: Desk) -> None:
    assert await desk.problems() == ("There are 0 jobs; between 1 and 256 are possible together.",)
    assert await desk.problems(*(job() for _ in range(MAX_JOBS + 1)))
    assert len(await desk.submit(*(job(f"n{number}") for number in range(MAX_JOBS)))) == MAX_JOBS
