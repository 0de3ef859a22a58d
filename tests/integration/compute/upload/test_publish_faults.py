"""Every row of the retry table (shared/protocol/s3_errors.py) against a real S3 that misbehaves, in one PUT or parts.

Each test ends with the object being what was packed, or with the reason why it is not there.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from compute.upload.delivery import MAX_ASKED, MAX_RESENDS
from compute.upload.upload import MAX_BEGINNINGS, NotSent, Sent
from orchestrator.dispatch.grants import MOST_OPEN
from shared.jobs.states import FailureReason
from shared.protocol.messages import BeginUpload, CompleteUpload, GrantRequest, IndexGrantRequest, PartsRequest
from shared.protocol.s3_errors import BY_CODE, BY_STATUS, UploadAction
from shared.protocol.signed_url import Grant
from tests.faulty_s3 import (
    CONFLICT,
    DENIED,
    EXPIRED,
    INTERNAL,
    LOSE_ANSWER,
    NO_SUCH_UPLOAD,
    PASS,
    PRECONDITION_FAILED,
    SLOW_DOWN,
    TRUNCATE,
    Fault,
    Kind,
    answer,
)
from tests.integration.publishing import Publishing, publishing
from tests.servers import Keys, S3Server
from tests.waiting import eventually

CUT = Fault(cut_after=200_000)
CUT_AT_ONCE = Fault(cut_after=0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.delivery.SLOW_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("compute.upload.grants.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("orchestrator.s3.probe.SPACING_SECONDS", 0.0)
    monkeypatch.setattr("orchestrator.dispatch.abandoned_uploads.RETRY_SECONDS", 0.01)


@pytest.fixture
async def small(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """A result that goes out with one PUT, and without an index."""
    async with publishing(s3_server, tmp_path) as made:
        (made.root / "file").write_bytes(bytes(range(256)) * 3000)
        yield made


@pytest.fixture
async def large(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """A result of three parts."""
    async with publishing(s3_server, tmp_path) as made:
        made.fill(mebibytes=12)
        yield made


@pytest.fixture
async def aborting(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """A result of three parts, of an orchestrator that may abort uploads."""
    async with publishing(s3_server, tmp_path, keys=[s3_server.admin]) as made:
        made.fill(mebibytes=12)
        yield made


def rows(*actions: UploadAction) -> list[Fault]:
    """An answer for every row of the table with one of these actions."""
    by_code = [answer(_status_of(code), code) for code, action in BY_CODE.items() if action in actions]
    by_status = [answer(status) for status, action in BY_STATUS.items() if action in actions]
    return by_code + by_status


def _status_of(code: str) -> int:
    match code:
        case "InternalError":
            return 500
        case "SlowDown" | "ServiceUnavailable":
            return 503
        case "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed":
            return 403
        case "ConditionalRequestConflict" | "OperationAborted":
            return 409
        case "PreconditionFailed":
            return 412
        case "NoSuchUpload":
            return 404
        case "NotImplemented":
            return 501
        case _:
            return 400


def name(fault: Fault) -> str:
    code = fault.body.partition("<Code>")[2].partition("</Code>")[0]
    return f"{fault.status}{code}" if fault.status else repr({k: v for k, v in dataclasses.asdict(fault).items() if v})


def names(faults: list[Fault]) -> str:
    return "-".join(map(name, faults))


def few_at_a_time(faults: list[Fault]) -> list[list[Fault]]:
    """Pauses double with each failure of a delivery."""
    return [faults[at : at + 5] for at in range(0, len(faults), 5)]


RETRIED = [
    LOSE_ANSWER,
    CUT,
    answer(500),
    CUT_AT_ONCE,
    TRUNCATE,
    answer(502),
    answer(504),
    dataclasses.replace(SLOW_DOWN, early=True),
    *rows(UploadAction.RETRY, UploadAction.RETRY_SLOWER),
]
RENEWED = [EXPIRED, answer(401, "Expired", "Token has expired"), *rows(UploadAction.RENEW_URL)]
ASKED = [
    DENIED,
    dataclasses.replace(DENIED, early=True),
    answer(403),
    answer(401, "Unauthorized"),
    answer(400, "InvalidRequest"),
    answer(404, "NoSuchBucket"),
    answer(404, "XAdminUserNotFound"),
    answer(403, "SignatureDoesNotMatch"),
]
RESENT = rows(UploadAction.RESEND)
REFUSED = [
    answer(400, "EntityTooLarge"),
    dataclasses.replace(answer(400, "EntityTooLarge"), early=True),
    answer(411, "MissingContentLength"),
    answer(413),
    answer(301),
    answer(307),
    *rows(UploadAction.FAIL),
]


# ---- one PUT ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", few_at_a_time(RETRIED), ids=names)
async def test_a_put_is_sent_again_with_the_same_url(small: Publishing, faults: list[Fault]) -> None:
    small.s3.plan(Kind.ARCHIVE, *faults)
    upload, _ = await small.published()
    assert len({seen.url for seen in small.s3.of(Kind.ARCHIVE)}) == 1
    assert (upload.trouble.retries, upload.trouble.renewals, small.asked) == (len(faults), 0, [])
    assert small.s3.planned == 0


@pytest.mark.parametrize("fault", [INTERNAL, SLOW_DOWN, CUT], ids=name)
async def test_a_put_is_sent_again_as_often_as_it_takes(small: Publishing, fault: Fault) -> None:
    small.s3.plan(Kind.ARCHIVE, *[fault] * 7)
    upload, _ = await small.published()
    assert upload.trouble.retries == 7


@pytest.mark.parametrize("faults", few_at_a_time(RENEWED), ids=names)
async def test_a_put_with_a_dead_url_gets_another_one_each_time(small: Publishing, faults: list[Fault]) -> None:
    small.s3.plan(Kind.ARCHIVE, *faults)
    upload, _ = await small.published()
    assert (upload.trouble.renewals, small.requests(GrantRequest)) == (len(faults), len(faults))


@pytest.mark.parametrize("fault", ASKED, ids=name)
async def test_a_put_that_is_refused_perhaps_for_its_keys_gets_another_url(small: Publishing, fault: Fault) -> None:
    small.s3.plan(Kind.ARCHIVE, *[fault] * MAX_ASKED)
    upload, _ = await small.published()
    assert upload.trouble.renewals == MAX_ASKED


@pytest.mark.parametrize("fault", ASKED, ids=name)
async def test_a_put_that_is_refused_again_and_again_with_keys_that_are_right_is_told(
    small: Publishing, fault: Fault
) -> None:
    small.s3.plan(Kind.ARCHIVE, *[fault] * (MAX_ASKED + 1))
    upload, end = await small.publish()
    assert isinstance(end, NotSent)
    assert (end.reason, upload.trouble.renewals) == (FailureReason.PUBLISH_REFUSED, MAX_ASKED)
    assert str(fault.status) in end.detail
    assert "Signature=" not in end.detail


@pytest.mark.parametrize("fault", RESENT, ids=name)
async def test_bytes_that_arrive_damaged_are_sent_a_few_times(small: Publishing, fault: Fault) -> None:
    small.s3.plan(Kind.ARCHIVE, *[fault] * MAX_RESENDS)
    upload, _ = await small.published()
    assert (upload.trouble.retries, upload.trouble.renewals) == (MAX_RESENDS, 0)


async def test_bytes_that_arrive_damaged_too_often_are_told(small: Publishing) -> None:
    small.s3.plan(Kind.ARCHIVE, *[RESENT[0]] * (MAX_RESENDS + 1))
    _, end = await small.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "BadDigest" in end.detail


@pytest.mark.parametrize("fault", REFUSED, ids=name)
async def test_a_put_that_is_refused_for_good_is_told_at_once(small: Publishing, fault: Fault) -> None:
    small.s3.plan(Kind.ARCHIVE, fault)
    upload, end = await small.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert str(fault.status) in end.detail
    assert "Signature=" not in end.detail
    assert (len(small.s3.of(Kind.ARCHIVE)), upload.trouble.retries) == (1, 0)


async def test_a_put_whose_answer_was_lost_is_found_to_be_there(small: Publishing) -> None:
    """The second PUT meets the object of the first one, which S3 says with 412."""
    small.s3.plan(Kind.ARCHIVE, LOSE_ANSWER)
    await small.published()
    assert [seen.status for seen in small.s3.of(Kind.ARCHIVE)] == [0, 412]


async def test_an_object_that_is_there_already_is_never_replaced(small: Publishing) -> None:
    bucket, key = small.bucket.location.bucket, small.object_key
    await asyncio.to_thread(small.client.put_object, Bucket=bucket, Key=key, Body=b"another one")
    _, end = await small.publish()
    assert isinstance(end, Sent)
    assert await asyncio.to_thread(small.stored) == b"another one"
    with pytest.raises(AssertionError):
        await small.check(end)


async def test_a_url_that_really_has_expired_is_renewed(small: Publishing) -> None:
    """A node whose clock or grant misled it: it believes that the URL lives, and S3 knows better."""
    keys = await small.bucket.credentials.usable(least_seconds=10)
    short = structs.replace(small.bucket._signers.public, max_lifetime_seconds=1.0)
    dead = short.sign("PUT", small.object_key, keys=keys, headers={"if-none-match": "*"})
    loop = asyncio.get_running_loop()
    signed_at = loop.time()
    await eventually(lambda: loop.time() - signed_at > 2.1)
    upload = small.upload(Grant(structs.replace(dead, lifetime_seconds=3600)))
    end = await upload.run()
    assert isinstance(end, Sent)
    await small.check(end)
    assert (upload.trouble.renewals, [seen.status for seen in small.s3.of(Kind.ARCHIVE)]) == (1, [403, 200])


async def test_keys_that_were_exchanged_are_read_again_when_s3_does_not_know_the_old_ones(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.s3.credentials.rotation.SPACING_SECONDS", 0.0)
    keys = [s3_server.orchestrator]
    async with publishing(s3_server, tmp_path, keys=keys) as made:
        (made.root / "file").write_bytes(b"content")
        keys[:] = [Keys("AKGONE", "gone"), s3_server.orchestrator]
        made.bucket.credentials.invalidate()
        upload, _ = await made.published()
        assert upload.trouble.renewals == 2, "its manifest's too"
        assert [seen.status for seen in made.s3.of(Kind.ARCHIVE)] == [403, 200]


# ---- parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", few_at_a_time(RETRIED), ids=names)
async def test_a_part_is_sent_again_with_the_same_url(large: Publishing, faults: list[Fault]) -> None:
    large.s3.plan(Kind.PART, *faults, part=2)
    upload, _ = await large.published()
    assert len({seen.url for seen in large.s3.of(Kind.PART) if seen.part == 2}) == 1
    asked = [each for each in large.asked if isinstance(each, PartsRequest) and each.first == 2]
    assert (upload.trouble.retries, upload.trouble.renewals, len(asked)) == (len(faults), 0, 1)


@pytest.mark.parametrize("faults", few_at_a_time(RENEWED), ids=names)
async def test_a_part_with_a_dead_url_gets_another_one_each_time(large: Publishing, faults: list[Fault]) -> None:
    large.s3.plan(Kind.PART, *faults, part=3)
    upload, _ = await large.published()
    assert upload.trouble.renewals == len(faults)
    asked = [each for each in large.asked if isinstance(each, PartsRequest) and each.first == 3]
    assert [each.count for each in asked] == [1] * (1 + len(faults))


@pytest.mark.parametrize("fault", ASKED[-2:], ids=name)
async def test_a_part_that_is_refused_perhaps_for_its_keys_gets_another_url(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.PART, fault, fault, part=1)
    upload, _ = await large.published()
    assert upload.trouble.renewals == 2


@pytest.mark.parametrize("fault", RESENT, ids=name)
async def test_a_part_that_arrives_damaged_is_sent_a_few_times(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.PART, *[fault] * MAX_RESENDS, part=1)
    upload, _ = await large.published()
    assert upload.trouble.retries == MAX_RESENDS


@pytest.mark.parametrize("fault", REFUSED[:4], ids=name)
async def test_a_part_that_is_refused_for_good_ends_the_upload(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.PART, fault, part=2)
    _, end = await large.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert str(fault.status) in end.detail
    assert large.s3.of(Kind.COMPLETE) == []


async def test_many_faults_at_once_are_got_over(large: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else one part that happens to meet all the answers that are cut off asks for one more URL.
    monkeypatch.setattr("compute.upload.delivery.UNANSWERED_PER_URL", 100)
    large.s3.plan(Kind.BEGIN, INTERNAL, INTERNAL)
    large.s3.plan(Kind.PART, CUT, EXPIRED, SLOW_DOWN, LOSE_ANSWER, INTERNAL, CUT_AT_ONCE, TRUNCATE, EXPIRED)
    large.s3.plan(Kind.COMPLETE, INTERNAL, LOSE_ANSWER)
    large.s3.plan(Kind.INDEX, CUT, EXPIRED)
    upload, end = await large.published()
    assert large.s3.planned == 0
    assert (end.facts.parts, upload.trouble.renewals) == (3, 3)


@pytest.mark.parametrize("fault", [NO_SUCH_UPLOAD, answer(412, "PreconditionFailed")], ids=name)
async def test_an_upload_that_s3_has_lost_begins_anew(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.PART, fault, part=2)
    await large.published()
    assert large.requests(BeginUpload) == 2
    await eventually(lambda: len(large.s3.of(Kind.ABORT)) >= 1)


async def test_an_upload_that_s3_loses_again_and_again_is_told(aborting: Publishing) -> None:
    aborting.s3.plan(Kind.PART, *[NO_SUCH_UPLOAD] * MAX_BEGINNINGS, part=1)
    _, end = await aborting.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "loses the upload again and again" in end.detail
    assert aborting.requests(BeginUpload) == MAX_BEGINNINGS


async def test_a_result_waits_where_lost_uploads_may_not_be_aborted_and_no_more_may_be_open(large: Publishing) -> None:
    large.s3.plan(Kind.PART, *[NO_SUCH_UPLOAD] * MOST_OPEN, part=1)
    upload = large.upload()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(upload.run(), name="upload")
        await eventually(lambda: large.requests(BeginUpload) > MOST_OPEN + 1)
        assert "3 uploads in parts are open" in upload.last_problem
        task.cancel()
    assert len(large.uploads()) == MOST_OPEN


# ---- begin and complete, which are the orchestrator's -----------------------------------------------------------

PASSING = [INTERNAL, SLOW_DOWN, answer(502), CUT_AT_ONCE, Fault(truncate=True), answer(400, "RequestTimeout")]


async def test_a_beginning_that_fails_is_tried_again(large: Publishing) -> None:
    large.s3.plan(Kind.BEGIN, *PASSING)
    await large.published()
    assert large.s3.planned == 0


async def test_a_beginning_that_is_answered_with_success_and_no_id_is_tried_again(large: Publishing) -> None:
    large.s3.plan(Kind.BEGIN, Fault(status=200), Fault(status=200))
    await large.published()
    assert large.requests(BeginUpload) == 3


async def test_conflicts_with_a_completion_are_got_over(large: Publishing) -> None:
    """S3's word for this is to begin the upload anew."""
    large.s3.plan(Kind.COMPLETE, *[CONFLICT, INTERNAL] * (MOST_OPEN - 1))
    await large.published()
    assert large.requests(BeginUpload) == MOST_OPEN


async def test_any_number_of_conflicts_is_got_over_where_uploads_may_be_aborted(aborting: Publishing) -> None:
    aborting.s3.plan(Kind.COMPLETE, *[CONFLICT, INTERNAL] * 4)
    await aborting.published()
    assert aborting.requests(BeginUpload) == 5


async def test_a_beginning_that_s3_does_not_answer_is_given_up_before_the_node_asks_again(
    large: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.s3.multipart._BEGIN_SECONDS", 4.0)
    never = asyncio.Event()
    large.s3.plan(Kind.BEGIN, Fault(hold=never))
    await large.published()
    never.set()
    assert large.requests(BeginUpload) == 2


async def test_what_the_orchestrator_waits_for_is_told_too(large: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.delivery.TOLD_AFTER_SECONDS", 0.0)
    large.s3.plan(Kind.BEGIN, *[SLOW_DOWN] * 4)
    large.s3.plan(Kind.COMPLETE, *[CUT_AT_ONCE] * 4)
    upload, _ = await large.published()
    begin, complete = large.told
    assert begin.startswith("S3 would not begin an upload: 503 SlowDown")
    assert complete.startswith("S3 would not complete an upload: ")
    assert not upload.trouble.is_waiting


async def test_a_completion_that_fails_is_tried_again(large: Publishing) -> None:
    large.s3.plan(Kind.COMPLETE, *PASSING)
    await large.published()
    assert (large.requests(BeginUpload), large.s3.planned) == (1, 0)


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
async def test_a_completion_with_an_error_in_an_answer_of_200_is_tried_again(large: Publishing, code: str) -> None:
    large.s3.plan(Kind.COMPLETE, *[answer(200, code, "We encountered an internal error.")] * 3)
    await large.published()
    assert large.requests(BeginUpload) == 1


@pytest.mark.parametrize(
    "fault",
    [
        NO_SUCH_UPLOAD,
        CONFLICT,
        answer(400, "InvalidPart"),
        answer(400, "InvalidPartOrder"),
        answer(400, "EntityTooSmall"),
    ],
    ids=name,
)
async def test_a_completion_of_what_s3_does_not_know_begins_anew(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.COMPLETE, fault)
    await large.published()
    assert (large.requests(BeginUpload), large.requests(CompleteUpload)) == (2, 2)


async def test_a_completion_of_what_s3_does_not_know_may_be_answered_with_200(large: Publishing) -> None:
    large.s3.plan(Kind.COMPLETE, *[answer(200, "NoSuchUpload")] * 2)  # botocore tries such an answer once more
    await large.published()
    assert (large.requests(BeginUpload), large.requests(CompleteUpload)) == (2, 2)


@pytest.mark.parametrize("fault", [LOSE_ANSWER, TRUNCATE], ids=name)
@pytest.mark.parametrize("then", [PASS, NO_SUCH_UPLOAD, PRECONDITION_FAILED], ids=name)
async def test_a_completion_whose_answer_was_lost_is_found_to_be_done(
    large: Publishing, fault: Fault, then: Fault
) -> None:
    """Services differ in what they say when it is asked of them once more."""
    large.s3.plan(Kind.COMPLETE, fault, then)
    await large.published()
    assert large.requests(BeginUpload) == 1
    assert len(large.s3.of(Kind.PART)) == 3


async def test_a_completion_that_meets_an_object_leaves_it_to_be_compared(large: Publishing) -> None:
    bucket, key = large.bucket.location.bucket, large.object_key
    await asyncio.to_thread(large.client.put_object, Bucket=bucket, Key=key, Body=b"another one")
    large.s3.plan(Kind.COMPLETE, PRECONDITION_FAILED)
    _, end = await large.publish()
    assert isinstance(end, Sent)
    assert await asyncio.to_thread(large.stored) == b"another one"
    await eventually(lambda: large.s3.of(Kind.ABORT))


@pytest.mark.parametrize("fault", [answer(403), answer(404)], ids=name)
async def test_a_lost_upload_whose_object_cannot_be_seen_begins_anew(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.COMPLETE, NO_SUCH_UPLOAD)
    large.s3.plan(Kind.HEAD, fault)
    await large.published()
    assert large.requests(BeginUpload) == 2


async def test_keys_that_were_exchanged_are_read_again_when_an_upload_cannot_be_begun_with_the_old_ones(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.s3.credentials.rotation.SPACING_SECONDS", 0.0)
    keys = [s3_server.orchestrator]
    async with publishing(s3_server, tmp_path, keys=keys) as made:
        made.fill(mebibytes=12)
        keys[:] = [Keys("AKGONE", "gone"), s3_server.orchestrator]
        made.bucket.credentials.invalidate()
        upload = made.upload()
        end = await upload.run()
        assert isinstance(end, Sent)
        await made.check(end)
        assert [seen.status for seen in made.s3.of(Kind.BEGIN)] == [403, 200]


# ---- index ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [INTERNAL, SLOW_DOWN, CUT_AT_ONCE, LOSE_ANSWER, EXPIRED], ids=name)
async def test_an_index_is_sent_again(large: Publishing, fault: Fault) -> None:
    large.s3.plan(Kind.INDEX, fault, PASS)
    _, end = await large.published()
    assert end.facts.index_bytes > 0
    assert len(large.s3.of(Kind.INDEX)) == 2


async def test_a_result_whose_index_is_refused_is_published_without_one(large: Publishing) -> None:
    large.s3.plan(Kind.INDEX, *[DENIED] * (MAX_ASKED + 1))
    _, end = await large.published()
    assert (end.facts.index_bytes, end.facts.index_sha256) == (0, "")


@pytest.mark.parametrize("fault", [INTERNAL, CUT_AT_ONCE, LOSE_ANSWER, EXPIRED], ids=name)
async def test_a_manifest_is_sent_again(small: Publishing, fault: Fault) -> None:
    small.s3.plan(Kind.MANIFEST, fault, PASS)
    _, end = await small.published()
    assert end.facts.manifest_bytes > 0
    assert len(small.s3.of(Kind.MANIFEST)) == 2


# ---- what never changes -----------------------------------------------------------------------------------------


async def test_every_put_has_a_length_and_a_digest_and_none_is_chunked(large: Publishing) -> None:
    large.s3.plan(Kind.PART, CUT, INTERNAL)
    await large.published()
    puts = [*large.s3.of(Kind.PART), *large.s3.of(Kind.INDEX)]
    assert len(puts) == 6
    for put in puts:
        assert int(put.headers["content-length"]) > 0
        assert len(put.headers.get("content-md5", "")) == 24 or len(put.headers["x-amz-checksum-crc32"]) == 8
        assert "transfer-encoding" not in put.headers


def test_every_row_of_the_table_is_tried() -> None:
    settled = rows(UploadAction.SETTLE)
    tried = {name(fault) for fault in (*RETRIED, *RENEWED, *ASKED, *RESENT, *REFUSED, *settled)}
    assert len(tried) >= len(BY_CODE) + len(BY_STATUS)
    assert {name(fault) for fault in settled} == {"412PreconditionFailed", "404NoSuchUpload", "412"}


async def test_only_the_index_is_asked_for_beside_the_parts(large: Publishing) -> None:
    _, end = await large.published()
    kinds = [BeginUpload, *[PartsRequest] * end.facts.parts, CompleteUpload, IndexGrantRequest]
    assert [type(each) for each in large.asked] == kinds
