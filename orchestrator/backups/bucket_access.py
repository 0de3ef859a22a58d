"""The bucket, for commands of an operator: what is in it, and whether that can be told at all."""

from collections.abc import AsyncIterator

from orchestrator.s3.bucket import Bucket
from orchestrator.s3.listing import ListedObject
from orchestrator.s3.lookups import NotShown
from shared.errors import Refused
from shared.protocol.objects import root_of


class ListForbidden(Refused):
    def __init__(self, place: str, s3_answer: str) -> None:
        super().__init__(
            f"S3 does not list {place}. [S3: {s3_answer}]",
            hint="Allow s3:ListBucket on it for this command (deploy/iam-policy-listing.json).",
        )


async def listed(bucket: Bucket) -> AsyncIterator[tuple[ListedObject, ...]]:
    """All objects below the key of the settings, some at a time. Raises ListForbidden, StorageUnavailable."""
    prefix, token = root_of(bucket.location.key), ""
    while True:
        try:
            page = await bucket.list_page(prefix, token)
        except NotShown as error:
            raise ListForbidden(bucket.location.place, str(error.failure)) from None
        yield page.objects
        token = page.next_token
        if not token:
            return
