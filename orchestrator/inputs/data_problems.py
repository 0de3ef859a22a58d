"""What can be wrong with sent data, in words of who sends it."""

from collections.abc import Iterable

from shared.errors import Conflict, InvalidInput, NotFound
from shared.jobs.inputs.manifest import MAX_FILES, MAX_MANIFEST_BYTES
from shared.jobs.quantities import format_bytes


class DataBucketMissing(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "Data is kept in the bucket of the publisher s3managed, which is not configured on this orchestrator.",
            hint="The operator sets Publishers.Types.S3Managed.Bucket and .Region; see docs/publisher.md.",
        )


class DataNotFound(NotFound):
    def __init__(self, namespace: str, text: str, near: Iterable[str] = ()) -> None:
        meant = "".join(f"Did you mean {each!r}? " for each in near)
        super().__init__(
            f"Namespace {namespace} has no data {text[:80]!r}.",
            hint=f"{meant}`tarpon data list --namespace {namespace}` shows what there is.",
        )


class DataNotWhole(Conflict):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"The data {text[:80]!r} has not been sent to its end.",
            hint="Repeat its `tarpon data put`, which sends what is missing.",
        )


class DataNameInvalid(InvalidInput):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name[:80]!r} cannot be the name of data.",
            hint="A name has 1 to 64 characters out of A-Z a-z 0-9 _ . and -, begins with a letter or digit, and is no"
            " digest.",
        )


class DataDigestInvalid(InvalidInput):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:80]!r} is not the digest of a manifest.", hint="It is `sha256:` and 64 hexadecimal digits."
        )


class DataQuotaExceeded(Conflict):
    def __init__(self, namespace: str, wanted: int, used: int, quota: int) -> None:
        left = format_bytes(max(0, quota - used))
        super().__init__(
            f"Namespace {namespace} has no room for {format_bytes(wanted)} of data: it has {format_bytes(used)} of the"
            f" {format_bytes(quota)} that it may have, so that {left} are left.",
            hint="Delete what is not needed any more with `tarpon data delete`, or have the operator raise"
            " Orchestrator.SentData.Quota.",
        )


class DeletedDataStays(Conflict):
    """What is deleted has a quota of its own, so that nobody fills the bucket with what does not count any more."""

    def __init__(self, namespace: str, wanted: int, deleted: int) -> None:
        super().__init__(
            f"Namespace {namespace} has no room for {format_bytes(wanted)} of data yet: {format_bytes(deleted)}"
            " that was deleted is in the bucket still.",
            hint="It is removed some minutes after it was deleted, and after the last job that reads it; try it again"
            " then. If it stays, the orchestrator's operator finds in its log what S3 does not allow.",
        )


class TooMuchData(Conflict):
    def __init__(self, namespace: str, most: int) -> None:
        super().__init__(
            f"Namespace {namespace} has {most:,} trees of data, which are as many as there may be.",
            hint="Delete what is not needed any more with `tarpon data delete`.",
        )


class DataFileTooLarge(InvalidInput):
    def __init__(self, path: str, size_bytes: int, most: int) -> None:
        what = f"The file {path[:200]!r}" if path else "The file"
        super().__init__(
            f"{what} has {size_bytes:,} bytes; one file of sent data may have {most:,}.",
            hint="Have the operator raise Orchestrator.SentData.MaxFileSize, or send it in several files.",
        )


class DataTooManyFiles(InvalidInput):
    def __init__(self, files: int, manifest_bytes: int) -> None:
        super().__init__(
            f"The data has {files:,} files, and a list of them with {manifest_bytes:,} bytes; {MAX_FILES:,} files and"
            f" {MAX_MANIFEST_BYTES:,} bytes are possible.",
            hint="Send it in several parts, or pack what is small into an archive.",
        )


class DataContentUnknown(NotFound):
    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"The data has no content {sha256[:64]!r} that is sent in parts.",
            hint="Ask again which contents are missing.",
        )
