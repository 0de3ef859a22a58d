"""Published facts: what a node tells of a result that it has published, declared once for all who pass it on.

The report of the node (messages.OutputPublished) and the record of the orchestrator have these fields among their own,
by the same names. Users are shown them by the names of the reference, in `PublishedParams`: msgspec does not rename
what is inherited, so that those names stand beside the fields.
"""

from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Self

import msgspec
from msgspec import field

from shared.jobs.publisher_params import GZIP, PLAIN
from shared.protocol.objects import is_plain

Count = Annotated[int, msgspec.Meta(ge=0)]

MAX_WARNINGS = 20
MAX_WARNING = 300
MAX_DIGEST = 128
"""How long a text of a node may be that is no warning: a SHA-512 in hexadecimal."""


class PublishedFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sizes in bytes, digests in hexadecimal, which are those of the whole archive and the node's claim."""

    size_bytes: Count
    md5: str = ""
    """As S3 makes its ETag of it: that of several parts is of their digests, with their number. No record has it."""
    sha256: str
    entries: Count = 0
    raw_bytes: Count = 0
    """The content of regular files."""
    warnings: tuple[str, ...] = ()
    """The first of what could not be archived as it was."""
    warnings_count: Count = 0
    publish_seconds: float = 0.0
    """From the task's end to the object's being there."""
    retries: Count = 0
    renewals: Count = 0
    archive_seconds: float = 0.0
    """The part of `publish_seconds` in which the archive was made and nothing else held it up."""
    parts: Count = 1
    index_bytes: Count = 0
    """0 of an archive that has no index."""
    index_sha256: str = ""
    left_out_count: Count = 0
    """Entries whose content is not in the archive as the task wrote it: the result is not whole."""
    content_digest: str = ""
    """Of the content alone (shared/protocol/results/content_manifest.py); empty where an earlier node told none."""
    manifest_bytes: Count = 0
    """Of the manifest beside an archive; 0 where there is none, and of a plain result, which is known by its own."""
    manifest_sha256: str = ""

    def told(self) -> dict[str, Any]:
        """These facts by their names, for a Struct that has them among its fields, and no longer than they may be."""
        return {name: _bounded(getattr(self, name)) for name in PublishedFacts.__struct_fields__}


class PublishedParams(msgspec.Struct, frozen=True, rename="pascal"):
    """Which object a result is: enough to find it, and never a URL."""

    job_id: str = field(name="JobID", default="")
    execution_id: str = field(name="ExecutionID", default="")
    bucket: str = ""
    key: str = ""
    region: str = ""
    endpoint: str = ""
    etag: str = field(name="ETag", default="")
    encoding: str = GZIP
    """`plain` where the result is an object for each file; key, size and digests are then those of their manifest."""
    sha256: str = field(name="SHA256", default="")
    size: int = 0
    entries: int = 0
    raw_size: int = 0
    warnings: tuple[str, ...] = ()
    """What could not be archived as it was: the first of them."""
    warnings_count: int = 0
    left_out_count: int = 0
    """Entries whose content is not in the result as the task wrote it: the result is not whole."""
    archive_seconds: float = 0.0
    publish_seconds: float = 0.0
    """From the task's end to the object's being there; `archive_seconds` is the part of it that packing took."""
    parts: int = 1
    retries: int = 0
    renewals: int = 0
    content_digest: str = ""
    """Of what is in the result alone, without times: two runs that made the same have the same one."""

    @classmethod
    def of(
        cls,
        facts: PublishedFacts,
        *,
        job_id: str,
        execution_id: str,
        bucket: str,
        key: str,
        region: str,
        endpoint: str,
        etag: str,
    ) -> Self:
        """The facts are given by their places, which are behind those of the others: many executions are listed."""
        _, values = _fields(cls)
        encoding = PLAIN if is_plain(key) else GZIP
        return cls(job_id, execution_id, bucket, key, region, endpoint, etag, encoding, *values(facts))


def shown(facts: PublishedFacts, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """These facts by the names of those fields that `shape`, which users are shown, has for them."""
    names, values = _fields(shape)
    return dict(zip(names, values(facts), strict=True))


_SHOWN_AS = {
    "size_bytes": "size",
    "raw_bytes": "raw_size",
    "index_bytes": "index_size",
    "manifest_bytes": "manifest_size",
}


@cache
def _fields(shape: type[msgspec.Struct]) -> tuple[tuple[str, ...], "attrgetter[tuple[Any, ...]]"]:
    """Those names, and what gets the facts for them."""
    facts = {_SHOWN_AS.get(fact, fact): fact for fact in PublishedFacts.__struct_fields__}
    names = tuple(name for name in shape.__struct_fields__ if name in facts)
    return names, attrgetter(*[facts[name] for name in names])


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_DIGEST]
    if isinstance(value, tuple):
        return tuple([each[:MAX_WARNING] for each in value[:MAX_WARNINGS]])
    return value
