"""The check: results that are gone or replaced, and objects to which no record leads, are told and left alone."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.backups.check import Checked, check
from tests.documented_policies import give_rights
from tests.integration.orchestrator.backups.test_result_records import Results, published
from tests.integration.running import Running
from tests.servers import S3Server


def ignore(_done: int, _of: int) -> None:
    """Nobody watches."""


@pytest.fixture
async def results(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Results:
    (tmp_path / "own").mkdir()
    return Results(tmp_path, s3_server, monkeypatch, await asyncio.to_thread(s3_server.create_bucket))


async def checked(running: Running) -> Checked:
    return await check(running.config, progress=ignore)


async def archives_of(results: Results, *jobs: str) -> list[str]:
    keys = await results.keys()
    return [key for job in jobs for key in keys if f"/{job}/" in key and key.endswith(".tar.gz")]


async def test_what_is_gone_replaced_or_unknown_is_told_and_all_else_fits(results: Results) -> None:
    await asyncio.to_thread(give_rights, results.s3_server, results.bucket, "iam-policy-listing.json")
    async with results.running() as running:
        jobs = [await published(running) for _ in range(3)]
        await results.has_records(3)
        assert (await checked(running)).misfits == ()
        gone, replaced = await archives_of(results, *jobs[:2])
        stray = "results/j-0/e-0.tar.gz"
        client, bucket = results.client, results.bucket
        await asyncio.to_thread(client.delete_object, Bucket=bucket, Key=gone)
        for key in (replaced, stray):
            await asyncio.to_thread(client.put_object, Bucket=bucket, Key=key, Body=b"something else")
        before = await results.keys()
        found = await checked(running)
        assert found.counts == {"ObjectUnknown": 1, "ResultChanged": 1, "ResultMissing": 1}
        told = {each.kind: each.key for each in found.misfits}
        assert told["ObjectUnknown"] == stray
        assert (jobs[0] in told["ResultMissing"], jobs[1] in told["ResultChanged"]) == (True, True)
        assert await results.keys() == before, "nothing is deleted"


async def test_without_the_right_to_list_each_result_is_looked_at_and_what_was_not_is_told(results: Results) -> None:
    async with results.running() as running:
        jobs = [await published(running) for _ in range(2)]
        (gone,) = await archives_of(results, jobs[0])
        await asyncio.to_thread(results.client.delete_object, Bucket=results.bucket, Key=gone)
        found = await checked(running)
        assert found.counts == {"ResultMissing": 1}
        (left_out,) = found.left_out
        assert "s3:ListBucket" in left_out
