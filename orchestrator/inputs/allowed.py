"""Allowed inputs: which objects jobs of a namespace may read from S3, and by which service they are reached.

Nothing that an author writes makes the orchestrator sign for, or even ask, a service that its operator has not named.
The bucket of the managed publisher holds the results of all namespaces, and what was sent for jobs: these are not read
as inputs of kind s3 or s3managed, whatever the operator allows.
"""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from orchestrator.inputs.problems import InputNotAllowed, named
from orchestrator.rules.location import Location
from shared.jobs.inputs.kinds import ManagedInputParams, S3InputParams
from shared.protocol.objects import inputs_folder, root_of
from shared.settings.input_sources import ALLOW, AWS, AllowedPlace, read_place

# Archives and indexes, and what was sent, also where earlier settings have had them.
_RESULT = re.compile(r"(^|/)j-[0-9a-f-]{36}/e-[0-9a-f-]{36}\.(tar\.gz|index\.json\.gz)\Z")
_RESULTS = re.compile(r"j-[0-9a-f-]{36}/")
_SENT = re.compile(r"(^|/)inputs/[^/]+/((manifests|listings)/)?[0-9a-f]{64}(-[0-9a-f]+)?\Z")
_SLASHES = re.compile("//+")
_PLAIN_REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,3}-\d{1,2}\Z")
_DEFAULT_REGION = "us-east-1"
MOST_REGIONS = 64
"""Amazon has some 40."""


class Allowed:
    """`managed` is the place of results, if there is one; `entries` are those of the setting, which are right."""

    def __init__(self, entries: Sequence[str], managed: Location | None) -> None:
        self._places = tuple(read_place(each) for each in entries)
        self._managed = managed
        self._regions: set[str] = set()
        """Those that authors have named, each of which has hosts of its own."""

    def __repr__(self) -> str:
        return f"<Allowed {len(self._places)} places>"

    def location_of(self, namespace: str, params: ManagedInputParams) -> Location:
        """Where the objects are; its key is theirs, or what theirs begin with. Raises InputNotAllowed."""
        location = self._located(namespace, params)
        self._check_reserved(namespace, location, is_prefix=params.is_prefix)
        return location

    def _located(self, namespace: str, params: ManagedInputParams) -> Location:
        key = params.prefix if params.is_prefix else params.key
        bucket, endpoint, region = self._asked(namespace, params)
        place = f"s3://{bucket}/{params.key[:200]}"
        covering = [
            each
            for each in self._places
            if each.bucket == bucket and each.namespace in {"", namespace} and each.covers(key)
        ]
        if not covering:
            raise InputNotAllowed(place, namespace)
        reached = [self._reached(each, region) for each in covering]
        for each in reached:
            if endpoint is None or _same(endpoint, each.endpoint):
                return each.at(key)
        raise InputNotAllowed(
            place,
            namespace,
            "its Endpoint is not the one at which the bucket is allowed",
            hint=f"Leave Endpoint out, or have the operator name it in {ALLOW}: s3://{bucket}?endpoint=URL.",
        )

    def _asked(self, namespace: str, params: ManagedInputParams) -> tuple[str, str | None, str]:
        """The bucket, the endpoint if one is named, and the region."""
        if isinstance(params, S3InputParams):
            return params.bucket, params.endpoint.strip() or None, params.region.strip()
        if self._managed is None:
            raise InputNotAllowed(
                f"the managed publisher's s3://.../{params.key[:200]}",
                namespace,
                "this orchestrator has no bucket of its own",
                hint="The operator sets Publishers.Types.S3Managed.Bucket and .Region; or name a bucket, with s3.",
            )
        return self._managed.bucket, self._managed.endpoint, ""

    def _reached(self, place: AllowedPlace, region: str) -> Location:
        """By the service that the operator names. A region that an author names counts at AWS, where hosts have one."""
        managed = self._managed
        if place.endpoint == AWS or (not place.endpoint and (managed is None or not managed.endpoint)):
            own = managed.region if managed is not None and not managed.endpoint else _DEFAULT_REGION
            return Location(bucket=place.bucket, region=place.region or self._known(region) or own)
        if place.endpoint or managed is None:
            return Location(bucket=place.bucket, region=place.region or _DEFAULT_REGION, endpoint=place.endpoint)
        return replace(managed, bucket=place.bucket, key="", region=place.region or managed.region)

    def _known(self, region: str) -> str:
        """The region, if it may be one; there are not so many that what is made up would fill the memory."""
        if _PLAIN_REGION.fullmatch(region) and len(self._regions) < MOST_REGIONS:
            self._regions.add(region)
        return region if region in self._regions else ""

    def _check_reserved(self, namespace: str, location: Location, *, is_prefix: bool) -> None:
        """Before anything is listed: what leads to results, or to what others have sent, is not looked at at all."""
        if self._managed is None or location.bucket != self._managed.bucket:
            return
        root, key = root_of(self._managed.key), _as_a_path(location.key)
        leads_there = is_prefix and bool(root) and root.startswith(key)
        if leads_there or self.is_reserved(namespace, location.bucket, key):
            raise reserved(location, namespace)

    def is_reserved(self, namespace: str, bucket: str, key: str) -> bool:
        """Whether an object of this key is, or all whose keys begin so are, nothing that inputs read from S3."""
        managed = self._managed
        if managed is None or bucket != managed.bucket:
            return False
        key = _as_a_path(key)
        if key.startswith(inputs_folder(managed.key, namespace)):
            return False
        if _RESULT.search(key) or _SENT.search(key):
            return True
        root = root_of(managed.key)
        if root:
            return key.startswith(root)
        is_own = key.startswith(("namespaces/", "inputs/", ".tarpon-"))
        return is_own or _RESULTS.match(key) is not None


def _as_a_path(key: str) -> str:
    """Which object some services give for a key with more slashes than one: those that keep objects as files."""
    return _SLASHES.sub("/", key).lstrip("/")


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").lower() == other.rstrip("/").lower()


def reserved(location: Location, namespace: str) -> InputNotAllowed:
    return InputNotAllowed(
        named(location),
        namespace,
        "results of jobs, or what was sent for them, are there",
        hint="Narrow its Key. Results are read with an input of kind result, and what was sent with upload.",
    )
