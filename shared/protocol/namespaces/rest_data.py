"""Shapes of the HTTP API about data that people send for the inputs of jobs.

Data is known by the digest of its manifest (shared/jobs/inputs/manifest.py). Whoever sends it tells of it, writes the
manifest by the URL of the answer, asks which files are missing, writes these, and has the whole checked.
"""

import msgspec

from shared.jobs.inputs.manifest import DataFile


class DataView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is known of sent data; times are in nanoseconds since 1970, and `expire_time` is 0 for never.

    `digest` begins with `sha256:`. It is of use once it is `ready`.
    """

    digest: str
    names: tuple[str, ...] = ()
    namespace: str
    ready: bool = False
    files: int = 0
    size_bytes: int = 0
    create_time: int = 0
    last_use: int = 0
    expire_time: int = 0


class SignedPut(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The right to write one object once. The URL is a credential, and `headers` have to be sent as they are here."""

    url: str = msgspec.field(name="URL")
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<SignedPut {self.url.partition('?')[0]}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        """What rich shows instead of the fields, also in tracebacks with local variables."""
        return [("address", self.url.partition("?")[0])]


class PutDataRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How long the manifest is, and how many files of how many bytes it lists. `name` may be empty."""

    name: str = ""
    manifest_bytes: int
    files: int
    size_bytes: int


class PutDataResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`manifest` is absent where the manifest is there already."""

    data: DataView
    manifest: SignedPut | None = None


class MissingRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """From which of the different contents on it is looked."""

    first: int = 0


class MissingContent(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Bytes that are not there. Without a `put` they are sent in parts, as they are too many for one request."""

    sha256: str = msgspec.field(name="SHA256")
    size: int
    put: SignedPut | None = None


class MissingResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is missing of those from `first` on, of `total` different contents; `next` is where to go on, 0 nowhere."""

    missing: tuple[MissingContent, ...] = ()
    next: int = 0
    total: int = 0


class FilePartsRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """URLs for `count` parts from number `first` on. `lost` is an upload that S3 does not know any more."""

    sha256: str = msgspec.field(name="SHA256")
    first: int = 1
    count: int = 64
    lost: str = ""


class SentPart(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    number: int
    etag: str = msgspec.field(name="ETag")


class FilePartsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """All parts but the last have `part_bytes`. `there` is told with the first ones, where S3 tells it."""

    upload_id: str = msgspec.field(name="UploadID")
    part_bytes: int
    parts: tuple[SignedPut, ...] = ()
    there: tuple[SentPart, ...] = ()


class CompleteFileRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    sha256: str = msgspec.field(name="SHA256")
    upload_id: str = msgspec.field(name="UploadID")
    etags: tuple[str, ...] = msgspec.field(name="ETags")


class CompleteFileResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`lost` is why nothing can come of the upload any more; empty where it is complete."""

    lost: str = ""


class FinishDataResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`missing` contents have to be sent first. Where nothing is missing and it is not ready, ask again: it goes on."""

    data: DataView
    missing: int = 0
    checked: int = 0


class DataResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    data: DataView


class ListDataResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`size_bytes` is of all of it, and `quota_bytes` how much there may be."""

    data: tuple[DataView, ...] = ()
    size_bytes: int = 0
    quota_bytes: int = 0


class DeleteDataResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`deleted` is false where only a name was taken from it, as it has others."""

    digest: str
    namespace: str
    deleted: bool = True


class FileOfData(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One file, and the URL by which it is read, which is a credential."""

    file: DataFile
    url: str = msgspec.field(name="URL")

    def __repr__(self) -> str:
        return f"<FileOfData {self.file.path!r}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("path", self.file.path)]


class DataFilesResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Some files, in the order of their paths; `next` is where to go on, 0 nowhere."""

    data: DataView
    files: tuple[FileOfData, ...] = ()
    next: int = 0
