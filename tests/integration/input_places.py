"""Objects that jobs read, in a real S3 server, and what the orchestrator finds of them (no tests)."""

import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.inputs.allowed import Allowed
from orchestrator.inputs.listings import Listings
from orchestrator.inputs.resolvers import InputResolvers
from orchestrator.inputs.s3_objects import S3Objects
from orchestrator.rules.frozen_inputs import FrozenInputs, FrozenObject, FrozenSource
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from shared.jobs.inputs.kinds import ManagedInputParams, S3InputParams
from shared.jobs.spec import InputSource, Job, SpecConfig
from tarpon.devstack.signed_requests import request
from tests.builders import new_job, new_task
from tests.integration.publishing import keys_from
from tests.servers import REGION, S3Server

ROOT = Path(__file__).resolve().parents[2]
ROLE = {"AWS": "arn:aws:iam::000000000000:user/orchestrator"}
RIGHTS = ("s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket")


def put_objects(server: S3Server, bucket: str, objects: Mapping[str, bytes]) -> None:
    """As they are, which clients are not always: that of botocore is confused by the answer for an empty one."""
    for key, content in objects.items():
        url = f"{server.endpoint}/{bucket}/{quote(key)}"
        status, answer = request("PUT", url, keys=server.admin, region=REGION, body=content)
        assert status == 200, answer


def new_bucket(server: S3Server, objects: Mapping[str, bytes] | None = None, rights: Sequence[str] = RIGHTS) -> str:
    """Of somebody else, who gives the orchestrator these rights to it."""
    name = f"data-{uuid.uuid4().hex[:12]}"
    server.client().create_bucket(Bucket=name)
    put_objects(server, name, objects or {})
    give_rights(server, name, rights)
    return name


def give_rights(server: S3Server, bucket: str, rights: Sequence[str]) -> None:
    of_bucket = [each for each in rights if each.startswith("s3:List")]
    of_objects = [each for each in rights if each not in of_bucket]
    places = ((of_bucket, f"arn:aws:s3:::{bucket}"), (of_objects, f"arn:aws:s3:::{bucket}/*"))
    _put_policy(
        server,
        bucket,
        [{"Effect": "Allow", "Action": actions, "Resource": place} for actions, place in places if actions],
    )


def give_documented_rights(server: S3Server, bucket: str, file: str) -> None:
    """Those of a policy in deploy/, which is for what is below `shared/` in my-data-bucket."""
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    _put_policy(server, bucket, json.loads(text.replace("my-data-bucket", bucket))["Statement"])


def _put_policy(server: S3Server, bucket: str, statements: Sequence[Mapping[str, Any]]) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{**each, "Principal": ROLE} for each in statements]}
    server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


class InputPlaces:
    """What an orchestrator with a bucket of its own, which allows inputs from these `entries`, looks up."""

    def __init__(self, server: S3Server, locations: Locations, entries: Sequence[str], size_limit: str) -> None:
        self.server = server
        self.locations = locations
        managed = locations.current.location if locations.current else None
        allowed = Allowed(entries, managed)
        self.listings = Listings(locations)
        self.resolvers = InputResolvers(
            {
                "s3": S3Objects(S3InputParams, allowed, locations),
                "s3managed": S3Objects(ManagedInputParams, allowed, locations),
            },
            self.listings,
            size_limit=size_limit,
        )

    async def frozen(self, job: Job) -> FrozenInputs:
        return await self.resolvers.freeze(job)

    async def found(self, source: SpecConfig, *, count: int = 1, namespace: str = "default") -> FrozenSource:
        (found,) = await self.resolvers.look_up(job_of(source, count=count, namespace=namespace))
        return found

    async def objects(
        self, source: SpecConfig, *, count: int = 1, namespace: str = "default"
    ) -> Sequence[FrozenObject]:
        return (await self.found(source, count=count, namespace=namespace)).objects

    async def paths(self, source: SpecConfig) -> list[str]:
        return [each.path for each in await self.objects(source)]


def job_of(*sources: SpecConfig, count: int = 1, namespace: str = "default", **of_task: Any) -> Job:
    inputs = tuple(InputSource(source=each, target=f"/in/{number}") for number, each in enumerate(sources))
    return new_job(count=count, namespace=namespace, tasks=(new_task(input_sources=inputs, **of_task),))


def s3_source(bucket: str, key: str, **more: Any) -> SpecConfig:
    return SpecConfig(type="s3", params={"Bucket": bucket, "Key": key} | more)


@asynccontextmanager
async def input_places(
    server: S3Server,
    *entries: str,
    managed: str = "",
    key: str = "results",
    size_limit: str = "1TB",
    endpoint: str = "",
) -> AsyncIterator[InputPlaces]:
    """`managed` is the bucket of results; without one it has a bucket that is not there."""
    location = Location(
        bucket=managed or "no-results-here", key=key, region=REGION, endpoint=endpoint or server.endpoint
    )
    async with Bucket(location, credentials=keys_from([server.orchestrator])) as bucket:
        if managed:
            await bucket.health.check()
        async with Locations(bucket) as locations:
            yield InputPlaces(server, locations, entries, size_limit)
