"""Measures: what an orchestrator counts while it runs, whether it leads or not. Numbers alone."""

from collections import Counter

from orchestrator.admission.bounds.held_back import HeldBack
from orchestrator.rules.records import VerifiedResult
from shared.runtime.metrics import Distribution

PLACEMENT_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
REPORT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RUN_OUTCOMES = ("begun", "missed", "left_out", "refused")
MOST_AT_ONCE = 1_000_000
"""Of what a node says of one result: it could say anything, and a counter must not lose its meaning by that."""


class Measures:
    def __init__(self) -> None:
        self.placement_seconds = Distribution(PLACEMENT_BOUNDS)
        self.report_seconds = Distribution(REPORT_BOUNDS)
        self.reports_set_aside = 0
        self.published_results = 0
        self.published_bytes = 0
        self.publish_seconds = 0.0
        self.publish_retries = 0
        self.publish_renewals = 0
        self.outvoted = 0
        """Replicas that gave another result than others had agreed about."""
        self.held_back = HeldBack()
        self.scheduled_runs: Counter[str] = Counter()
        """By what became of them, of RUN_OUTCOMES."""
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By method, route and status."""

    def placed(self, waited_ns: int) -> None:
        """The first attempt of a part of a job was placed, so long after the job was submitted."""
        self.placement_seconds.add(max(0, waited_ns) / 1e9)

    def published(self, result: VerifiedResult, *, is_plain: bool = False) -> None:
        """The size of one that `is_plain` is that of its manifest, to which its files come."""
        self.published_results += 1
        self.published_bytes += result.size_bytes + (result.raw_bytes if is_plain else 0)
        self.publish_seconds += _bounded(result.publish_seconds)
        self.publish_retries += int(_bounded(result.retries))
        self.publish_renewals += int(_bounded(result.renewals))

    def __repr__(self) -> str:
        return f"<Measures of {self.published_results} results and {self.requests.total()} requests>"


def _bounded(value: float) -> float:
    return max(0, min(value, MOST_AT_ONCE))
