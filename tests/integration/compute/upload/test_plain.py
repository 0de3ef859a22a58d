"""A plain result on its way to a real S3: whole or not there, whatever happens, and continued where it was left."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.upload.file_journal import FILE
from compute.upload.plain import BATCH_FILES
from compute.upload.upload import NotSent, Sent
from orchestrator.dispatch.plain_results import PlainResults
from orchestrator.s3.plain_objects import delete_plain
from orchestrator.s3.verification import Verdict
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol.messages import (
    BeginFiles,
    BeginUpload,
    FilesBegun,
    FilesRequest,
    FileToSend,
    OutputPublished,
    RequestRefused,
)
from shared.protocol.objects import plain_folder
from tests.faulty_s3 import EXPIRED, INTERNAL, LOSE_ANSWER, SLOW_DOWN, Fault, Kind, Seen, answer
from tests.integration.publishing import Publishing, publishing
from tests.servers import S3Server
from tests.waiting import eventually

EMPTY = "1B2M2Y8AsgTpgAmY7PhCfg=="
FILES = 300


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.grants.FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("orchestrator.dispatch.abandoned_uploads.RETRY_SECONDS", 0.01)


@asynccontextmanager
async def a_plain_result(server: S3Server, folder: Path, *policies: str) -> AsyncIterator[Publishing]:
    async with publishing(server, folder, is_plain=True, policies=policies) as made:
        (made.root / "many").mkdir()
        for number in range(FILES):
            (made.root / "many" / f"{number:04}").write_bytes(b"%d\n" % number)
        yield made


@pytest.fixture
async def plain(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """Its orchestrator has the least rights."""
    async with a_plain_result(s3_server, tmp_path) as made:
        yield made


@pytest.fixture
async def managed(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Publishing]:
    """Its orchestrator may list and delete."""
    async with a_plain_result(s3_server, tmp_path, "iam-policy-deletion.json", "iam-policy-listing.json") as made:
        yield made


def manifest_is_absent(plain: Publishing) -> bool:
    bucket = plain.bucket.location.bucket
    return not plain.client.list_objects_v2(Bucket=bucket, Prefix=plain.object_key).get("Contents")


def files_sent(plain: Publishing) -> list[Seen]:
    return [each for each in plain.s3.of(Kind.FILE) if each.status == 200]


def there(plain: Publishing) -> set[str]:
    folder = plain_folder(plain.object_key)
    pages = plain.client.get_paginator("list_objects_v2").paginate(Bucket=plain.bucket.location.bucket, Prefix=folder)
    return {each["Key"].removeprefix(folder) for page in pages for each in page.get("Contents", [])}


def put(plain: Publishing, name: str, body: bytes) -> None:
    folder, bucket = plain_folder(plain.object_key), plain.bucket.location.bucket
    plain.client.put_object(Bucket=bucket, Key=folder + name, Body=body)


async def verdict(plain: Publishing, end: Sent) -> Verdict:
    fact = OutputPublished(**end.facts.told(), was_there=end.was_there)
    return await PlainResults().verdict(plain.record, plain.bucket, fact, has_digests=True)


async def test_urls_are_asked_for_by_the_hundred_and_the_manifest_is_the_last_object(plain: Publishing) -> None:
    _, end = await plain.published()
    assert end.facts.entries == FILES + 1
    assert plain.requests(FilesRequest) == -(-(FILES + 1) // BATCH_FILES)
    puts = [each.kind for each in plain.s3.seen if each.kind in {Kind.FILE, Kind.ARCHIVE}]
    assert puts == [Kind.FILE] * FILES + [Kind.ARCHIVE]
    assert len(there(plain)) == FILES
    assert await verdict(plain, end) is Verdict.VERIFIED


async def test_what_was_sent_before_a_death_is_not_sent_again_and_the_manifest_is_the_same(plain: Publishing) -> None:
    release = asyncio.Event()
    plain.s3.plan(Kind.ARCHIVE, Fault(hold=release))  # of the manifest
    upload = plain.upload(await plain.first_grant())
    dying = asyncio.ensure_future(upload.run())  # noqa: TID251  # it is killed
    await eventually(lambda: len(files_sent(plain)) == FILES and (plain.scratch / FILE).exists())
    await eventually(lambda: len((plain.scratch / FILE).read_text().split()) == FILES)
    assert manifest_is_absent(plain)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    release.set()
    plain.s3.seen.clear()
    with (plain.scratch / FILE).open("a") as torn:
        torn.write("0123")
    _, end = await plain.published()
    assert files_sent(plain) == []
    assert await verdict(plain, end) is Verdict.VERIFIED


async def test_files_that_s3_does_not_take_at_first_are_sent_again_with_other_urls_where_that_helps(
    plain: Publishing,
) -> None:
    for fault in (INTERNAL, SLOW_DOWN, EXPIRED, LOSE_ANSWER):
        plain.s3.plan(Kind.FILE, fault)
    upload, end = await plain.published()
    assert upload.trouble.retries >= 3
    assert await verdict(plain, end) is Verdict.VERIFIED


async def test_a_file_that_s3_refuses_ends_it_and_there_is_no_manifest(plain: Publishing) -> None:
    plain.s3.plan(Kind.FILE, *[answer(405, "MethodNotAllowed")] * 2 * FILES)
    _, end = await plain.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "many/" in end.detail
    assert manifest_is_absent(plain)


async def test_objects_that_s3_does_not_show_for_a_moment_are_asked_for_again(plain: Publishing) -> None:
    _, end = await plain.published()
    plain.s3.seen.clear()
    plain.s3.plan(Kind.HEAD, *[INTERNAL] * 3)
    assert await verdict(plain, end) is Verdict.VERIFIED
    assert len(plain.s3.of(Kind.HEAD)) == FILES + 3


@pytest.mark.parametrize("lie", ["another content", "one file less", "another manifest", "no files"])
async def test_a_result_that_is_not_what_its_manifest_says_is_found(plain: Publishing, lie: str) -> None:
    _, end = await plain.published()
    folder, bucket = plain_folder(plain.object_key), plain.bucket.location.bucket
    match lie:
        case "another content":
            put(plain, "many/0007", b"8\n")
        case "one file less":
            plain.client.delete_object(Bucket=bucket, Key=f"{folder}many/0007")
        case "another manifest":
            plain.client.put_object(Bucket=bucket, Key=plain.object_key, Body=plain.stored() + b"\n")
        case _:
            end = Sent(facts=replace(end.facts, raw_bytes=end.facts.raw_bytes + 1))
    assert await verdict(plain, end) is Verdict.MISMATCH


@pytest.mark.parametrize(
    "wrong",
    [
        FileToSend("../a", 1, EMPTY),
        FileToSend("a//b", 1, EMPTY),
        FileToSend("a%2e", 1, EMPTY),
        FileToSend("a\n", 1, EMPTY),
        FileToSend("a" * 1000, 1, EMPTY),
        FileToSend("a", 6 << 30, EMPTY),
        FileToSend("a", 1, "x"),
        FileToSend("a", 1, EMPTY + "\r\nx-amz-acl: public-read"),
    ],
)
async def test_no_url_is_given_for_what_can_be_no_file_of_the_result(plain: Publishing, wrong: FileToSend) -> None:
    assert isinstance(await plain.ask(BeginFiles(execution_id=plain.execution)), FilesBegun)
    asked = FilesRequest(execution_id=plain.execution, files=(FileToSend("a", 1, EMPTY), wrong))
    assert isinstance(await plain.ask(asked), RequestRefused)


async def test_each_way_to_publish_has_its_own_requests(plain: Publishing) -> None:
    early = FilesRequest(execution_id=plain.execution, files=(FileToSend("a", 1, EMPTY),))
    assert isinstance(await plain.ask(early), RequestRefused), "it was not told that files come"
    assert isinstance(await plain.ask(BeginUpload(execution_id=plain.execution)), RequestRefused)


async def test_what_lies_beside_the_files_of_a_manifest_is_found_where_the_bucket_may_be_listed(
    managed: Publishing,
) -> None:
    _, end = await managed.published()
    assert await verdict(managed, end) is Verdict.VERIFIED
    put(managed, "more", b"")
    assert await verdict(managed, end) is Verdict.MISMATCH


async def test_what_is_left_of_a_result_that_never_became_whole_is_deleted_where_that_is_allowed(
    managed: Publishing,
) -> None:
    managed.s3.plan(Kind.ARCHIVE, answer(405, "MethodNotAllowed"))
    _, end = await managed.publish()
    assert isinstance(end, NotSent)
    assert len(there(managed)) == FILES
    managed.store.feed(managed.key, replace(managed.record, state=ExecutionState.FAILED))
    await eventually(lambda: not managed.record.unfinished_uploads, within=30)
    assert there(managed) == set()


async def test_a_result_is_deleted_by_its_manifest_where_the_bucket_may_not_be_listed(
    s3_server: S3Server, tmp_path: Path
) -> None:
    async with a_plain_result(s3_server, tmp_path, "iam-policy-deletion.json") as made:
        await made.published()
        await delete_plain(made.bucket, made.object_key)
        assert there(made) == set()
        assert manifest_is_absent(made)


async def test_more_files_than_a_result_may_have_are_told_before_they_are_all_sent(
    plain: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain.desk, "_most_files", FILES - 1)
    _, end = await plain.publish()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_TOO_LARGE
    assert "299 files" in end.detail
    assert manifest_is_absent(plain)


async def test_a_file_that_is_not_kept_in_memory_is_sent_as_it_was_read(plain: Publishing) -> None:
    (plain.root / "large").write_bytes(os.urandom(9 << 20))
    _, end = await plain.published()
    assert await verdict(plain, end) is Verdict.VERIFIED
