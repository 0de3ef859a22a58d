"""The bucket is read from once in a while, so that it is known that S3 is away before anybody needs it."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from orchestrator.api.agent import publisher_health
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.locations import Locations
from orchestrator.s3.problems import ProblemCode
from orchestrator.telemetry.surroundings import bucket_metrics
from shared.runtime.aio import background
from tests.faulty_s3 import FaultyS3
from tests.servers import REGION, S3Server
from tests.waiting import eventually


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultyS3]:
    async with FaultyS3(s3_server.endpoint).serving() as serving:
        yield serving


@pytest.fixture
async def bucket(s3_server: S3Server, proxy: FaultyS3) -> AsyncIterator[Bucket]:
    keys = s3_server.orchestrator

    def load() -> Snapshot:
        return Snapshot(
            access_key=keys.access,
            secret_key=keys.secret,
            token=None,
            expires_at=None,
            loaded_at=datetime.now(UTC),
            source="test",
        )

    name = s3_server.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
    location = Location(bucket=name, key="results", region=REGION, endpoint=proxy.endpoint)
    async with Bucket(location, credentials=CredentialSource(load), probe_interval_seconds=0.05) as opened:
        yield opened


def told(bucket: Bucket) -> dict[str, float]:
    return {metric.name: metric.values[()] for metric in bucket_metrics(bucket)}  # type: ignore[union-attr]


async def test_a_bucket_that_is_away_is_known_and_one_that_is_back_too(bucket: Bucket, proxy: FaultyS3) -> None:
    async with background(bucket=bucket.run()):
        await eventually(lambda: told(bucket)["tarpon_bucket_usable"] == 1, what="it is usable")
        await proxy.shut()
        await eventually(lambda: told(bucket)["tarpon_bucket_usable"] == 0, what="it is away")
        assert bucket.watch.problem is not None
        assert bucket.watch.problem.code == ProblemCode.ENDPOINT_UNREACHABLE
        assert bucket.health.outcome.ready, "jobs are taken all the same"
        shown = publisher_health(Locations(bucket), 0)
        assert shown is not None
        assert (shown.ready, shown.problem and shown.problem.code) == (False, ProblemCode.ENDPOINT_UNREACHABLE)
        await proxy.open()
        await eventually(lambda: told(bucket)["tarpon_bucket_usable"] == 1, what="it is usable again")
    assert told(bucket)["tarpon_bucket_clock_skew_seconds"] in {-1.0, 0.0, 1.0}


async def test_a_probe_that_a_rule_of_the_bucket_has_removed_is_no_trouble(
    bucket: Bucket, proxy: FaultyS3, s3_server: S3Server
) -> None:
    async with background(bucket=bucket.run()):
        await eventually(lambda: bucket.health.outcome.ready, what="it is usable")
        s3_server.client().delete_object(Bucket=bucket.location.bucket, Key="results/.tarpon-probe")
        looks = len(proxy.seen)
        await eventually(lambda: len(proxy.seen) > looks + 3, what="it was looked at")
        assert bucket.watch.problem is None


def test_where_no_bucket_is_configured_nothing_is_told_of_it() -> None:
    assert list(bucket_metrics(None)) == []
