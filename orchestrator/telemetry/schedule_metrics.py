"""Metrics of schedules: how many there are, how late they are, and what became of their runs."""

from orchestrator.state.model import Model
from orchestrator.telemetry.measures import RUN_OUTCOMES, Measures
from shared.jobs.states import JobState
from shared.runtime.metrics import Gauge, Metric, Total, Values, plain


def schedule_metrics(model: Model, measures: Measures, *, now: int) -> tuple[Metric, ...]:
    """`now` is in nanoseconds since 1970. What became of due times the leader counts, and ends of runs everybody."""
    known = model.schedules
    due = known.next.instant
    late = max(0, now - due) / 1e9 if due is not None else 0.0
    paused = len(known.paused)
    standing: Values = {("active",): float(known.count - paused), ("paused",): float(paused)}
    runs: Values = {(outcome,): float(measures.scheduled_runs[outcome]) for outcome in RUN_OUTCOMES}
    ends: Values = {(state.value,): float(known.ends[state]) for state in JobState if state.is_terminal}
    return (
        Gauge("tarpon_schedules", "Schedules that are not stopped, by whether they are paused.", standing, ("state",)),
        Gauge("tarpon_schedule_late_seconds", "For how long nobody has decided about a run that is due.", plain(late)),
        Total("tarpon_scheduled_runs", "Runs of schedules that were due, by what became of each.", runs, ("outcome",)),
        Total("tarpon_scheduled_runs_ended", "Runs of schedules that have ended, by state.", ends, ("state",)),
    )
