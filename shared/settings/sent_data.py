"""The settings of sent data: how much of it is kept for a namespace, and for how long."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.jobs.durations import Duration


class SentDataSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    quota: Annotated[
        str, Meta(description="How much sent data a namespace may have; each tree counts with all of its bytes.")
    ] = "1TB"
    max_file_size: Annotated[str, Meta(description="How large one file of sent data may be.")] = "200GB"
    max_age: Annotated[
        Duration,
        Meta(
            description="How long sent data is kept after a job has used it last, or since it was sent; 0s is for ever."
            " Its files are deleted from the bucket then, which needs s3:DeleteObject."
        ),
    ] = Duration(30 * 86400)
