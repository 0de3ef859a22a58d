"""An S3 service with a certificate of an authority of its own: who is told of it uses it, and nobody else does."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compute.upload.put import NotAnswered, Stored, put, upload_session
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.problems import ProblemCode
from shared.runtime.aio import background
from shared.runtime.tls.trust import trusting_store
from tarpon.devstack.seaweedfs import SeaweedFS
from tarpon.devstack.tls_files import TlsFiles, made_in
from tarpon.http.trust import ClientTrust
from tarpon.transfer.stored_object import object_session
from tests import bucket_rule_files as rules
from tests.servers import HOST, REGION, Keys
from tests.waiting import eventually


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return made_in(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture(scope="module")
def server(files: TlsFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    made = SeaweedFS(
        tmp_path_factory.mktemp("encrypted-s3"), certificate=files.store, ca_file=str(files.store_authority)
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def name(server: SeaweedFS) -> str:
    return server.create_bucket(prefix="results")


def source(keys: Keys) -> CredentialSource:
    def load() -> Snapshot:
        return Snapshot(
            access_key=keys.access,
            secret_key=keys.secret,
            token=None,
            expires_at=None,
            loaded_at=datetime.now(UTC),
            source="test",
        )

    return CredentialSource(load)


@asynccontextmanager
async def opened(server: SeaweedFS, name: str, ca_file: Path | str) -> AsyncIterator[Bucket]:
    location = Location(bucket=name, key="results", region=REGION, endpoint=server.endpoint)
    made = Bucket(location, credentials=source(server.orchestrator), probe_interval_seconds=0.05, ca_file=str(ca_file))
    async with made as bucket, background(bucket=bucket.run()):
        yield bucket


async def test_all_who_are_told_of_the_authority_use_it(server: SeaweedFS, name: str, files: TlsFiles) -> None:
    content = b"bytes"
    async with (
        opened(server, name, files.store_authority) as bucket,
        upload_session(trusting_store(files.store_authority)) as node,
        object_session(ClientTrust(store_ca_file=str(files.store_authority))) as person,
    ):
        await eventually(lambda: bucket.health.outcome.ready, what="the bucket can be used")
        url = await bucket.sign_put("results/a", create_only=True)
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        assert isinstance(await put(node, url, memoryview(content), content_md5=digest), Stored)
        async with person.get((await bucket.sign_get("results/a")).url) as answer:
            assert await answer.read() == content
        upload = await bucket.begin_multipart("results/b")  # by botocore, which has to be told by itself
        assert upload


async def test_without_the_authority_the_bucket_is_not_used_and_the_reason_told(
    server: SeaweedFS, name: str, files: TlsFiles
) -> None:
    for ca_file in ("", files.authority):
        async with opened(server, name, ca_file) as bucket:
            await eventually(lambda: bucket.health.outcome.problem is not None)  # asked here
            await eventually(lambda: problem_of(bucket) == ProblemCode.TLS_FAILED)


def problem_of(bucket: Bucket) -> ProblemCode | None:
    problem = bucket.health.outcome.problem
    return problem.code if problem else None


async def test_a_node_sends_nothing_to_a_service_of_another_authority(
    server: SeaweedFS, name: str, files: TlsFiles
) -> None:
    async with (
        opened(server, name, files.store_authority) as bucket,
        upload_session(trusting_store(files.authority)) as node,
    ):
        await eventually(lambda: bucket.health.outcome.ready)
        url = await bucket.sign_put("results/c", create_only=True)
        with pytest.raises(NotAnswered):
            await put(node, url, memoryview(b"x"), content_md5="nUteBIbtbIlg6xIh4kIEUw==")


async def test_a_bucket_that_denies_plain_text_is_used_over_tls(server: SeaweedFS, files: TlsFiles) -> None:
    bucket_name = await asyncio.to_thread(server.create_bucket)
    policy = rules.policy(bucket_name, "policy-tls.json", allowed=rules.least_rights(bucket_name)).encode()
    await asyncio.to_thread(server._administer, "PUT", f"/{bucket_name}?policy=", policy)
    async with opened(server, bucket_name, files.store_authority) as bucket:
        await eventually(lambda: bucket.health.outcome.ready, what="the bucket can be used")
        assert await bucket.begin_multipart("results/in-parts")
