"""Objects in S3 as inputs, of the kinds `s3` and `s3managed`: one by its key, or all below a prefix.

One needs s3:GetObject alone. For a prefix its list is asked for page by page, which needs s3:ListBucket; the pages and
the objects are bounded.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from orchestrator.inputs.allowed import Allowed, reserved
from orchestrator.inputs.problems import (
    InputDiffers,
    InputEmpty,
    InputForbidden,
    InputKeyUnusable,
    InputListForbidden,
    InputNotFound,
    InputsClash,
    InputsNotReady,
    TooManyObjects,
    named,
)
from orchestrator.rules.frozen_inputs import FrozenObject, FrozenSource
from orchestrator.rules.inputs.partitions import parts_of_keys
from orchestrator.rules.inputs.paths import clash, is_folder_marker, path_refusal, prefix_path
from orchestrator.rules.inputs.patterns import Pattern
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.listing import PAGE, ListedObject
from orchestrator.s3.locations import Locations
from orchestrator.s3.lookups import FoundObject, NotShown
from orchestrator.s3.problems import ProblemCode, explain_failure
from shared.errors import StorageUnavailable, TarponError
from shared.jobs.inputs.kinds import ManagedInputParams, read_params, sha256_of
from shared.jobs.inputs.partition import Partition
from shared.jobs.spec import SpecConfig

MAX_OBJECTS = 10_000
"""Of one input."""
MAX_PAGES = 100
"""Of a list, each of 1,000 objects, of which a filter may leave few."""
MOST_AT_ONCE = 16
"""Inputs that are looked up in one bucket at the same time. Further ones are not kept waiting, they are refused."""


class S3Objects:
    """The resolver of one of the two kinds, whose parameters `params` are."""

    def __init__(self, params: type[ManagedInputParams], allowed: Allowed, locations: Locations) -> None:
        self._params = params
        self._allowed = allowed
        self._locations = locations
        self._at_once: Counter[Location] = Counter()

    def __repr__(self) -> str:
        return f"<S3Objects by {self._params.__name__}>"

    async def resolve(self, namespace: str, source: SpecConfig, count: int) -> FrozenSource:
        """Raises what orchestrator/inputs/problems.py has, PatternInvalid, PatternTooSlow, and LayoutInvalid."""
        params = read_params(source, self._params)
        location = self._allowed.location_of(namespace, params)
        with self._one_more(location):
            try:
                bucket = await self._locations.bucket_of(location)
                if not params.is_prefix:
                    return await self._one(bucket, location, params)
                listed = await self._listed(bucket, location, namespace, params.filter)
            except StorageUnavailable as error:
                raise InputsNotReady(named(location), error.message, hint=error.hint) from None
        objects = await asyncio.to_thread(_frozen, listed, location, params.partition, count)
        return FrozenSource(location=location.at(""), objects=objects)

    @contextmanager
    def _one_more(self, location: Location) -> Iterator[None]:
        """A bucket that answers slowly holds up those alone who read from it, and takes bounded memory."""
        reached = location.at("")
        if self._at_once[reached] >= MOST_AT_ONCE:
            raise InputsNotReady(named(location), "inputs of too many jobs are being looked up in this bucket.")
        self._at_once[reached] += 1
        try:
            yield
        finally:
            self._at_once[reached] -= 1
            if not self._at_once[reached]:
                del self._at_once[reached]

    async def _one(self, bucket: Bucket, location: Location, params: ManagedInputParams) -> FrozenSource:
        try:
            found = await bucket.look(params.key, version=params.version_id)
        except NotShown as error:
            raise _explained(error, location, version=params.version_id) from None
        place = named(location)
        if found.is_folder:
            raise InputNotFound(
                place, "it is a folder", hint=f"Write its Key with a slash at the end: {params.key[:200]}/"
            )
        path = prefix_path(params.key, params.key)
        if refusal := path_refusal(path):
            raise InputKeyUnusable(place, params.key, refusal)
        claimed = sha256_of(params.checksum_sha256)
        if claimed and found.sha256 and claimed != found.sha256:
            raise InputDiffers(place, claimed, found.sha256)
        return FrozenSource(
            location=location.at(""), objects=(_object(params.key, path, found, params.version_id, claimed),)
        )

    async def _listed(self, bucket: Bucket, location: Location, namespace: str, pattern: str) -> list[ListedObject]:
        selection = _Selection(location, pattern, partial(self._allowed.is_reserved, namespace, location.bucket))
        token = ""
        for _ in range(MAX_PAGES):
            try:
                page = await bucket.list_page(location.key, token)
            except NotShown as error:
                raise _explained(error, location, of_list=True) from None
            if not await asyncio.to_thread(selection.take, page.objects):
                raise reserved(location, namespace)
            if len(selection.chosen) > MAX_OBJECTS:
                raise TooManyObjects(named(location), MAX_OBJECTS)
            token = page.next_token
            if not token:
                break
        else:
            raise TooManyObjects(named(location), MAX_PAGES * PAGE, looked_at=True)
        if not selection.chosen:
            raise InputEmpty(named(location), selection.seen)
        return selection.chosen


class _Selection:
    """Those of a list that an input has. Blocks, by its pattern."""

    def __init__(self, location: Location, pattern: str, is_reserved: Callable[[str], bool]) -> None:
        self.chosen: list[ListedObject] = []
        self.seen = 0
        self._prefix = location.key
        self._pattern = Pattern(pattern) if pattern else None
        self._is_reserved = is_reserved

    def take(self, objects: Sequence[ListedObject]) -> bool:
        """False where there is one that no input may have. Raises PatternTooSlow."""
        files = [each for each in objects if not is_folder_marker(each.key)]
        self.seen += len(files)
        if self._pattern is not None:
            found = self._pattern.searched(each.key.removeprefix(self._prefix) for each in files)
            files = [each for each, match in zip(files, found, strict=True) if match is not None]
        if any(self._is_reserved(each.key) for each in files):
            return False
        self.chosen += files
        return True


def _frozen(
    listed: Sequence[ListedObject], location: Location, partition: Partition, count: int
) -> tuple[FrozenObject, ...]:
    """With their parts and paths, in the order of their keys. Blocks."""
    place, ordered = named(location), sorted(listed, key=lambda each: each.key)
    keys = [each.key for each in ordered]
    paths = [prefix_path(location.key, key) for key in keys]
    for key, path in zip(keys, paths, strict=True):
        if refusal := path_refusal(path):
            raise InputKeyUnusable(place, key, refusal)
    if (met := clash(paths)) is not None:
        raise InputsClash(place, *met)
    parts = parts_of_keys(keys, partition, prefix=location.key, count=count)
    return tuple(
        FrozenObject(key=each.key, path=path, size=each.size, etag=each.etag, part=part)
        for each, path, part in zip(ordered, paths, parts, strict=True)
    )


def _explained(error: NotShown, location: Location, *, version: str = "", of_list: bool = False) -> TarponError:
    """What S3 said, in words about an input."""
    place, failure = named(location), error.failure
    problem = explain_failure(failure, location, error.skew)
    if problem.code is ProblemCode.ACCESS_DENIED and of_list:
        below_key = f" for what begins with {location.key[:200]!r}" if location.key else ""
        return InputListForbidden(place, f"s3:ListBucket on arn:aws:s3:::{location.bucket}{below_key}", str(failure))
    if problem.code is ProblemCode.BUCKET_MISSING:
        return InputNotFound(place, f"there is no bucket {location.bucket!r}")
    if problem.code is ProblemCode.REGION_WRONG:
        return InputNotFound(place, problem.message, hint=problem.hint)
    if failure.status == 404 or failure.code in {"NoSuchKey", "NoSuchVersion"}:
        return InputNotFound(place, "there is no such object" + (f" of version {version[:80]}" if version else ""))
    if problem.code is ProblemCode.ACCESS_DENIED:
        right = "s3:GetObjectVersion" if version else "s3:GetObject"
        return InputForbidden(place, f"{right} on arn:aws:s3:::{location.bucket}/{location.key}", str(failure))
    return InputsNotReady(place, problem.message, hint=problem.hint)


def _object(key: str, path: str, found: FoundObject, version: str, claimed: str) -> FrozenObject:
    return FrozenObject(
        key=key, path=path, size=found.size, etag=found.etag, version=version, sha256=claimed or found.sha256
    )
