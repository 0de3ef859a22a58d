"""Files of plain results in the HTTP API: signed URLs, for some of them at once."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, field

MAX_RESULT_FILES = 512


class ResultFilesRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`names` are keys below that of the result, as shared/protocol/results/object_names.py spells the paths of files.

    `refused` tells that S3 has refused the URLs that were given last.
    """

    execution_id: str = field(name="ExecutionID")
    names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_RESULT_FILES)]
    refused: bool = False


class ResultFilesResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A signed GET for each file, in the order of their names, which is not known to be there. They are credentials."""

    urls: tuple[str, ...] = field(name="URLs")
    expires_at: datetime

    def __repr__(self) -> str:
        return f"<ResultFilesResponse of {len(self.urls)} files>"

    __str__ = __repr__
