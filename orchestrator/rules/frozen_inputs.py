"""Frozen inputs: which objects the inputs of a job are, as they were when it was submitted.

A node reads these and no others, whatever becomes of the place where they were found. No secret and no URL is in here.
"""

import msgspec

from orchestrator.rules.location import Location
from shared.ids import JobId

EVERY_PART = -1
"""For the part of an object that is not divided: each part of the job reads it."""


class FrozenObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object: `path` is where a task sees it below the target, empty where the target is the file itself.

    `etag` is as S3 writes it, with quotes. Where it is known, `sha256` is that of its bytes, in hex.
    """

    key: str
    path: str = ""
    size: int
    etag: str = ""
    version: str = ""
    sha256: str = ""
    executable: bool = False
    part: int = EVERY_PART


class FrozenSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one InputSource is: objects at a location, or the results of a version of a job.

    `location` is how the bucket is reached. The objects are here where they are few; those that are many are in an
    object of their own, whose key is `listing`, in a bucket that is reached by `listed_in`. `count` and `size_bytes`
    are of all of them, before they are divided. A kind that nodes read by themselves has nothing of this.
    """

    location: Location | None = None
    objects: tuple[FrozenObject, ...] = ()
    listing: str = ""
    listed_in: Location | None = None
    count: int = 0
    size_bytes: int = 0
    job: JobId = JobId("")
    job_version: int = 0
    data: str = ""


FrozenInputs = tuple[FrozenSource, ...]
"""One for each InputSource of the task, in their order; empty where nothing had to be looked up."""
