"""The horizon: how far everything that was ever recorded is known, by what a feed delivers.

The state bucket keeps the last record of each key alone. One that was replaced before the feed came to it is left out,
and what it recorded comes with what replaced it: later, and perhaps after what others recorded in between. So a gap in
the sequence numbers opens a time in which nothing is settled, until there is nothing more to come.
"""

from orchestrator.state.model import Model


class Horizon:
    """Of one feed, which delivers what is stored after the revision `after`. `seen` is the last that it delivered."""

    def __init__(self, model: Model, after: int) -> None:
        self.seen = after
        self._model = model
        self._is_whole = True

    def pass_over(self, key: str, revision: int) -> None:
        """Take in that the record of this key has been delivered, and is in the model."""
        self._is_whole = self._is_whole and revision == self.seen + 1
        self.seen = revision
        self._model.hear(key, revision)
        if self._is_whole:
            self._model.news.settle(revision)

    def reach_end(self) -> None:
        """Take in that nothing was stored when the last record was delivered that has not been delivered."""
        self._is_whole = True
        self._model.news.settle(self.seen)

    def __repr__(self) -> str:
        return f"<Horizon at {self._model.news.settled}, {self.seen} seen>"
