"""Deletion of results from the bucket, which needs a right that the least policy does not grant."""

import aiohttp
from msgspec.structs import replace

from orchestrator.rules.location import Location
from orchestrator.s3.problems import is_of_lock
from orchestrator.s3.requests import Send
from shared.errors import Refused, StorageUnavailable
from shared.protocol.signed_url import SignedUrl

_REFUSALS = frozenset({"AccessDenied", "AllAccessDisabled"})


class DeletionRefused(Refused):
    """S3 does not let these credentials delete objects."""

    def __init__(self, objects: str, s3_answer: str) -> None:
        super().__init__(
            f"S3 does not let the orchestrator delete results: s3:DeleteObject on {objects} is missing."
            f" [S3: {s3_answer}]",
            hint="Allow it (deploy/iam-policy-deletion.json), or delete the job without its results.",
        )


class ObjectLocked(DeletionRefused):
    """S3 lets these credentials delete objects, and this one is not to be deleted yet."""

    def __init__(self) -> None:
        Refused.__init__(
            self,
            "S3 keeps the results: Object Lock protects them until their retention ends.",
            hint="Wait until then, or delete the job without its results.",
        )


async def delete(send: Send, url: SignedUrl, location: Location) -> None:
    """Delete one object; one that is not there is fine. Raises DeletionRefused, ObjectLocked, StorageUnavailable."""
    try:
        answer = await send(url)
    except (aiohttp.ClientError, OSError) as error:
        raise StorageUnavailable(f"S3 gave no answer to a DELETE of {url!r}: {type(error).__name__}.") from None
    failure = answer.failure
    if failure is None or failure.status == 404:
        return
    if is_of_lock(failure):
        raise ObjectLocked
    if failure.code in _REFUSALS:
        raise DeletionRefused(location.resource, str(replace(failure, request_id="")))  # one sentence, however often
    raise StorageUnavailable(f"S3 answered a DELETE of {url!r} with {failure}.")
