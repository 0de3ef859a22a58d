"""Limits of schedules: what one namespace may have done again and again."""

from orchestrator.state.model import Model
from shared.errors import InvalidInput
from shared.jobs.durations import format_duration
from shared.jobs.schedules import least_interval_seconds, schedule_of
from shared.jobs.spec import Job
from shared.settings.schedules import ScheduleSettings

MOST_SCHEDULES = 10_000
"""Of all namespaces, as users may name any number of these."""


class TooManySchedules(InvalidInput):
    def __init__(self, whose: str, most: int) -> None:
        super().__init__(
            f"{whose} has {most:,} schedules, and no more are allowed.",
            hint="Stop one that is not needed any more with `tarpon job stop`, or ask the operator to raise"
            " Orchestrator.Schedules.PerNamespace.",
        )


class ScheduleTooFrequent(InvalidInput):
    def __init__(self, seconds: float, least: float) -> None:
        super().__init__(
            f"The Schedule has runs that are {format_duration(seconds)} apart; here it has to be"
            f" {format_duration(least)} at least.",
            hint="Choose a Cron expression that is due less often, or ask the operator to lower"
            " Orchestrator.Schedules.LeastInterval.",
        )


class ScheduleLimits:
    def __init__(self, model: Model, settings: ScheduleSettings) -> None:
        self._model = model
        self._settings = settings

    def check(self, job: Job, *, now: int) -> None:
        """A valid job that is to be stored, if it has a schedule. Raises TooManySchedules, ScheduleTooFrequent."""
        schedule = schedule_of(job)
        if schedule is None:
            return
        least = float(self._settings.least_interval)
        interval = least_interval_seconds(schedule, now)
        if interval < least:
            raise ScheduleTooFrequent(interval, least)
        known = self._model.names.named(job.namespace, job.name)
        live = self._model.schedules.live
        if known in live.get(job.namespace, ()):
            return
        if len(live.get(job.namespace, ())) >= self._settings.per_namespace:
            raise TooManySchedules(f"The namespace {job.namespace}", self._settings.per_namespace)
        if sum(map(len, live.values())) >= MOST_SCHEDULES:
            raise TooManySchedules("This Tarpon", MOST_SCHEDULES)

    def __repr__(self) -> str:
        return f"<ScheduleLimits of {self._settings.per_namespace} in a namespace>"
