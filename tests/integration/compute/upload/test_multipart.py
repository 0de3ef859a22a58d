"""A result of several parts on its way to a real S3: in parallel, within bounds, and resumed where it was left."""

import asyncio
import base64
import contextlib
import io
import itertools
import logging
import os
import tarfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from compute.archive.levels import Levels
from compute.upload.journal import FILE, UploadJournal
from compute.upload.multipart import PARTS_IN_FLIGHT
from compute.upload.put import Stored, put
from compute.upload.shared_limits import PARTS_IN_MEMORY
from compute.upload.upload import NotSent, Sent, Upload
from orchestrator.dispatch.abandoned_uploads import TIMES, AbandonedUploads
from shared.ids import NodeId
from shared.jobs.namespaces import DEFAULT_NAMESPACE
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol.messages import (
    BeginUpload,
    CompleteUpload,
    IndexGrantRequest,
    PartsGiven,
    PartsRequest,
    RequestRefused,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    UploadRequest,
)
from shared.protocol.s3_errors import S3Failure
from shared.runtime.aio import background
from tests.faulty_s3 import LOSE_ANSWER, Fault, Kind, answer
from tests.integration.publishing import PART_BYTES, Publishing, publishing
from tests.servers import Keys, S3Server
from tests.waiting import eventually


@pytest.fixture
async def large(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """A result of five parts."""
    async with publishing(s3_server, tmp_path) as made:
        made.fill(mebibytes=22, files=11)
        yield made


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.grants.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("orchestrator.dispatch.abandoned_uploads.RETRY_SECONDS", 0.01)


@contextlib.asynccontextmanager
async def begun(
    large: Publishing, *held: int
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Task[Sent | NotSent], Upload]]:
    """An upload whose parts are stored but for those that are `held` until the event is set; it may be cancelled."""
    release = asyncio.Event()
    for part in held:
        large.s3.plan(Kind.PART, Fault(hold=release), part=part)
    upload = large.upload()
    others = 5 - len(held)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(upload.run(), name="upload")
        await eventually(lambda: sum(seen.status == 200 for seen in large.s3.of(Kind.PART)) == others)
        journal = UploadJournal(large.scratch)
        await eventually(lambda: (read := journal.read()) is not None and len(read.parts) == others)
        yield release, task, upload


async def interrupted(large: Publishing, *held: int) -> None:
    """As when the node is killed: the journal is what it is, and the held parts are not there."""
    async with begun(large, *held) as (_, task, _):
        task.cancel()
    large.s3.seen.clear()


# ---- the ordinary way -------------------------------------------------------------------------------------------


async def test_the_object_is_what_was_packed_and_the_index_is_beside_it(large: Publishing) -> None:
    _, end = await large.published()
    assert (end.facts.parts, end.facts.md5[-2:]) == (5, "-5")
    assert end.facts.index_bytes > 0
    assert [seen.body_bytes for seen in sorted(large.s3.of(Kind.PART), key=lambda seen: seen.part)][:4] == [
        PART_BYTES
    ] * 4
    assert large.s3.body_bytes(Kind.PART) == end.facts.size_bytes
    assert large.uploads() == []


async def test_a_result_that_just_fits_in_a_part_takes_one_put(s3_server: S3Server, tmp_path: Path) -> None:
    async with publishing(s3_server, tmp_path) as made:
        made.fill(mebibytes=4)
        _, end = await made.published()
        made.uploading.part_bytes = end.facts.size_bytes
        assert (end.facts.parts, made.asked) == (1, [IndexGrantRequest(execution_id=made.execution)])


async def test_several_parts_are_on_their_way_and_no_more_than_that(large: Publishing) -> None:
    release = asyncio.Event()
    large.s3.plan(Kind.PART, *[Fault(hold=release)] * 5)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(large.upload().run(), name="upload")
        await eventually(lambda: large.s3.in_flight == PARTS_IN_FLIGHT)
        await eventually(lambda: large.uploading._buffers._value == PARTS_IN_MEMORY - PARTS_IN_FLIGHT - 1)
        assert large.s3.in_flight == PARTS_IN_FLIGHT
        release.set()
    end = task.result()
    assert isinstance(end, Sent)
    await large.check(end)
    assert large.uploading._buffers._value == PARTS_IN_MEMORY


async def test_how_far_an_upload_is_can_be_told_while_it_goes_on(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("compute.upload.upload", "compute.upload.meter"):
        monkeypatch.setattr(f"{module}.TOLD_AFTER_SECONDS", 0.0)

    def told() -> tuple[int, int]:
        how_far = upload.meter.how_far()
        return (how_far.done_bytes, how_far.total_bytes) if how_far is not None else (0, 0)

    async with begun(large, 4) as (release, publishing_it, upload):
        await eventually(lambda: told()[0] >= 16 << 20 and told()[1] == 22 << 20, within=20)
        release.set()
        assert isinstance(await publishing_it, Sent)
    assert told() == (22 << 20, 22 << 20)


async def test_what_an_earlier_process_sent_counts_too(large: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.meter.TOLD_AFTER_SECONDS", 0.0)
    async with begun(large, 5) as (_, publishing_it, _):
        publishing_it.cancel()
    upload, end = await large.publish()
    assert isinstance(end, Sent)
    how_far = upload.meter.how_far()
    assert how_far is not None
    assert how_far.done_bytes == 22 << 20


async def test_urls_are_asked_for_some_at_a_time_and_before_they_are_needed(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.grants.PARTS_AT_ONCE", 3)
    monkeypatch.setattr("compute.upload.grants.URLS_AHEAD", 1)
    large.bucket.compares_checksums = False
    await large.published()
    requests = [each for each in large.asked if isinstance(each, PartsRequest)]
    assert [(each.first, each.count) for each in requests] == [(1, 3), (4, 3)]


async def test_an_orchestrator_may_give_fewer_urls_than_were_asked_for(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.dispatch.grants.MAX_URLS", 2)
    large.bucket.compares_checksums = False
    await large.published()
    requests = [each for each in large.asked if isinstance(each, PartsRequest)]
    assert {1, 3, 5} <= {each.first for each in requests}, "two URLs at a time"


async def test_all_uploads_of_a_node_share_one_bound_on_memory(s3_server: S3Server, tmp_path: Path) -> None:
    release = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(publishing(s3_server, tmp_path / str(each))) for each in range(3)]
        for each in made:
            each.fill(mebibytes=22, files=11)
            each.uploading = made[0].uploading
            each.s3.plan(Kind.PART, *[Fault(hold=release)] * 5)
        uploads = [each.upload() for each in made]
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            tasks = [group.create_task(upload.run(), name="upload") for upload in uploads]
            await eventually(lambda: made[0].uploading._buffers._value == 0)
            await eventually(lambda: sum(each.s3.in_flight for each in made) >= PARTS_IN_MEMORY - len(made))
            assert sum(each.s3.in_flight for each in made) <= PARTS_IN_MEMORY
            release.set()
        for each, task in zip(made, tasks, strict=True):
            end = task.result()
            assert isinstance(end, Sent)
            await each.check(end)
        assert made[0].uploading._buffers._value == PARTS_IN_MEMORY


async def test_a_result_that_grows_over_the_limit_is_told_before_all_of_it_is_sent(large: Publishing) -> None:
    large.uploading.limit_bytes = 3 * PART_BYTES
    _, end = await large.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_TOO_LARGE
    assert large.s3.body_bytes(Kind.PART) <= 3 * PART_BYTES
    assert large.uploading._buffers._value == PARTS_IN_MEMORY


async def test_a_result_that_is_not_whole_is_never_completed_where_the_job_says_so(large: Publishing) -> None:
    _, end = await large.publish(must_be_whole=True, lacking=1)
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_NOT_WHOLE
    assert large.s3.body_bytes(Kind.PART) > PART_BYTES
    assert large.s3.of(Kind.COMPLETE) == []


async def test_a_full_disk_of_the_node_does_not_keep_a_result_from_being_published(
    large: Publishing, caplog: pytest.LogCaptureFixture
) -> None:
    (large.scratch / f"{FILE}.new").symlink_to("/dev/full")
    _, end = await large.published()
    assert end.facts.parts == 5
    assert UploadJournal(large.scratch).read() is None
    assert "cannot be noted" in caplog.text


async def test_where_the_index_finds_no_room_the_result_is_published_without_one(
    large: Publishing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("compute.archive.line_file.IN_MEMORY_BYTES", 10)
    large.scratch = large.scratch / "absent"
    _, end = await large.published()
    assert (end.facts.parts, end.facts.index_bytes, end.facts.index_sha256) == (5, 0, "")
    assert large.s3.of(Kind.INDEX) == []
    assert "has no index: the disk of the node would not take it: No such file or directory" in caplog.text


# ---- checksums -------------------------------------------------------------------------------------------------


async def test_s3_compares_the_crc32_of_each_part_and_the_node_computes_no_md5(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[memoryview] = []
    monkeypatch.setattr("compute.archive.stream._md5", asked.append)
    _, end = await large.published()
    assert asked == []
    assert end.facts.md5.endswith("-5")
    for part in large.s3.of(Kind.PART):
        assert len(part.headers["x-amz-checksum-crc32"]) == 8
        assert "content-md5" not in part.headers


async def test_a_url_of_a_part_is_good_for_the_bytes_of_its_checksum_alone(large: Publishing) -> None:
    begun = await large.ask(BeginUpload(execution_id=large.execution, checksums=True))
    assert isinstance(begun, UploadBegun)
    crc32 = base64.b64encode(zlib.crc32(b"right").to_bytes(4, "big")).decode()
    request = PartsRequest(execution_id=large.execution, upload_id=begun.upload_id, first=1, count=1, crc32=(crc32,))
    given = await large.ask(request)
    assert isinstance(given, PartsGiven)
    (url,) = given.parts
    refused = await put(large.uploading.http, url, memoryview(b"other"))
    assert isinstance(refused, S3Failure)
    assert refused.code == "BadDigest"
    assert isinstance(await put(large.uploading.http, url, memoryview(b"right")), Stored)


@pytest.mark.parametrize("crc32", ["", "AAAA", "AAAAAA==\r\nx: y", "AAAAAAA="])
async def test_what_is_no_checksum_becomes_no_header(large: Publishing, crc32: str) -> None:
    begun = await large.ask(BeginUpload(execution_id=large.execution, checksums=True))
    assert isinstance(begun, UploadBegun)
    request = PartsRequest(execution_id=large.execution, upload_id=begun.upload_id, first=1, count=1, crc32=(crc32,))
    answer = await large.ask(request)
    assert isinstance(answer, RequestRefused)
    assert "A checksum makes no sense" in answer.message


async def test_where_the_service_compares_no_checksums_parts_have_an_md5(large: Publishing) -> None:
    large.bucket.compares_checksums = False
    await large.published()
    assert all(len(part.headers["content-md5"]) == 24 for part in large.s3.of(Kind.PART))


async def test_an_orchestrator_of_an_earlier_version_knows_no_checksums(large: Publishing) -> None:
    def understood(request: UploadRequest) -> UploadRequest:
        match request:
            case BeginUpload():
                return replace(request, checksums=False)
            case PartsRequest() | CompleteUpload():
                assert not request.crc32
            case _:
                pass
        return request

    large.understood = understood
    await large.published()
    assert all("content-md5" in part.headers for part in large.s3.of(Kind.PART))


async def test_an_orchestrator_of_an_earlier_version_that_takes_over_has_the_upload_begun_anew(
    large: Publishing,
) -> None:
    await interrupted(large, 2)
    assert large.record.upload_has_checksums

    def understood(request: UploadRequest) -> UploadRequest:
        match request:
            case BeginUpload():
                return replace(request, checksums=False)
            case PartsRequest() | CompleteUpload():
                return replace(request, crc32=())
            case _:
                pass
        return request

    large.understood = understood
    large.store.feed(large.key, replace(large.record, upload_has_checksums=False))  # it does not write the field
    await large.published()
    assert large.s3.body_bytes(Kind.PART) > 4 * PART_BYTES


async def test_a_node_of_an_earlier_version_begins_anew_where_it_finds_checksums(large: Publishing) -> None:
    first = await large.ask(BeginUpload(execution_id=large.execution, checksums=True))
    assert isinstance(first, UploadBegun)
    assert first.checksums
    asked = PartsRequest(execution_id=large.execution, upload_id=first.upload_id, first=1, count=16)
    assert isinstance(await large.ask(asked), UploadLost)
    second = await large.ask(BeginUpload(execution_id=large.execution))
    assert isinstance(second, UploadBegun)
    assert (second.checksums, second.upload_id == first.upload_id) == (False, False)
    assert isinstance(await large.ask(replace(asked, upload_id=second.upload_id)), PartsGiven)


async def test_a_journal_of_an_earlier_version_is_gone_on_with(large: Publishing) -> None:
    large.bucket.compares_checksums = large.uploading.adapts = False
    await interrupted(large, 2, 5)
    first, *parts = [msgspec.json.decode(line) for line in (large.scratch / FILE).read_bytes().splitlines()]
    for part in parts:
        del part["sha256"], part["blocks"]
    (large.scratch / FILE).write_bytes(msgspec.json.Encoder().encode_lines([first, *parts]))
    large.bucket.compares_checksums = large.uploading.adapts = True
    await large.published()
    assert {seen.part for seen in large.s3.of(Kind.PART)} == {2, 5}


# ---- interrupted, and gone on with ------------------------------------------------------------------------------


async def test_a_cancelled_upload_leaves_no_connection_no_memory_and_no_open_file(large: Publishing) -> None:
    before = {link.name for link in Path("/proc/self/fd").iterdir() if "result" in _target(link)}
    await interrupted(large, 2, 4)
    assert isinstance(large.uploading.http.connector, aiohttp.TCPConnector)
    assert not large.uploading.http.connector._acquired
    assert large.uploading._buffers._value == PARTS_IN_MEMORY
    assert {link.name for link in Path("/proc/self/fd").iterdir() if "result" in _target(link)} == before
    assert sorted(path.name for path in large.scratch.iterdir()) == ["result", FILE]


def _target(link: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return str(link.readlink())
    return ""


async def test_after_an_interruption_the_missing_parts_alone_are_sent(large: Publishing) -> None:
    await interrupted(large, 2, 5)
    _, end = await large.published()
    assert {seen.part for seen in large.s3.of(Kind.PART)} == {2, 5}
    assert large.s3.body_bytes(Kind.PART) == end.facts.size_bytes - 3 * PART_BYTES
    assert large.requests(BeginUpload) == 1


async def test_after_an_interruption_each_block_has_the_level_that_it_had(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows from the clock is another level each time, so that other bytes would come out."""
    for path in large.root.iterdir():
        path.write_bytes(base64.b64encode(path.read_bytes())[: path.stat().st_size])  # compresses by a quarter
    monkeypatch.setattr("compute.archive.stream.BLOCKS_AHEAD", 0)
    ladder = itertools.cycle([2] * 5 + [3] * 5 + [6] * 5 + [9] * 5)
    monkeypatch.setattr(Levels, "_wanted", lambda *_: next(ladder))
    large.s3.plan(Kind.PART, Fault(hold=asyncio.Event()), part=2)
    journal = UploadJournal(large.scratch)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(large.upload().run(), name="upload")
        await eventually(lambda: (read := journal.read()) and {1, 3, 4} <= read.parts.keys(), within=25)
        task.cancel()
    large.s3.seen.clear()
    large.s3.forget_plans()
    before = journal.read()
    assert before is not None
    assert {each.level for each in before.switches} == {2, 3, 6, 9}
    _, end = await large.published()
    assert {seen.part for seen in large.s3.of(Kind.PART)} == set(range(1, end.facts.parts + 1)) - before.parts.keys()
    with tarfile.open(fileobj=io.BytesIO(await asyncio.to_thread(large.stored))) as archive:
        for path in large.root.iterdir():
            member = archive.extractfile(path.name)
            assert member is not None
            assert member.read() == path.read_bytes()


async def test_however_often_it_is_interrupted_each_part_is_stored_once(large: Publishing) -> None:
    await interrupted(large, 2, 3, 4, 5)
    for held in ((3, 4, 5), (4, 5), (5,)):
        await interrupted_again(large, *held)
    await large.published()
    assert [seen.part for seen in large.s3.of(Kind.PART)] == [5]


async def interrupted_again(large: Publishing, *held: int) -> None:
    release = asyncio.Event()
    for part in held:
        large.s3.plan(Kind.PART, Fault(hold=release), part=part)
    journal = UploadJournal(large.scratch)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(large.upload().run(), name="upload")
        await eventually(lambda: (read := journal.read()) is not None and len(read.parts) == 5 - len(held))
        task.cancel()
    large.s3.seen.clear()
    large.s3.forget_plans()


async def test_a_tree_that_changed_meanwhile_is_sent_as_it_is_now(large: Publishing) -> None:
    await interrupted(large, 1)
    (large.root / "file9").write_bytes(os.urandom(2 << 20))  # which is last, and begins in the last part
    await large.published()
    assert {seen.part for seen in large.s3.of(Kind.PART)} == {1, 5}


async def test_an_upload_whose_parts_cannot_be_replaced_begins_anew(large: Publishing) -> None:
    """rclone's server passes parts on as they come."""
    await interrupted(large, 1)
    (large.root / "file9").write_bytes(os.urandom(2 << 20))
    large.s3.plan(Kind.PART, answer(501, "NotImplemented"), part=5)
    await large.published()
    assert large.requests(BeginUpload) == 2


async def test_a_service_that_takes_no_parts_is_told(large: Publishing) -> None:
    large.s3.plan(Kind.PART, answer(501, "NotImplemented"), part=2)
    _, end = await large.publish()
    assert isinstance(end, NotSent)
    assert "501 NotImplemented" in end.detail
    assert large.requests(BeginUpload) == 1


async def test_a_tree_that_became_smaller_meanwhile_has_fewer_parts(large: Publishing) -> None:
    await interrupted(large, 5)
    for number in range(5, 11):
        (large.root / f"file{number}").unlink()
    _, end = await large.published()
    assert end.facts.parts == 3


async def test_with_another_size_of_parts_everything_is_sent_again(large: Publishing) -> None:
    await interrupted(large, 5)
    large.uploading.part_bytes = 6 << 20
    _, end = await large.published()
    assert end.facts.parts == 4
    assert large.s3.body_bytes(Kind.PART) == end.facts.size_bytes
    written = UploadJournal(large.scratch).read()
    assert written is not None
    assert (written.part_bytes, sorted(written.parts)) == (6 << 20, [1, 2, 3, 4])


async def test_a_damaged_journal_costs_sending_and_nothing_else(large: Publishing) -> None:
    await interrupted(large, 5)
    (large.scratch / FILE).write_bytes(b"\x00" * 300)
    _, end = await large.published()
    assert large.s3.body_bytes(Kind.PART) == end.facts.size_bytes
    assert large.requests(BeginUpload) == 2
    assert {each.upload_id for each in large.asked if isinstance(each, CompleteUpload)} == {large.record.upload_id}


async def test_an_upload_that_was_complete_when_the_node_died_is_found_to_be_so(large: Publishing) -> None:
    _, before = await large.published()
    large.s3.seen.clear()
    _, end = await large.published()
    assert (end.facts.md5, end.facts.index_sha256) == (before.facts.md5, before.facts.index_sha256)
    assert large.s3.of(Kind.PART) == []


async def test_an_upload_that_was_aborted_behind_its_back_begins_anew(large: Publishing) -> None:
    async with begun(large, 5) as (release, task, _):
        (upload_id,) = large.uploads()
        bucket = large.bucket.location.bucket
        large.client.abort_multipart_upload(Bucket=bucket, Key=large.object_key, UploadId=upload_id)
        release.set()
    end = task.result()
    assert isinstance(end, Sent)
    await large.check(end)
    lost = [each.lost for each in large.asked if isinstance(each, BeginUpload)]
    assert lost == ["", upload_id]
    assert {seen.status for seen in large.s3.of(Kind.COMPLETE)} <= {200, 404}


async def test_an_upload_that_was_aborted_while_the_node_was_away_begins_anew(large: Publishing) -> None:
    await interrupted(large, 5)
    bucket = large.bucket.location.bucket
    large.client.abort_multipart_upload(Bucket=bucket, Key=large.object_key, UploadId=large.record.upload_id)
    _, end = await large.published()
    assert large.s3.body_bytes(Kind.PART) >= end.facts.size_bytes


async def test_a_node_that_died_before_it_wrote_down_another_beginning_takes_that_one_up(large: Publishing) -> None:
    """Its journal names an upload that the orchestrator has replaced since."""
    await interrupted(large, 5)
    answer = await large.ask(BeginUpload(execution_id=large.execution, lost=large.record.upload_id))
    assert isinstance(answer, UploadBegun)
    _, end = await large.published()
    assert end.facts.parts == 5
    (completed,) = (each for each in large.asked if isinstance(each, CompleteUpload))
    assert completed.upload_id == answer.upload_id


async def test_a_completion_whose_answer_the_node_never_got_is_not_made_twice(large: Publishing) -> None:
    large.s3.plan(Kind.COMPLETE, LOSE_ANSWER, LOSE_ANSWER)
    await large.published()
    assert (large.requests(BeginUpload), len(large.s3.of(Kind.PART))) == (1, 5)


# ---- the orchestrator's records ---------------------------------------------------------------------------------


@pytest.fixture
async def desk(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """Of an orchestrator that may abort uploads."""
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        yield made


async def begin(desk: Publishing, lost: str = "") -> str:
    answer = await desk.ask(BeginUpload(execution_id=desk.execution, lost=lost))
    assert isinstance(answer, UploadBegun)
    return answer.upload_id


async def test_an_upload_is_begun_once_however_often_it_is_asked_for(desk: Publishing) -> None:
    first = await begin(desk)
    assert await begin(desk) == first
    assert desk.record.upload_id == first
    assert desk.uploads() == [first]


async def test_of_many_beginnings_at_once_one_is_made(desk: Publishing) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(begin(desk), name="begin") for _ in range(20)]
    assert {task.result() for task in tasks} == {desk.record.upload_id}
    assert len(desk.s3.of(Kind.BEGIN)) == 1


async def test_a_node_that_gives_up_one_upload_after_another_leaves_none_that_is_in_no_record(
    large: Publishing,
) -> None:
    """Of an orchestrator that may not abort uploads."""
    refused: list[RequestRefused] = []
    for _ in range(40):
        answer = await large.ask(BeginUpload(execution_id=large.execution, lost=large.record.upload_id))
        if isinstance(answer, RequestRefused):
            refused.append(answer)
    assert len(refused) == 37
    assert {(each.code, each.retryable) for each in refused} == {("TooManyUploads", True)}
    assert sorted(large.uploads()) == sorted([*large.record.left_uploads, large.record.upload_id])


async def test_where_uploads_may_be_aborted_the_oldest_makes_room_for_another(desk: Publishing) -> None:
    for _ in range(40):
        await begin(desk, lost=desk.record.upload_id)
        assert len(desk.uploads()) <= 3
    last = desk.record.upload_id
    await eventually(lambda: desk.record.left_uploads == () and desk.uploads() == [last])


async def test_a_completion_that_is_asked_for_again_meanwhile_is_made_once(desk: Publishing) -> None:
    upload_id, body, release = await begin(desk), b"a part", asyncio.Event()
    stored = desk.client.upload_part(
        Bucket=desk.bucket.location.bucket, Key=desk.object_key, UploadId=upload_id, PartNumber=1, Body=body
    )
    asked = CompleteUpload(execution_id=desk.execution, upload_id=upload_id, etags=(stored["ETag"].strip('"'),))
    desk.s3.plan(Kind.COMPLETE, Fault(hold=release))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        first = group.create_task(desk.ask(asked), name="first")
        await eventually(lambda: desk.s3.of(Kind.COMPLETE))
        second = group.create_task(desk.ask(asked), name="second")
        await eventually(lambda: desk.requests(CompleteUpload) == 2)
        assert len(desk.s3.of(Kind.COMPLETE)) == 1
        release.set()
    assert isinstance(first.result(), UploadCompleted)
    assert isinstance(second.result(), UploadCompleted)
    assert await asyncio.to_thread(desk.stored) == body


async def test_an_upload_that_was_lost_is_replaced_and_aborted(desk: Publishing) -> None:
    first = await begin(desk)
    second = await begin(desk, lost=first)
    assert second not in {"", first}
    assert await begin(desk, lost=first) == second, "the answer was lost, and the question repeated"
    await eventually(lambda: desk.uploads() == [second])
    await eventually(lambda: len(desk.s3.of(Kind.ABORT)) == TIMES)


async def test_what_moves_the_record_while_an_upload_is_begun_is_not_undone(desk: Publishing) -> None:
    release = asyncio.Event()
    desk.s3.plan(Kind.BEGIN, Fault(hold=release))
    desk.store.feed(desk.key, replace(desk.record, state=ExecutionState.RUNNING))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(begin(desk), name="begin")
        await eventually(lambda: desk.s3.of(Kind.BEGIN))
        desk.store.feed(desk.key, replace(desk.record, state=ExecutionState.PUBLISHING, run_seconds=7.0))
        release.set()
    assert desk.record.upload_id == task.result()
    assert (desk.record.state, desk.record.run_seconds) == (ExecutionState.PUBLISHING, 7.0)


async def test_what_another_writer_stores_just_before_the_id_is_not_undone(desk: Publishing) -> None:
    moved = replace(desk.record, run_seconds=7.0)
    desk.store.before_write = lambda: desk.store.store_elsewhere(desk.key, moved)
    upload_id = await begin(desk)
    assert (desk.record.upload_id, desk.record.run_seconds) == (upload_id, 7.0)


async def test_an_upload_of_an_execution_that_ended_meanwhile_is_aborted(desk: Publishing) -> None:
    release = asyncio.Event()
    desk.s3.plan(Kind.BEGIN, Fault(hold=release))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(desk.ask(BeginUpload(execution_id=desk.execution)), name="begin")
        await eventually(lambda: desk.s3.of(Kind.BEGIN))
        desk.store.feed(desk.key, replace(desk.record, state=ExecutionState.CANCELLED))
        release.set()
    assert isinstance(task.result(), RequestRefused)
    await eventually(lambda: desk.s3.of(Kind.ABORT))
    await eventually(lambda: desk.uploads() == [])


async def test_a_part_that_arrives_after_the_abort_goes_with_the_next_one(desk: Publishing) -> None:
    await begin(desk)
    desk.store.feed(desk.key, replace(desk.record, state=ExecutionState.FAILED))
    await eventually(lambda: len(desk.s3.of(Kind.ABORT)) == TIMES)
    await eventually(lambda: desk.record.upload_id == "", what="it is done, and nobody does it again")
    assert desk.uploads() == []
    assert not desk.model.endings.uploads


async def test_the_next_leader_aborts_what_the_last_one_did_not(desk: Publishing) -> None:
    desk.s3.plan(Kind.ABORT, *[Fault(status=503)] * 2)
    await begin(desk)
    desk.store.feed(desk.key, replace(desk.record, state=ExecutionState.FAILED))
    await eventually(lambda: len(desk.s3.of(Kind.ABORT)) == 2, what="botocore asks twice")
    assert desk.uploads() == [desk.record.upload_id]
    successor = AbandonedUploads(desk.model, desk.store, desk.locations)
    async with background(successor=successor.run()):
        await eventually(lambda: desk.record.upload_id == "")
    assert desk.uploads() == []


@pytest.mark.parametrize(
    ("state", "upload_id", "left", "unfinished"),
    [
        (ExecutionState.PUBLISHING, "u", (), ()),
        (ExecutionState.PUBLISHING, "u", ("t",), ("t",)),
        (ExecutionState.COMPLETED, "u", (), ()),
        (ExecutionState.COMPLETED, "u", ("u",), ("u",)),
        (ExecutionState.FAILED, "", (), ()),
        (ExecutionState.FAILED, "u", ("t",), ("t", "u")),
        (ExecutionState.CANCELLED, "u", ("u",), ("u",)),
    ],
)
async def test_which_uploads_are_left_follows_from_the_record(
    desk: Publishing, state: ExecutionState, upload_id: str, left: tuple[str, ...], unfinished: tuple[str, ...]
) -> None:
    record = replace(desk.record, state=state, upload_id=upload_id, left_uploads=left)
    assert record.unfinished_uploads == unfinished


async def test_where_aborting_is_not_allowed_this_is_logged_once_and_all_are_listed(
    s3_server: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with publishing(s3_server, tmp_path) as made:
        location = made.locations.locate(DEFAULT_NAMESPACE, made.record.job_id, made.execution)
        left = tuple([await made.bucket.begin_multipart(location.key) for _ in range(3)])
        made.store.feed(made.key, replace(made.record, state=ExecutionState.FAILED, left_uploads=left))
        await eventually(lambda: "cannot be aborted" in caplog.text and made.s3.in_flight == 0)
        assert {seen.status for seen in made.s3.of(Kind.ABORT)} == {403}
        assert list(made.model.endings.uploads) == [made.execution]
        assert made.record.left_uploads == left
        assert made.abandoned._due() == []
    (warning,) = (each for each in caplog.records if each.levelno == logging.WARNING and "aborted" in each.message)
    assert "s3:AbortMultipartUpload" in warning.message
    assert "X-Amz" not in warning.message


async def test_keys_that_were_exchanged_are_read_again_when_an_upload_cannot_be_aborted_with_the_old_ones(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.s3.credentials.rotation.SPACING_SECONDS", 0.0)
    monkeypatch.setattr("orchestrator.dispatch.abandoned_uploads.AWAY_SECONDS", 0.0)
    monkeypatch.setattr("orchestrator.dispatch.abandoned_uploads.LOOK_SECONDS", 0.01)
    keys = [s3_server.admin]
    async with publishing(s3_server, tmp_path, keys=keys) as made:
        location = made.locations.locate(DEFAULT_NAMESPACE, made.record.job_id, made.execution)
        left = await made.bucket.begin_multipart(location.key)
        keys[:] = [Keys("AKGONE", "gone"), s3_server.admin]
        made.bucket.credentials.invalidate()
        made.store.feed(made.key, replace(made.record, state=ExecutionState.FAILED, left_uploads=(left,)))
        await eventually(lambda: [seen.status for seen in made.s3.of(Kind.ABORT)][:2] == [403, 204])
        assert await asyncio.to_thread(made.uploads) == []


@pytest.mark.parametrize("kind", [BeginUpload, PartsRequest, CompleteUpload, IndexGrantRequest])
async def test_another_node_gets_nothing(desk: Publishing, kind: type[UploadRequest]) -> None:
    upload_id = await begin(desk)
    fields = {"upload_id": upload_id, "first": 1, "count": 1, "etags": ("0" * 32,)}
    known = {name: value for name, value in fields.items() if name in kind.__struct_fields__}
    request = kind(execution_id=desk.execution, **known)  # type: ignore[arg-type]  # each takes what it knows
    assert isinstance(await desk.desk.answer(NodeId("n-2"), request), RequestRefused)


@pytest.mark.parametrize(
    ("first", "count", "given"), [(1, 1, 1), (1, 0, 1), (1, -5, 1), (1, 10_000, 64), (9_999, 16, 2)]
)
async def test_urls_are_given_for_parts_that_there_can_be(desk: Publishing, first: int, count: int, given: int) -> None:
    upload_id = await begin(desk)
    request = PartsRequest(execution_id=desk.execution, upload_id=upload_id, first=first, count=count)
    answer = await desk.ask(request)
    assert isinstance(answer, PartsGiven)
    assert len(answer.parts) == given
    assert f"partNumber={first}&" in answer.parts[0].url


@pytest.mark.parametrize("first", [0, -1, 10_001])
async def test_there_is_no_url_for_a_part_that_there_cannot_be(desk: Publishing, first: int) -> None:
    upload_id = await begin(desk)
    answer = await desk.ask(PartsRequest(execution_id=desk.execution, upload_id=upload_id, first=first, count=1))
    assert isinstance(answer, RequestRefused)
    assert not answer.retryable


@pytest.mark.parametrize("etags", [(), ("0" * 32,) * 10_001, ("0" * 101,)])
async def test_a_list_of_parts_that_makes_no_sense_is_refused(desk: Publishing, etags: tuple[str, ...]) -> None:
    upload_id = await begin(desk)
    answer = await desk.ask(CompleteUpload(execution_id=desk.execution, upload_id=upload_id, etags=etags))
    assert isinstance(answer, RequestRefused)
    assert desk.s3.of(Kind.COMPLETE) == []


async def test_an_upload_that_is_not_the_execution_s_own_is_told_as_lost(desk: Publishing) -> None:
    await begin(desk)
    for upload_id in ("", "another"):
        parts = PartsRequest(execution_id=desk.execution, upload_id=upload_id, first=1, count=1)
        complete = CompleteUpload(execution_id=desk.execution, upload_id=upload_id, etags=("0" * 32,))
        assert isinstance(await desk.ask(parts), UploadLost)
        assert isinstance(await desk.ask(complete), UploadLost)
    assert desk.s3.of(Kind.COMPLETE) == []
