"""What other S3 servers than AWS were seen to say, before a real one: no finished result is lost by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from compute.upload import NotSent, Sent, Upload
from orchestrator.grants import FAILURES_BEFORE_LOOK
from orchestrator.s3_problems import ProblemCode
from shared.messages import BeginUpload
from tests.faulty_s3 import DIALECTS, INTERNAL, RADOSGW, Dialect, Fault, Kind
from tests.integration.publishing import Publishing, publishing
from tests.servers import Keys, S3Server
from tests.waiting import eventually

URL_SECONDS = 200.0
GONE = Keys("AKGONE", "gone")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.grants.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("compute.grants.LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("orchestrator.s3_probe.SPACING_SECONDS", 0.05)
    monkeypatch.setattr("orchestrator.s3_credentials.SPACING_SECONDS", 0.0)


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


@pytest.fixture(params=[1, 12], ids=["one-put", "parts"])
def mebibytes(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


@pytest.fixture(params=["documented-policy", "may-list-parts"])
def user(request: pytest.FixtureRequest, s3_server: S3Server) -> Keys:
    return s3_server.orchestrator if request.param == "documented-policy" else s3_server.admin


def has_written_a_spare_part(made: Publishing) -> bool:
    """By a request of the orchestrator's own, to learn whether the upload is there."""
    return any(seen.part == 4 for seen in made.s3.of(Kind.PART))


@asynccontextmanager
async def uploading(made: Publishing) -> AsyncIterator[tuple[Upload, "asyncio.Task[Sent | NotSent]"]]:
    upload = made.upload(await made.first_grant())
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        yield upload, group.create_task(upload.run(), name="upload")


async def test_a_result_waits_for_a_clock_that_is_wrong(
    s3_server: S3Server, tmp_path: Path, dialect: Dialect, mebibytes: int
) -> None:
    """Every URL is dead when it is signed."""
    async with publishing(s3_server, tmp_path, url_seconds=URL_SECONDS) as made:
        made.fill(mebibytes=mebibytes)
        made.s3.dialect, made.s3.clock_ahead_seconds = dialect, 300
        async with uploading(made) as (upload, task):
            await eventually(lambda: "behind that of S3" in upload.last_problem)
            assert not task.done()
            made.s3.clock_ahead_seconds = 0
        end = task.result()
        assert isinstance(end, Sent)
        await made.check(end)


async def test_a_wrong_clock_is_told_whatever_the_service_says(
    s3_server: S3Server, tmp_path: Path, dialect: Dialect
) -> None:
    async with publishing(s3_server, tmp_path, url_seconds=URL_SECONDS) as made:
        made.s3.dialect, made.s3.clock_ahead_seconds = dialect, 300
        problem = (await made.bucket.health.check()).problem
    assert problem is not None
    assert problem.code is ProblemCode.CLOCK_SKEWED
    assert "The clock of this machine is wrong: it is 300 s behind that of S3." in problem.message
    assert "exist" not in str(problem)
    assert "Region" not in problem.hint


async def test_a_result_waits_for_keys_that_were_exchanged(
    s3_server: S3Server, tmp_path: Path, dialect: Dialect, mebibytes: int
) -> None:
    """The service does not know the old ones any more, and the orchestrator is given the new ones later."""
    keys = [s3_server.orchestrator]
    async with publishing(s3_server, tmp_path, keys=keys) as made:
        made.fill(mebibytes=mebibytes)
        made.s3.dialect = dialect
        keys[:] = [GONE]
        made.bucket.invalidate_credentials()
        async with uploading(made) as (upload, task):
            await eventually(
                lambda: "S3 refuses uploads" in upload.last_problem or "S3 would not" in upload.last_problem
            )
            assert not task.done()
            keys[:] = [s3_server.orchestrator]
        end = task.result()
        assert isinstance(end, Sent)
        await made.check(end)


async def test_an_upload_that_was_aborted_begins_anew_where_its_completion_is_in_progress_for_ever(
    s3_server: S3Server, tmp_path: Path, user: Keys
) -> None:
    async with publishing(s3_server, tmp_path, keys=[user]) as made:
        made.fill(mebibytes=12)
        made.s3.dialect = RADOSGW
        go_on = asyncio.Event()
        made.s3.plan(Kind.COMPLETE, Fault(hold=go_on))
        async with uploading(made) as (_, task):
            await eventually(lambda: made.s3.of(Kind.COMPLETE))
            await asyncio.to_thread(made.abort_uploads)
            go_on.set()
        end = task.result()
        assert isinstance(end, Sent)
        await made.check(end)
        assert made.requests(BeginUpload) == 2
        assert has_written_a_spare_part(made) == (user is s3_server.orchestrator)


async def test_an_upload_that_is_there_is_not_given_up_however_often_its_completion_fails(
    s3_server: S3Server, tmp_path: Path, user: Keys
) -> None:
    async with publishing(s3_server, tmp_path, keys=[user]) as made:
        made.fill(mebibytes=12)
        made.s3.plan(Kind.COMPLETE, *[INTERNAL] * 2 * (2 * FAILURES_BEFORE_LOOK + 1))  # botocore tries twice
        await made.published()
        assert (made.requests(BeginUpload), made.s3.planned) == (1, 0)
        assert has_written_a_spare_part(made) == (user is s3_server.orchestrator)


async def test_many_refused_nodes_cost_one_request_at_a_time(s3_server: S3Server, tmp_path: Path) -> None:
    async with publishing(s3_server, tmp_path) as made:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(made.bucket.health.confirm(), name=f"node {number}")
        assert len(made.s3.of(Kind.OTHER)) <= 2 * 3
