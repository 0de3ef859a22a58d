"""Kinds of inputs: what a job may say in `Source.Params`, declared once for each kind that there is.

The names are the reference's where it has the kind. Keys may be in any case, and null is the same as leaving one out.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import ClassVar, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from shared.data.decoding import canonical, close_match, wrong_parts
from shared.errors import InvalidDocument, InvalidJob
from shared.jobs.engine_params import MAX_UNKNOWN, Looked, without_nulls
from shared.jobs.inputs.partition import Partition, PartitionBy
from shared.jobs.spec import SpecConfig

P = TypeVar("P", bound="InputParams")

MAX_KEY_BYTES = 1024
"""Of a key of S3 (Amazon S3 user guide, "Naming Amazon S3 objects")."""
MAX_URL = 8192
MAX_PATTERN = 1024
MAX_INLINE_BYTES = 64 * 1024
MAX_RESULT_PATHS = 256
GZIP_TYPES = frozenset({"application/gzip", "application/x-gzip"})
"""Content of these types is a tree: a tar archive, compressed."""

_SHA256 = re.compile(r"(?:sha256:)?[0-9a-fA-F]{64}\Z")


class InputParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Of one kind of input. `managed` kinds are looked up when the job is submitted, and read by signed URLs."""

    managed: ClassVar[bool] = False

    def problems(self) -> Iterator[str]:
        """What is wrong although its types are right; each begins with the path below Params, or with a blank."""
        yield from ()


class ManagedInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Objects in the bucket of the managed publisher.

    A `key` that ends with a slash or `*` is a prefix. `filter` is a pattern that is searched for in what follows it, by
    which objects are chosen. `checksum_sha256` is of one object alone, in base64 as S3 writes it, or in hex.
    """

    managed: ClassVar[bool] = True

    key: str = ""
    filter: str = ""
    version_id: str = msgspec.field(name="VersionID", default="")
    checksum_sha256: str = msgspec.field(name="ChecksumSHA256", default="")
    partition: Partition = Partition()

    @property
    def is_prefix(self) -> bool:
        return not self.key or self.key.endswith(("/", "*"))

    @property
    def prefix(self) -> str:
        return self.key.removesuffix("*")

    def problems(self) -> Iterator[str]:
        yield from self.partition.problems(".Partition")
        if len(self.key.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
            yield f".Key is too long; {MAX_KEY_BYTES:,} bytes are possible."
        if any(part in {".", ".."} for part in self.key.split("/")):
            yield f".Key {self.key[:80]!r} has a part that is `.` or `..`, which no file can be named."
        if len(self.filter) > MAX_PATTERN:
            yield f".Filter has {len(self.filter):,} characters; at most {MAX_PATTERN:,} are possible."
        if self.filter and not self.is_prefix:
            yield ".Filter is for a Key that is a prefix: one that ends with a slash or `*`."
        if (self.version_id or self.checksum_sha256) and self.is_prefix:
            yield ".VersionID and ChecksumSHA256 are for one object: a Key that ends with neither a slash nor `*`."
        if self.checksum_sha256 and not sha256_of(self.checksum_sha256):
            yield f".ChecksumSHA256 {self.checksum_sha256[:80]!r} is no SHA-256, in base64 or in hex."


class S3InputParams(ManagedInputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Objects in a bucket of which the orchestrator's operator allows inputs."""

    bucket: str = ""
    region: str = ""
    endpoint: str = ""

    def problems(self) -> Iterator[str]:
        if not self.bucket:
            yield ".Bucket is missing."
        if self.endpoint and urlsplit(self.endpoint).scheme not in {"http", "https"}:
            yield f".Endpoint {self.endpoint[:80]!r} is not an http:// or https:// address."
        yield from super().problems()


class UploadInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """What was sent with `tarpon data put`: `data` is its name, or its digest as that prints it."""

    managed: ClassVar[bool] = True

    data: str = ""
    partition: Partition = Partition()

    def problems(self) -> Iterator[str]:
        yield from self.partition.problems(".Partition")
        if not self.data:
            yield ".Data is missing: the name or the digest of what `tarpon data put` has sent."
        elif len(self.data) > 255 or not self.data.isprintable():
            yield f".Data {self.data[:80]!r} is neither a name nor a digest."


class ResultInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """The result of a job of the same namespace, by its id or name: all of it, or what is at these `paths`."""

    managed: ClassVar[bool] = True

    job: str = ""
    paths: tuple[str, ...] = ()

    def problems(self) -> Iterator[str]:
        if not self.job:
            yield ".Job is missing: the id or the name of a job."
        if len(self.paths) > MAX_RESULT_PATHS:
            yield f".Paths has {len(self.paths):,} entries; at most {MAX_RESULT_PATHS} are possible."
        for path in self.paths[:MAX_RESULT_PATHS]:
            if not path.strip("/") or ".." in path.split("/") or "\0" in path or len(path) > MAX_KEY_BYTES:
                yield f".Paths: {path[:80]!r} is not the path of a file or folder in a result."


class InlineInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A few KiB in the job itself: `content` as text, or a `url` that begins with `data:`, as in the reference."""

    content: str | None = None
    url: str = msgspec.field(name="URL", default="")

    def problems(self) -> Iterator[str]:
        if (self.content is None) == (not self.url):
            yield " needs either Content or URL."
            return
        try:
            _, content = self.read()
        except ValueError:
            yield ".URL is not a `data:` URL."
            return
        if len(content) > MAX_INLINE_BYTES:
            yield f" holds {len(content):,} bytes; send more than {MAX_INLINE_BYTES:,} with `tarpon data put`."

    def read(self) -> tuple[str, bytes]:
        """Its media type and its bytes. Raises ValueError."""
        if self.content is not None:
            return "text/plain", self.content.encode(errors="surrogatepass")
        head, comma, body = self.url.partition(",")
        if not comma or not head.lower().startswith("data:"):
            raise ValueError(head[:20])
        kind, *options = head[len("data:") :].lower().split(";")
        if "base64" not in options:
            return kind, unquote_to_bytes(body)
        return kind, base64.b64decode(b"".join(unquote_to_bytes(body).split()), validate=True)


class UrlInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One file by HTTP, which the node fetches itself."""

    url: str = msgspec.field(name="URL", default="")

    def problems(self) -> Iterator[str]:
        if not self.url:
            yield ".URL is missing."
        elif problem := url_problem(self.url):
            yield f".URL {problem}"


class LocalInputParams(InputParams, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A file or folder of the node, which its operator allows, to be written to if `read_write`."""

    source_path: str = ""
    read_write: bool = False
    create_as: str = ""

    def problems(self) -> Iterator[str]:
        if not self.source_path.startswith("/") or ".." in self.source_path.split("/") or "\0" in self.source_path:
            yield f".SourcePath {self.source_path[:80]!r} is not an absolute path without `..`."
        if self.create_as.strip().lower() not in {"", "nocreate"}:
            yield f".CreateAs {self.create_as[:20]!r} is not possible: what is not there is not made. Leave it out."


LOCAL = "localDirectory"
INPUTS: dict[str, type[InputParams]] = {
    "s3": S3InputParams,
    "s3managed": ManagedInputParams,
    "upload": UploadInputParams,
    "result": ResultInputParams,
    "inline": InlineInputParams,
    "urlDownload": UrlInputParams,
    LOCAL: LocalInputParams,
}
_BY_LOWER = {name.lower(): name for name in INPUTS} | {"local": LOCAL}
_KNOWN = {kind: {field.encode_name.lower() for field in msgspec.structs.fields(kind)} for kind in INPUTS.values()}
_PATH = "Source.Params"


def kind_of(source: SpecConfig) -> str:
    """The name of its kind as it is spelled here; empty where there is none of the name."""
    return _BY_LOWER.get(source.type.strip().lower(), "")


def names() -> tuple[str, ...]:
    return tuple(INPUTS)


def close_kind(text: str) -> str:
    """The kind that was probably meant, or nothing."""
    return close_match(text.strip()[:80], INPUTS)


def look(source: SpecConfig) -> Looked:
    """The parameters in their normal form, and what is wrong. Of an unknown kind nothing is looked at but nulls."""
    params = without_nulls(source.params)
    kind = INPUTS.get(kind_of(source))
    if kind is None:
        return Looked(params)
    known = {key: value for key, value in params.items() if key.lower() in _KNOWN[kind]}
    unknown = {key: value for key, value in params.items() if key not in known}
    try:
        copy, _ = canonical(known, kind)
    except InvalidDocument as error:  # two keys that differ in case alone
        return Looked(params, (f"{_PATH}: {error.message}",))
    if problems := tuple(wrong_parts(copy, kind, _PATH, strict=False)):
        return Looked(copy | unknown, problems)
    read = msgspec.convert(copy, kind, strict=False)
    return Looked(copy | unknown, tuple(f"{_PATH}{problem}" for problem in read.problems()))


def unknown_told(source: SpecConfig) -> Iterator[str]:
    """A sentence for each parameter that the kind does not know, with the one that was probably meant."""
    kind = INPUTS.get(kind_of(source))
    if kind is None:
        return
    unknown = [key for key, value in source.params.items() if key.lower() not in _KNOWN[kind] and value is not None]
    for key in unknown[:MAX_UNKNOWN]:
        meant = close_match(key[:80], (field.encode_name for field in msgspec.structs.fields(kind)))
        yield f"{_PATH}.{key[:80]} is not known and was ignored" + (f"; did you mean {meant}?" if meant else "")


def read_params(source: SpecConfig, kind: type[P]) -> P:
    """The parameters of a source that was found right. Raises InvalidJob."""
    found = look(source)
    if found.problems:
        raise InvalidJob(found.problems)
    known = {key: value for key, value in found.params.items() if key.lower() in _KNOWN[kind]}
    return msgspec.convert(known, kind, strict=False)


def is_managed(source: SpecConfig) -> bool:
    """Whether the orchestrator looks it up, and nodes read it by signed URLs."""
    kind = INPUTS.get(kind_of(source))
    return kind is not None and kind.managed


def is_writable(source: SpecConfig) -> bool:
    """Whether the task may change it where it is: a folder of the node. Not of one that is wrong."""
    if kind_of(source) != LOCAL or look(source).problems:
        return False
    return read_params(source, LocalInputParams).read_write


def is_divided(source: SpecConfig) -> bool:
    """Whether each part of a job has a share of it. Not of one that is wrong."""
    kind = INPUTS.get(kind_of(source))
    if kind is None or look(source).problems:
        return False
    partition = getattr(read_params(source, kind), "partition", None)
    return isinstance(partition, Partition) and partition.by is not PartitionBy.NONE


def sha256_of(text: str) -> str:
    """In hex, of what may be hex or base64; empty where it is neither."""
    if _SHA256.match(text):
        return text.removeprefix("sha256:").lower()
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return content.hex() if len(content) == 32 else ""


def url_problem(url: str) -> str:
    """To go on with after the name of what holds it; empty where nothing is wrong."""
    if len(url) > MAX_URL or not url.isprintable() or " " in url:
        return f"has a character that no URL has, or more than {MAX_URL:,} of them."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL."
    if parts.scheme.lower() not in {"http", "https"} or not host:
        return "is not an http:// or https:// address."
    if parts.username is not None or parts.password is not None:
        return "has a name or password in it, which everybody could read who sees the job."
    return ""
