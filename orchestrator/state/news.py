"""News: who waits for a change of a job, or of any, or of nodes, hears of it here.

What is recorded of a job is told when it is settled: when nothing can come before it any more in anybody's history.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId, NodeId


def _nobody(_: object) -> None:
    """Who hears of something before anybody wants to."""


class Watch:
    """Wakes up at each change of one job; changes that come close together wake it once."""

    def __init__(self, watchers: dict[JobId, set[asyncio.Event]], job: JobId) -> None:
        self._watchers = watchers
        self._job = job
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._watchers.setdefault(self._job, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        watching = self._watchers[self._job]
        watching.discard(self._event)
        if not watching:
            del self._watchers[self._job]

    async def changed(self) -> None:
        await self._event.wait()
        self._event.clear()


class Following:
    """The jobs about which there is something new, for one who follows all of them."""

    def __init__(self) -> None:
        self._changed: dict[JobId, None] = {}
        self._any_change = asyncio.Event()

    def note(self, job: JobId) -> None:
        self._changed[job] = None
        self._any_change.set()

    async def next(self) -> Iterable[JobId]:
        """The jobs that have changed since this gave some last, as soon as there are any."""
        await self._any_change.wait()
        self._any_change.clear()
        changed, self._changed = self._changed, {}
        return changed

    def __repr__(self) -> str:
        return f"<Following of {len(self._changed)} changed jobs>"


class News:
    def __init__(self) -> None:
        #: Up to this revision everything is known that was ever recorded.
        self.settled = 0
        #: Hears of each job that ends while it is known. Set by the traces alone.
        self.on_end: Callable[[JobEntry], None] = _nobody
        #: Hears of each node of which a record has changed. Set by the one who keeps what nodes can take.
        self.on_node: Callable[[NodeId], None] = _nobody
        self._watchers: dict[JobId, set[asyncio.Event]] = {}
        #: Jobs of which there may be news as soon as more is settled.
        self._unsettled: dict[JobId, None] = {}
        #: Who follows all jobs.
        self._followings: list[Following] = []

    def tell(self, job: JobId) -> None:
        """There is something new to tell about it."""
        for following in self._followings:
            following.note(job)
        for event in self._watchers.get(job, ()):
            event.set()

    def hear(self, job: JobId, revision: int) -> None:
        """Something is recorded of it, which is to be told once that is settled."""
        if revision > self.settled:
            self._unsettled[job] = None

    def settle(self, revision: int) -> None:
        """Take in that everything is known that was ever recorded up to this revision, and tell who waits for it."""
        self.settled = max(self.settled, revision)
        if self._unsettled:
            for job in self._unsettled:
                self.tell(job)
            self._unsettled.clear()

    def watch(self, job: JobId) -> Watch:
        """A context in which `changed()` waits for the next change of this job."""
        return Watch(self._watchers, job)

    @contextmanager
    def following(self) -> "Iterator[Following]":
        """In which it is noted which jobs change, of all that there are."""
        following = Following()
        self._followings.append(following)
        try:
            yield following
        finally:
            self._followings.remove(following)

    def __repr__(self) -> str:
        return f"<News up to {self.settled}>"
