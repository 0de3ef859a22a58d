"""What other S3 servers than AWS were seen to say, before a real one: no finished result is lost by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.upload.upload import NotSent, Sent, Upload
from orchestrator.dispatch.grants import FAILURES_BEFORE_LOOK
from orchestrator.s3.probe import BODY, BucketHealth
from orchestrator.s3.problems import ProblemCode
from shared.jobs.namespaces import DEFAULT_NAMESPACE
from shared.protocol.messages import BeginUpload
from tests.faulty_s3 import DIALECTS, INTERNAL, PASS, RADOSGW, SLOW_DOWN, Dialect, Fault, Kind, answer
from tests.integration.publishing import Publishing, publishing
from tests.servers import Keys, S3Server
from tests.waiting import eventually

URL_SECONDS = 200.0
PROBE = "results/.tarpon-probe"
GONE = Keys("AKGONE", "gone")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.grants.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("compute.upload.grants.LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("orchestrator.s3.probe.SPACING_SECONDS", 0.05)
    monkeypatch.setattr("orchestrator.s3.credentials.rotation.SPACING_SECONDS", 0.0)


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


def delete(made: Publishing, path: str) -> None:
    """What is completed now meets no object, and so it is as if it had replaced it."""
    bucket = made.bucket.location.bucket
    made.client.delete_object(Bucket=bucket, Key=path.removeprefix(f"/{bucket}/"))


def forget_completions(made: Publishing) -> None:
    made.bucket.completes_create_only = None


def uploads_of_probe(made: Publishing) -> list[str]:
    listed = made.client.list_multipart_uploads(Bucket=made.bucket.location.bucket)
    return [each["UploadId"] for each in listed.get("Uploads", []) if each["Key"] == PROBE]


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
        made.bucket.credentials.invalidate()
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
        assert has_written_a_spare_part(made), "neither a list that is refused nor one without the key tells"


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


async def test_create_only_is_found_out_for_one_put_and_for_the_end_of_an_upload_in_parts(
    s3_server: S3Server, tmp_path: Path
) -> None:
    async with publishing(s3_server, tmp_path) as made:
        assert (made.bucket.health.create_only, made.bucket.completes_create_only) == (True, True)
        kept = await asyncio.to_thread(made.stored, PROBE)
        assert kept == BODY
        assert await asyncio.to_thread(uploads_of_probe, made) == []


async def test_whether_checksums_of_parts_are_compared_is_found_out(s3_server: S3Server, tmp_path: Path) -> None:
    async with publishing(s3_server, tmp_path) as made:
        assert made.bucket.compares_checksums


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        ([(Kind.BEGIN, answer(400, "InvalidRequest"))], False),
        ([(Kind.PART, answer(501, "NotImplemented"))], False),
        ([(Kind.PART, PASS), (Kind.PART, answer(400, "BadDigest"))], False),
        ([(Kind.PART, Fault(status=200))], False),
        ([(Kind.COMPLETE, answer(400, "InvalidRequest"))], False),
        ([(Kind.PART, PASS), (Kind.PART, INTERNAL)], None),
    ],
    ids=["begins-none", "knows-none", "refuses-all", "takes-all", "completes-none", "fails"],
)
async def test_a_service_that_does_not_compare_checksums_gets_md5s(
    s3_server: S3Server, tmp_path: Path, faults: list[tuple[Kind, Fault]], *, found: bool | None
) -> None:
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        made.bucket.compares_checksums = None
        for kind, fault in faults:
            made.s3.plan(kind, fault)
        await made.bucket.health.check()
        assert made.bucket.compares_checksums is found
        assert await asyncio.to_thread(made.stored, PROBE) == BODY
        assert await asyncio.to_thread(uploads_of_probe, made) == []


async def test_a_service_that_replaces_objects_at_the_end_of_an_upload_in_parts_is_found_out(
    s3_server: S3Server, tmp_path: Path
) -> None:
    """As radosgw and gofakes3, which honour the condition on a PUT."""
    async with publishing(s3_server, tmp_path) as made:
        forget_completions(made)
        made.s3.before_completion = partial(delete, made)
        await made.bucket.health.check()
        assert made.bucket.health.create_only
        assert made.bucket.completes_create_only is False
        assert await asyncio.to_thread(made.stored, PROBE) == BODY
        assert await asyncio.to_thread(uploads_of_probe, made) == []


async def test_no_object_is_replaced_at_the_end_of_an_upload_where_the_service_would_do_it(
    s3_server: S3Server, tmp_path: Path
) -> None:
    async with publishing(s3_server, tmp_path) as made:
        made.fill(mebibytes=12)
        forget_completions(made)
        made.s3.before_completion = partial(delete, made)
        await made.bucket.health.check()
        bucket, key = made.bucket.location.bucket, made.object_key
        await asyncio.to_thread(made.client.put_object, Bucket=bucket, Key=key, Body=b"another one")
        _, end = await made.publish()
        assert isinstance(end, Sent)
        assert await asyncio.to_thread(made.stored) == b"another one"
        await eventually(lambda: made.s3.of(Kind.ABORT))


@pytest.mark.parametrize("fault", [answer(501, "NotImplemented"), answer(403, "AccessDenied"), answer(400, "Odd")])
async def test_a_service_that_begins_no_upload_for_the_probe_is_taken_for_one_that_replaces(
    s3_server: S3Server, tmp_path: Path, fault: Fault
) -> None:
    async with publishing(s3_server, tmp_path) as made:
        forget_completions(made)
        made.s3.plan(Kind.BEGIN, fault)
        assert (await made.bucket.health.check()).ready
        assert made.bucket.completes_create_only is False


@pytest.mark.parametrize("kind", [Kind.BEGIN, Kind.PART, Kind.COMPLETE])
async def test_what_a_failing_service_does_at_the_end_of_an_upload_is_found_out_when_it_is_needed(
    s3_server: S3Server, tmp_path: Path, kind: Kind
) -> None:
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        made.fill(mebibytes=12)
        forget_completions(made)
        made.s3.plan(kind, INTERNAL)
        outcome = await made.bucket.health.check()
        assert (outcome.ready, made.bucket.completes_create_only) == (True, None)
        assert await asyncio.to_thread(uploads_of_probe, made) == []
        await made.published()
        assert made.bucket.completes_create_only


AS_FILES = [
    answer(409, "ObjectParentIsFile", "Object parent already exists as a file."),
    answer(400, "InvalidRequest", 'Directory "results" is the name of an object'),
    answer(500, "InternalError", "We encountered an internal error."),
]


@pytest.mark.parametrize("fault", AS_FILES, ids=lambda fault: str(fault.status))
async def test_an_object_in_the_place_of_the_folder_is_told_with_what_to_change(
    s3_server: S3Server, tmp_path: Path, fault: Fault
) -> None:
    """SeaweedFS has both; versitygw, rclone and JuiceFS, which keep files, have one of them."""
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        bucket = made.bucket.location.bucket
        await asyncio.to_thread(made.client.put_object, Bucket=bucket, Key="results", Body=b"in the way")
        made.s3.plan(Kind.OTHER, fault)
        problem = (await made.bucket.health.check()).problem
        await asyncio.to_thread(made.client.delete_object, Bucket=bucket, Key="results")
        assert problem is not None
        assert problem.code is ProblemCode.KEY_OCCUPIED
        assert "has an object named 'results'" in problem.message
        assert problem.hint == "Remove or rename that object, or set Key to another one."


async def test_a_conflict_names_the_object_also_where_it_may_not_be_seen(s3_server: S3Server, tmp_path: Path) -> None:
    async with publishing(s3_server, tmp_path) as made:
        made.s3.plan(Kind.OTHER, AS_FILES[0])
        problem = (await made.bucket.health.check()).problem
        assert problem is not None
        assert problem.code is ProblemCode.KEY_OCCUPIED
        assert "named 'results'" in problem.hint


@pytest.mark.parametrize("fault", [INTERNAL, SLOW_DOWN, answer(409, "OperationAborted"), answer(400, "Odd")])
async def test_a_failure_without_an_object_in_the_way_is_told_as_what_it_is(
    s3_server: S3Server, tmp_path: Path, fault: Fault
) -> None:
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        made.s3.plan(Kind.OTHER, fault)
        problem = (await made.bucket.health.check()).problem
        assert problem is not None
        assert problem.code in {ProblemCode.SERVICE_FAILING, ProblemCode.REQUEST_REFUSED}


async def test_a_service_without_room_is_told(s3_server: S3Server, tmp_path: Path) -> None:
    async with publishing(s3_server, tmp_path) as made:
        made.s3.plan(Kind.OTHER, answer(507, "XMinioStorageFull"))
        problem = (await made.bucket.health.check()).problem
        assert problem is not None
        assert "has no room." in problem.message
        assert "nothing has to be changed" not in problem.hint


async def test_a_wrong_clock_with_which_requests_go_well_is_logged(
    s3_server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with publishing(s3_server, tmp_path) as made:
        made.s3.clock_ahead_seconds = 300
        again = BucketHealth(made.bucket._probe, "the bucket", interval_seconds=1)
        assert (await again.check()).ready
    (warning,) = (each.message for each in caplog.records if "clock" in each.message)
    assert "it is 300 s behind that of S3" in warning


async def test_keys_for_a_bucket_of_earlier_settings_are_proved_there(s3_server: S3Server, tmp_path: Path) -> None:
    """The orchestrator may write below the earlier Key alone."""
    async with publishing(s3_server, tmp_path) as made:
        location = made.locations.locate(DEFAULT_NAMESPACE, made.record.job_id, made.execution)
        earlier = replace(location, public_endpoint=made.s3.endpoint)
        before = len(made.s3.of(Kind.OTHER))
        assert await (await made.locations.bucket_of(earlier)).problem() is None
        urls = [seen.url for seen in made.s3.of(Kind.OTHER)[before:]]
        assert urls
        assert all(f"/{made.bucket.location.bucket}/{PROBE}?" in url for url in urls)
        made.s3.plan(Kind.OTHER, answer(403, "AccessDenied"))
        problem = await (await made.locations.bucket_of(earlier)).problem()
        assert problem is not None
        assert problem.code is ProblemCode.ACCESS_DENIED
