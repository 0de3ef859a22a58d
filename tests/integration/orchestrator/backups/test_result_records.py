"""Records of results beside them in the bucket: put there by the leader, and gone with the result."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from orchestrator.admission.result_signing import ResultSigner, SignatureMissing, opened
from orchestrator.dispatch.result_records import AT_ONCE
from orchestrator.jobs.removal import removals
from orchestrator.rules.result_record import ResultRecord
from shared.protocol.results.result_record import FORMAT, PAYLOAD_TYPE
from shared.settings.secret import Secret
from tests.documented_policies import give_rights
from tests.faulty_s3 import INTERNAL, Fault, FaultyS3, Kind
from tests.integration.orchestrator.storage.test_restored_state import BEFORE, Restorable, queued_job, run_once
from tests.integration.running import Running
from tests.nats_bus import new_user_seed
from tests.servers import S3Server
from tests.waiting import answered, eventually

ON = "Publishers.Types.S3Managed.ResultRecords=true"
OFF = "Publishers.Types.S3Managed.ResultRecords=false"


class Results(Restorable):
    """An orchestrator whose bucket is looked into."""

    def __init__(self, folder: Path, s3_server: S3Server, patch: pytest.MonkeyPatch, bucket: str) -> None:
        super().__init__(folder, s3_server, patch, bucket)
        self.bucket = bucket
        self.s3_server = s3_server
        self.client = s3_server.client()

    def with_settings(self, *sets: str) -> "Results":
        self._sets = (*self._sets, *sets)
        return self

    async def keys(self) -> list[str]:
        def listed() -> list[str]:
            return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

        found = await asyncio.to_thread(listed)
        return [key for key in found if "probe" not in key]

    async def has_records(self, count: int) -> list[str]:
        def those(keys: list[str]) -> bool:
            return sum(key.endswith(".result.json") for key in keys) == count

        return await answered(self.keys, those, within=20, what=f"there are {count} records")


@pytest.fixture
async def results(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Results:
    (tmp_path / "own").mkdir()
    return Results(tmp_path, s3_server, monkeypatch, await asyncio.to_thread(s3_server.create_bucket))


async def published(running: Running) -> str:
    job = await queued_job(running)
    await run_once(running, job, BEFORE)
    return job


async def test_a_record_tells_of_its_result_and_goes_with_it(results: Results) -> None:
    await asyncio.to_thread(give_rights, results.s3_server, results.bucket, "iam-policy-deletion.json")
    async with results.running() as running:
        job = await published(running)
        (key,) = [each for each in await results.has_records(1) if each.endswith(".result.json")]
        body = (await asyncio.to_thread(results.client.get_object, Bucket=results.bucket, Key=key))["Body"].read()
        envelope = msgspec.json.decode(body)
        found = msgspec.json.decode(opened(body, {envelope["signatures"][0]["keyid"]}), type=ResultRecord)
        assert (envelope["payloadType"], found.format, found.job_id) == (PAYLOAD_TYPE, FORMAT, job)
        assert found.location.key == key.replace(".result.json", ".tar.gz")
        assert found.result.size_bytes == len(BEFORE)
        answer = await running.ask(f"/api/v1/orchestrator/jobs/{job}/record?results=true", "DELETE")
        assert answer.json["Deleted"]
        await answered(results.keys, lambda keys: keys == [], within=20, what="nothing is left of the result")


async def test_a_record_that_is_on_its_way_while_its_result_is_deleted_goes_with_it(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "WAIT_SECONDS", 1.0)
    await asyncio.to_thread(give_rights, results.s3_server, results.bucket, "iam-policy-deletion.json")
    may_arrive = asyncio.Event()
    async with FaultyS3(results.s3_server.endpoint).serving() as s3:
        s3.plan(Kind.RECORD, Fault(hold=may_arrive))
        async with results.with_settings(f"Publishers.Types.S3Managed.Endpoint={s3.endpoint}").running() as running:
            job = await published(running)
            await eventually(lambda: s3.of(Kind.RECORD), what="the record is on its way")
            await running.ask(f"/api/v1/orchestrator/jobs/{job}/record?results=true", "DELETE")
            may_arrive.set()
            await eventually(lambda: s3.of(Kind.RECORD)[0].status == 200, what="it has come")
            await answered(results.keys, lambda keys: keys == [], within=20, what="nothing is left of the result")


async def test_results_from_before_get_their_records_once_they_are_wanted(results: Results) -> None:
    async with results.with_settings(OFF).running() as running:
        await published(running)
        await published(running)
        assert await results.has_records(0)
    async with results.with_settings(ON).running():
        await results.has_records(2)


async def test_records_that_s3_does_not_take_at_first_are_all_written_later(results: Results) -> None:
    async with FaultyS3(results.s3_server.endpoint).serving() as s3:
        through_it = results.with_settings(f"Publishers.Types.S3Managed.Endpoint={s3.endpoint}")
        async with through_it.with_settings(OFF).running() as running:
            for _ in range(AT_ONCE):
                await published(running)
        s3.plan(Kind.RECORD, INTERNAL, *[Fault(hold=asyncio.Event())] * (AT_ONCE - 1))
        async with through_it.with_settings(ON).running():
            await results.has_records(AT_ONCE)
        assert not s3.planned


class TestSignatures:
    SIGNER = ResultSigner(Secret(new_user_seed()))

    def test_what_was_signed_is_opened_with_the_key_of_who_signed(self) -> None:
        envelope = self.SIGNER.envelope(b"{}")
        assert opened(envelope, {"another", self.SIGNER.public_key}) == b"{}"
        assert self.SIGNER.envelope(b"{}") == envelope, "what is written again is the same"

    @pytest.mark.parametrize(
        ("part", "other"),
        [
            (b'"payload":"e30="', b'"payload":"W10="'),
            (b'"sig":"', b'"sig":"AAAA'),
            (b"result+json", b"other+json"),
            (b'"signatures":[', b'"signatures":[],"x":['),
        ],
        ids=["payload", "signature", "type", "unsigned"],
    )
    def test_what_was_changed_does_not_count(self, part: bytes, other: bytes) -> None:
        envelope = self.SIGNER.envelope(b"{}")
        assert part in envelope
        with pytest.raises(SignatureMissing):
            opened(envelope.replace(part, other), {self.SIGNER.public_key})

    def test_another_signer_does_not_count(self) -> None:
        with pytest.raises(SignatureMissing):
            opened(ResultSigner(Secret(new_user_seed())).envelope(b"{}"), {self.SIGNER.public_key})
