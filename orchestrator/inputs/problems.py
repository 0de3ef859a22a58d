"""Problems of inputs: why a job is not taken whose inputs are not what they have to be."""

from orchestrator.rules.location import Location
from shared.errors import InvalidInput, Unavailable
from shared.settings.input_sources import ALLOW


def named(location: Location) -> str:
    """How a person writes what is at this location."""
    return f"s3://{location.bucket}/{location.key[:200]}"


class InputNotAllowed(InvalidInput):
    def __init__(self, place: str, namespace: str, why: str = "", *, hint: str = "") -> None:
        super().__init__(
            f"Jobs of namespace {namespace} may not read {place}: {why or f'no entry of {ALLOW} covers it'}.",
            hint=hint or f"The orchestrator's operator adds it to {ALLOW}, such as {namespace}=s3://BUCKET/PREFIX.",
        )


class InputNotFound(InvalidInput):
    def __init__(self, place: str, why: str, *, hint: str = "") -> None:
        super().__init__(
            f"The input {place} cannot be read: {why}.",
            hint=hint or "Check Bucket, Key, VersionID and Region; a Key of several objects ends with a slash or `*`.",
        )


class InputForbidden(InvalidInput):
    """S3 does not let the orchestrator read it, or list it; `right` is what it may need for that."""

    def __init__(self, place: str, right: str, s3_answer: str) -> None:
        super().__init__(
            f"S3 does not let the orchestrator read the input {place}. [S3: {s3_answer}]",
            hint=f"It is not there, or {right} is missing; deploy/iam-policy-inputs.json has what inputs need.",
        )


class InputListForbidden(InvalidInput):
    def __init__(self, place: str, right: str, s3_answer: str) -> None:
        super().__init__(
            f"The input {place} names several objects, and S3 does not let the orchestrator list them: {right} is"
            f" missing. [S3: {s3_answer}]",
            hint="Its operator allows that (deploy/iam-policy-inputs.json); or name each object by its whole Key.",
        )


class InputEmpty(InvalidInput):
    """Nothing is there, or nothing that the filter lets through; `listed` is how many were looked at."""

    def __init__(self, place: str, listed: int) -> None:
        what = f"none of the {listed:,} objects there matches its Filter" if listed else "there is no object"
        super().__init__(
            f"The input {place} is empty: {what}.",
            hint="Correct its Key or Filter. A Filter is searched for in what follows the Key's prefix.",
        )


class TooManyObjects(InvalidInput):
    def __init__(self, place: str, most: int, *, looked_at: bool = False) -> None:
        what = f"more than {most:,} objects have to be looked at" if looked_at else f"it has more than {most:,} objects"
        super().__init__(
            f"The input {place} is too large: {what}.",
            hint="Narrow it: give a longer Key, such as dir/2026-01-*, or a Filter; or divide it between several inputs"
            " or jobs. Many small files are read faster as one archive, too.",
        )


class InputTooLarge(InvalidInput):
    def __init__(self, what: str, size_bytes: int, limit: str, limit_bytes: int) -> None:
        super().__init__(
            f"{what} would read {size_bytes:,} bytes of inputs; {limit} allows {limit_bytes:,}.",
            hint="Divide the inputs between more parts with Partition and a larger Count, narrow them, or raise the"
            " limit.",
        )


class InputKeyUnusable(InvalidInput):
    """An object that can be no file below the target."""

    def __init__(self, place: str, key: str, why: str) -> None:
        super().__init__(
            f"The input {place} has an object that cannot be a file: its key {key[:200]!r} {why}.",
            hint="Leave it out with a narrower Key or a Filter, or give the object another key.",
        )


class InputsClash(InvalidInput):
    def __init__(self, place: str, one: str, other: str) -> None:
        super().__init__(
            f"The input {place} has objects that cannot be files beside each other: {one[:200]!r} and {other[:200]!r}.",
            hint="A file cannot be a folder as well. Leave one out with a narrower Key or a Filter.",
        )


class InputDiffers(InvalidInput):
    def __init__(self, place: str, expected: str, found: str) -> None:
        super().__init__(
            f"The input {place} is not what its ChecksumSHA256 says: SHA-256 {found}, expected {expected}.",
            hint="The object was replaced, or the digest is that of another one.",
        )


class InputListingNotKept(InvalidInput):
    """More objects than a record holds need a place of their own, which there is none for."""

    def __init__(self, count: int, most: int) -> None:
        super().__init__(
            f"The job's inputs are {count:,} objects; more than {most} need the bucket of the managed publisher, and"
            " none is configured.",
            hint="The operator sets Publishers.Types.S3Managed.Bucket and .Region; see docs/publisher.md.",
        )


class InputsNotReady(Unavailable):
    """They cannot be looked at for the present."""

    def __init__(self, place: str, why: str, *, hint: str = "") -> None:
        super().__init__(
            f"The input {place} cannot be looked at at present: {why}",
            hint=hint or "Submit the job again in a moment.",
        )
