"""Settings of a node's inputs: how they are fetched, and how much of them is kept."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.jobs.durations import Duration


class InputSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    fetch_timeout: Annotated[
        Duration,
        Meta(description="How long fetching the inputs of one task may take, beside its own time; 0s is no limit."),
    ] = Duration(4 * 3600)
