"""The settings of inputs, and how an entry of the list of buckets that jobs may read is written."""

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta, Struct, field

from shared.data.loopback_hosts import is_loopback
from shared.ids import is_safe_id
from shared.settings.service_urls import is_service_url

_SECTION = "InputSources.Types.S3"
ALLOW = f"{_SECTION}.Allow"
PLAIN_TEXT = f"{_SECTION}.PlainText"
AWS = "aws"
"""As the endpoint of an entry: AWS, where the managed publisher's bucket is elsewhere."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


class S3Inputs(Struct, frozen=True, kw_only=True, rename="pascal"):
    allow: Annotated[
        tuple[str, ...],
        Meta(
            description="The buckets that inputs of kind s3 and s3managed may be read from, each as"
            " [NAMESPACE=]s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION]; empty: none. docs/inputs.md explains them."
        ),
    ] = ()
    plain_text: Annotated[
        bool,
        Meta(description="Whether endpoints in that list may be reached by http:// where they are not on loopback."),
    ] = False


class InputTypes(Struct, frozen=True, kw_only=True, rename="pascal"):
    s3: S3Inputs = field(default=S3Inputs(), name="S3")


class InputSources(Struct, frozen=True, kw_only=True, rename="pascal"):
    size_limit: Annotated[str, Meta(description="How many bytes of inputs one execution may read.")] = "1TB"
    types: InputTypes = InputTypes()


class AllowedPlace(Struct, frozen=True, kw_only=True):
    """One entry: jobs of `namespace`, or of all where it is empty, may read what `prefix` leads to in this bucket.

    An empty `endpoint` is that of the managed publisher, and so is an empty `region`.
    """

    namespace: str = ""
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @property
    def is_overheard(self) -> bool:
        """Whether its endpoint is another machine's, and has no TLS."""
        return urlsplit(self.endpoint).scheme == "http" and not is_loopback(self.endpoint)

    def covers(self, key: str) -> bool:
        """Whether an object of this key, or all whose keys begin so, is in it: `a/b` covers `a/b` and `a/b/c`."""
        if self.prefix.endswith("*"):
            return key.startswith(self.prefix[:-1])
        folder = f"{self.prefix.removesuffix('/')}/" if self.prefix else ""
        return key.startswith(folder) or (key == self.prefix and not key.endswith("/"))


def input_problems(settings: InputSources) -> Iterator[str]:
    """Each begins with the key."""
    for number, text in enumerate(settings.types.s3.allow):
        entry = f"{ALLOW}: the entry {number + 1}"
        try:
            place = read_place(text)
        except ValueError as error:
            yield f"{entry} {error}"
            continue
        if place.is_overheard and not settings.types.s3.plain_text:
            yield (
                f"{entry} has an endpoint by http://, so that whoever is on the way reads the inputs; use https://, or"
                f" set {PLAIN_TEXT}=true where the network is yours alone"
            )


def read_place(text: str) -> AllowedPlace:
    """Raises ValueError, whose text goes on after the entry."""
    namespace, scheme, rest = text.strip().partition("s3://")
    if not scheme or (namespace and not namespace.endswith("=")):
        raise ValueError("is not written as [NAMESPACE=]s3://BUCKET[/PREFIX]")
    namespace = namespace.removesuffix("=").strip()
    place, _, query = rest.partition("?")
    bucket, _, prefix = place.partition("/")
    options = {name: values[-1].strip() for name, values in parse_qs(query).items()}
    endpoint, region = options.pop("endpoint", ""), options.pop("region", "")
    found = AllowedPlace(namespace=namespace, bucket=bucket, prefix=prefix, endpoint=endpoint, region=region)
    for problem in _problems(found, options):
        raise ValueError(problem)
    return found


def _problems(place: AllowedPlace, unknown: dict[str, str]) -> Iterator[str]:
    if place.namespace and not is_safe_id(place.namespace):
        yield f"begins with {place.namespace[:80]!r}, which cannot be the name of a namespace"
    if not _BUCKET.fullmatch(place.bucket):
        yield f"has {place.bucket[:80]!r} where the name of a bucket belongs"
    if any(part in {".", ".."} for part in place.prefix.split("/")):
        yield "has a prefix with a part that is `.` or `..`"
    if unknown:
        yield f"has {min(unknown)[:40]!r} behind its question mark, where endpoint and region are possible"
    if place.region and not _REGION.fullmatch(place.region):
        yield f"has {place.region[:40]!r} where the name of a region belongs"
    if place.endpoint in {"", AWS}:
        return
    if not is_service_url(place.endpoint):
        yield "has an endpoint that is not a URL such as https://s3.example.com, without user, path or query"
