"""The rules of deploy/bucket on a real S3 server, with what Tarpon does under each of them."""

import asyncio
import base64
import hashlib
import json
import shlex
import subprocess
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from yarl import URL

from compute.upload.put import Stored, put, upload_session
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.bucket_rules.answers import Unknown
from orchestrator.s3.bucket_rules.findings import rule_findings
from orchestrator.s3.deletion import ObjectLocked
from orchestrator.s3.plain_objects import delete_result
from orchestrator.s3.problems import ProblemCode
from orchestrator.s3.requests import AT_ONCE_BYTES
from orchestrator.s3.verification import ObjectFacts, Verdict, matches
from shared.runtime.aio import background
from shared.runtime.checkup import Grade
from tests import bucket_rule_files as rules
from tests.documented_policies import ORCHESTRATOR
from tests.documents import ROOT, command_lines
from tests.faulty_s3 import LOCKED, FaultyS3, Kind
from tests.integration.orchestrator.s3.test_s3_bucket import opened
from tests.programs import require_program
from tests.servers import S3Server
from tests.waiting import answered, eventually

ORIGIN = "https://tarpon.example.org"
CONTENT = b"0123456789"


@pytest.fixture
async def name(s3_server: S3Server) -> str:
    return await asyncio.to_thread(s3_server.create_bucket)


async def ask(s3_server: S3Server, call: str, **arguments: Any) -> Any:
    """As the operator."""
    return await asyncio.to_thread(getattr(s3_server.client(), call), **arguments)


async def give(s3_server: S3Server, bucket: str, *files: str) -> None:
    await ask(s3_server, "put_bucket_policy", Bucket=bucket, Policy=rules.policy(bucket, *files, allowed=least(bucket)))


def least(bucket: str) -> list[dict[str, Any]]:
    return rules.least_rights(bucket)


async def publish(bucket: Bucket, key: str, content: bytes = CONTENT) -> ObjectFacts:
    """As a node does, and as the orchestrator looks at it then."""
    digest = base64.b64encode(hashlib.md5(content).digest()).decode()
    async with upload_session() as node:
        url = await bucket.sign_put(key, create_only=True)
        assert isinstance(await put(node, url, memoryview(content), content_md5=digest), Stored)
    found = await bucket.head(key)
    assert isinstance(found, ObjectFacts)
    assert matches(found, len(content), hashlib.md5(content).hexdigest()) is Verdict.VERIFIED
    return found


async def read(url: str, **headers: str) -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession() as browser, browser.get(URL(url, encoded=True), headers=headers) as answer:
        await answer.read()
        return answer


async def test_a_denial_of_plain_text_makes_the_probe_of_an_http_endpoint_say_what_is_wrong(
    s3_server: S3Server, name: str
) -> None:
    await give(s3_server, name, "policy-tls.json")
    async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
        outcome = await answered(
            bucket.health.check, lambda found: not found.ready, within=20, what="the policy is in force"
        )
        assert outcome.problem is not None
        assert outcome.problem.code is ProblemCode.ACCESS_DENIED
        assert "where the bucket's policy asks for TLS, it has to be https://" in outcome.problem.hint


async def test_a_limit_of_the_age_of_signatures_is_longer_than_the_life_of_urls(s3_server: S3Server, name: str) -> None:
    await give(s3_server, name, "policy-signature-age.json")
    async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
        assert (await bucket.health.check()).ready
        await publish(bucket, "results/j-1/e-1.tar.gz")
        url = await bucket.sign_get("results/j-1/e-1.tar.gz")
        assert url.lifetime_seconds * 1000 < rules.AGE_MS


class TestSharingWithThePage:
    async def test_lets_it_read_a_range_of_a_result_and_its_headers(self, s3_server: S3Server, name: str) -> None:
        await ask(s3_server, "put_bucket_cors", Bucket=name, CORSConfiguration=rules.rule("cors.json"))
        async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
            await publish(bucket, "results/j-1/e-1.tar.gz")
            url = (await bucket.sign_get("results/j-1/e-1.tar.gz", saved_as="result.tar.gz")).url
        answer = await read(url, Origin=ORIGIN, Range="bytes=2-4")
        assert (answer.status, answer.headers["Content-Range"]) == (206, "bytes 2-4/10")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = {each.strip().lower() for each in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert exposed >= {"etag", "content-range", "content-length", "accept-ranges"}

    async def test_lets_no_other_page(self, s3_server: S3Server, name: str) -> None:
        await ask(s3_server, "put_bucket_cors", Bucket=name, CORSConfiguration=rules.rule("cors.json"))
        async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
            await publish(bucket, "results/j-1/e-1.tar.gz")
            url = (await bucket.sign_get("results/j-1/e-1.tar.gz")).url
        answer = await read(url, Origin="https://other.example.org")
        assert "Access-Control-Allow-Origin" not in answer.headers


class TestLifeCycle:
    @pytest.mark.parametrize("file", ["lifecycle.json", "lifecycle-expiry.json"])
    async def test_is_taken_as_it_stands_and_leaves_nothing_to_say(
        self, s3_server: S3Server, name: str, file: str
    ) -> None:
        given = rules.rule(file)
        await ask(s3_server, "put_bucket_lifecycle_configuration", Bucket=name, LifecycleConfiguration=given)
        kept = await ask(s3_server, "get_bucket_lifecycle_configuration", Bucket=name)
        assert kept["Rules"] == given["Rules"]
        await ask(s3_server, "put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        async with opened(s3_server.endpoint, name, s3_server.admin) as bucket:
            found = rule_findings(await bucket.rules(), bucket.location)
            assert {each.grade for each in found} == {Grade.OK}

    async def test_that_is_missing_is_told_to_whoever_may_look(self, s3_server: S3Server, name: str) -> None:
        await ask(s3_server, "put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        async with opened(s3_server.endpoint, name, s3_server.admin) as bucket:
            found = rule_findings(await bucket.rules(), bucket.location)
            assert [each.code for each in found] == ["UnfinishedUploadsStay", "EarlierVersionsStay"]

    async def test_is_hidden_from_the_least_rights(self, s3_server: S3Server, name: str) -> None:
        async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
            assert (await bucket.rules()).lifecycle is Unknown.FORBIDDEN

    async def test_is_shown_with_the_rights_that_are_documented_for_it(self, s3_server: S3Server, name: str) -> None:
        text = (ROOT / "deploy" / "iam-policy-rules.json").read_text().replace("my-result-bucket", name)
        granted = [each | {"Principal": ORCHESTRATOR} for each in json.loads(text)["Statement"]]
        policy = rules.policy(name, allowed=[*least(name), *granted])
        await ask(s3_server, "put_bucket_policy", Bucket=name, Policy=policy)
        async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
            found = await answered(
                bucket.rules, lambda found: found.lifecycle is not Unknown.FORBIDDEN, within=20, what="may look"
            )
            assert (found.lifecycle, found.versioning) == ((), "")


class TestObjectLock:
    async def test_takes_results_and_keeps_them_when_they_are_deleted(self, s3_server: S3Server) -> None:
        name = await asyncio.to_thread(locked_bucket, s3_server)
        async with opened(s3_server.endpoint, name, s3_server.admin) as bucket:
            assert (await bucket.health.check()).ready
            assert (await bucket.health.check()).ready, "the probe is written again"
            await publish(bucket, "results/j-1/e-1.tar.gz")
            await delete_result(bucket, "results/j-1/e-1.tar.gz")
            assert not isinstance(await bucket.head("results/j-1/e-1.tar.gz"), ObjectFacts)
        found = await ask(s3_server, "list_object_versions", Bucket=name, Prefix="results/j-1/")
        (kept,) = found["Versions"]
        with pytest.raises(ClientError, match="AccessDenied"):
            await ask(s3_server, "delete_object", Bucket=name, Key=kept["Key"], VersionId=kept["VersionId"])

    async def test_without_versions_is_told_by_what_is_deleted_and_by_what_is_written_again(
        self, s3_server: S3Server, name: str
    ) -> None:
        async with (
            FaultyS3(s3_server.endpoint).serving() as s3,
            opened(s3.endpoint, name, s3_server.orchestrator) as bucket,
        ):
            s3.plan(Kind.OTHER, LOCKED, LOCKED)
            with pytest.raises(ObjectLocked, match="until their retention ends"):
                await bucket.delete("results/j-1/e-1.tar.gz")
            problem = (await bucket.health.check()).problem
            assert problem is not None
            assert "locks its objects and has no versions" in problem.message


def locked_bucket(s3_server: S3Server) -> str:
    client, name = s3_server.client(), f"locked-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=rules.rule("object-lock.json"))
    return name


async def test_all_that_the_orchestrator_puts_comes_with_its_md5(s3_server: S3Server, name: str) -> None:
    """Without it AWS refuses a PUT into a bucket that locks objects by default."""
    large = b"x" * (AT_ONCE_BYTES + 1)
    async with (
        FaultyS3(s3_server.endpoint).serving() as s3,
        opened(s3.endpoint, name, s3_server.orchestrator) as bucket,
    ):
        assert (await bucket.health.check()).ready
        await bucket.put_new("results/inputs/default/listings/a", large)
        await bucket.put("results/j-1/e-1.result.json", CONTENT)
        puts = [each for each in s3.seen if each.body_bytes and each.kind is not Kind.COMPLETE]
    assert {"content-md5"} <= set.intersection(*(set(each.headers) for each in puts))
    assert base64.b64decode(puts[-2].headers["content-md5"]) == hashlib.md5(large).digest()


async def test_a_bucket_that_encrypts_by_itself_takes_results(s3_server: S3Server, name: str) -> None:
    by_default = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    await ask(s3_server, "put_bucket_encryption", Bucket=name, ServerSideEncryptionConfiguration=by_default)
    async with opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket, background(bucket=bucket.run()):
        await eventually(lambda: bucket.health.outcome.ready)
        await publish(bucket, "results/j-1/e-1.tar.gz")
        answer = await read((await bucket.sign_get("results/j-1/e-1.tar.gz")).url)
        assert answer.headers["x-amz-server-side-encryption"] == "AES256"


COMMANDS = [line for line in command_lines() if line.startswith("aws s3api put-")]


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.split()[2])
async def test_a_command_of_the_documents_is_taken(s3_server: S3Server, line: str, tmp_path: Path) -> None:
    """As the AWS command line reads it, which makes its options of the same model of S3."""
    _, _, command, *words = shlex.split(line)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options.pop("--bucket") == "my-result-bucket"
    ((option, value),) = options.items()
    name = f"commanded-{uuid.uuid4().hex[:12]}"
    await ask(s3_server, "create_bucket", Bucket=name, ObjectLockEnabledForBucket=True)
    if value == "file://policy.json":
        given: Any = await asyncio.to_thread(joined_policies, name, tmp_path)
    elif value.startswith("file://"):
        given = json.loads((ROOT / value.removeprefix("file://")).read_text())
    else:
        given = dict([value.split("=")])
    await ask(s3_server, command.replace("-", "_"), Bucket=name, **{member_of(s3_server, command, option): given})


def member_of(s3_server: S3Server, command: str, option: str) -> str:
    """What of the request the option of the command line stands for."""
    client = s3_server.client()
    operation = client.meta.method_to_api_mapping[command.replace("-", "_")]
    members: list[str] = list(client.meta.service_model.operation_model(operation).input_shape.members)
    (found,) = [each for each in members if xform_name(each, "-") == option.removeprefix("--")]
    return found


def joined_policies(bucket: str, folder: Path) -> str:
    """By the command that stands above, without the statement that locks all out of a SeaweedFS."""
    require_program("jq")
    (line,) = [line for line in command_lines() if line.startswith("jq -s") and "policy-tls" in line]
    command = line.replace("YOUR-BUCKET", bucket).replace("deploy/bucket", str(rules.FOLDER))
    command = command.replace(str(rules.FOLDER / "policy-signature-version.json"), "")
    subprocess.run(["bash", "-c", command], cwd=folder, check=True, timeout=20)
    return (folder / "policy.json").read_text(encoding="utf-8")
