"""Settings of schedules: how many there may be, and how often they may have a job run."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from shared.jobs.durations import Duration


class ScheduleSettings(Struct, frozen=True, kw_only=True, rename="pascal"):
    per_namespace: Annotated[
        int, Meta(ge=0, description="How many schedules a namespace may have that are not stopped. 0 allows none.")
    ] = 1000
    least_interval: Annotated[
        Duration, Meta(description="How far apart the runs of one schedule have to be at least, such as 5m.")
    ] = Duration(60)


def schedule_settings_problems(settings: ScheduleSettings) -> Iterator[str]:
    """Each begins with the key."""
    if settings.least_interval < 0:
        yield "Orchestrator.Schedules.LeastInterval must not be less than zero"
