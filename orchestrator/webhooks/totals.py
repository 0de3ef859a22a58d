"""Totals of webhooks: what became of them since this orchestrator was started."""

from collections import Counter

OUTCOMES = ("delivered", "failed", "dropped")
"""Of tries: it was taken, it was not, it will not be tried again or was never."""


class WebhookTotals:
    """`waiting` is how many are to be sent at present, while this orchestrator leads."""

    def __init__(self) -> None:
        self.waiting = 0
        self._counts: Counter[str] = Counter()

    def count(self, outcome: str) -> None:
        self._counts[outcome] += 1

    @property
    def counts(self) -> dict[str, int]:
        return {outcome: self._counts[outcome] for outcome in OUTCOMES}

    def __repr__(self) -> str:
        return f"<WebhookTotals {self.counts}>"
