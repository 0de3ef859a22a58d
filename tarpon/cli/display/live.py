"""The live display of a job that is watched: a line on a terminal, and lines of what lasts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Never, TypeVar

import click

from shared.data.plain_text import indented, one_line
from shared.ids import short
from shared.jobs.spec import JobView
from shared.protocol.rest import HistoryItem
from shared.runtime.aio import first_of
from tarpon.cli.console.output import from_nanoseconds, lasting, moment
from tarpon.cli.console.progress import EventLines, LiveLine, part_of
from tarpon.cli.display.partitions import Answers, JobPartitions, why_failed
from tarpon.http.watching import is_over

T = TypeVar("T")

TABLE_FROM = 20
FAILURES_TOLD = 10
_TICK_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_PAUSE_FACTOR = 1.5
_LONGEST_ASK_SECONDS = 10.0
_LONGEST_UPLOAD_ASK_SECONDS = 5.0


class JobDisplay:
    """Of a job with one part each step is a line; of one with several, attempts that failed, and sums now and then.

    A terminal has one live line, or from TABLE_FROM parts on a live table with a line for each state.
    So a part has one line at most. `verbose` shows the lines of the history instead. A job that `is_new` has no past:
    for how long it is at something is told by our own clock. It `is_held` while somebody else's line is not at its end.
    `ask` gives how the nodes stand to what waits.
    """

    def __init__(
        self,
        count: int,
        *,
        verbose: bool,
        is_new: bool = False,
        ask: Callable[[], Awaitable[Answers]] | None = None,
    ) -> None:
        self._parts = JobPartitions(count)
        self._live = LiveLine()
        self._sums = _Sums()
        self._events = EventLines(with_parts=count > 1) if verbose else None
        self.is_held = False
        self._ask = ask
        self._failures = 0
        self._waits_since = datetime.now(UTC)
        self._is_live = is_new
        self._is_known = self._is_over = False

    def __repr__(self) -> str:
        return f"<JobDisplay {self._parts!r}>"

    async def showing(self, watching: Coroutine[Any, Any, T]) -> T:
        """Keep the terminal up to date while the job is watched, and leave there how far it came."""
        try:
            return await first_of(watching, self._ticking(), self._asking())
        finally:
            self._live.clear()

    async def _ticking(self) -> Never:
        while True:
            self._refresh()
            await asyncio.sleep(_TICK_SECONDS)

    async def _asking(self) -> Never:
        """What waits for long is asked about more and more rarely; what is placed at once never is."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            if self._ask is None or not self._is_known or self._is_over or not self._is_worth_asking:
                pause_seconds = _FIRST_PAUSE_SECONDS
                continue
            told = await self._ask()
            longest_seconds = _LONGEST_ASK_SECONDS if self._parts.waiting else _LONGEST_UPLOAD_ASK_SECONDS
            pause_seconds = min(longest_seconds, pause_seconds * _PAUSE_FACTOR)
            self._parts.upload = told.upload
            if self._parts.waiting and told.nodes != self._parts.nodes:
                self._parts.nodes = told.nodes
                if told.nodes and self._has_lines:
                    self._say(datetime.now(UTC), one_line(self._parts.why_waiting()))

    @property
    def _is_worth_asking(self) -> bool:
        return self._parts.waiting > 0 or (self._live.is_terminal and self._parts.is_publishing)

    def write(self, news: HistoryItem | JobView) -> None:
        if isinstance(news, JobView):
            self._write_job(news)
        else:
            self._write_item(news)
        self._refresh()

    def _write_job(self, job: JobView) -> None:
        is_other = self._parts.take_job(job)
        if is_other:
            self._waits_since = self._when(from_nanoseconds(job.modify_time))
        if is_other and self._parts.waiting and (self._has_lines or "\n" in self._parts.reason):
            self._say(datetime.now(UTC), indented(self._parts.reason))
        self._is_known = self._is_live = True
        self._is_over = is_over(job)
        if self._is_over and not self._is_one:
            self._say_sum(self._parts.ended())

    def _write_item(self, item: HistoryItem) -> None:
        is_news = self._parts.take(item, since=self._when(item.event.timestamp))
        if is_news and self._parts.only is None:
            self._waits_since = self._when(item.event.timestamp)
        if self._events is not None:
            self._begin_line()
            self._events.write(item)
        elif not item.execution_id or not is_news:
            pass
        elif item.event.is_error:
            self._say_failure(item)
        elif self._is_one and not self._live.is_terminal:
            self._say(item.event.timestamp, one_line(item.event.message))

    def _when(self, told: datetime) -> datetime:
        """What comes while we watch happens now, whatever the clock of the orchestrator says."""
        now = datetime.now(UTC)
        return now if self._is_live else min(told, now)

    @property
    def _has_lines(self) -> bool:
        return self._events is not None or (self._is_one and not self._live.is_terminal)

    @property
    def _is_one(self) -> bool:
        return self._parts.count == 1

    @property
    def _most_failures(self) -> int:
        return self._parts.count if self._parts.count < TABLE_FROM else FAILURES_TOLD

    def _say_failure(self, item: HistoryItem) -> None:
        """For each of a few parts at most one, of many only the first ones, so that failures are no flood."""
        self._failures += 1
        if self._is_one or self._failures <= self._most_failures:
            part = f"part {part_of(item)}, " if not self._is_one and part_of(item) else ""
            text = f"{part}{short(item.execution_id)} failed: {one_line(why_failed(item.event))}"
            self._say(item.event.timestamp, click.style(text, fg="red"))

    def make_way(self) -> None:
        """Before somebody else writes."""
        self._live.clear()

    def tell(self, text: str) -> None:
        """On a line of its own."""
        self._begin_line()
        click.echo(text, err=True)

    def _begin_line(self) -> None:
        self._live.clear()
        if self.is_held and self._live.is_terminal:
            click.echo(err=True)
        self.is_held = False

    def _say(self, when: datetime, text: str) -> None:
        self._begin_line()
        click.echo(f"{moment(when, datetime.now(UTC))}  {text}", err=True)

    def _say_sum(self, text: str) -> None:
        if self._sums.note(text, time.monotonic()):
            self._say(datetime.now(UTC), text)

    def _refresh(self) -> None:
        if self._is_over:
            self._live.clear()
        elif self._live.is_terminal:
            if self._live.is_due() and not self.is_held:
                self._live.draw(self._now())
        elif self._is_known and not self._has_lines and self._sums.is_due(time.monotonic()):
            self._say_sum(self._parts.summary(is_detailed=False))

    def _now(self) -> str:
        if not self._is_one:
            return self._parts.table() if self._parts.count >= TABLE_FROM else self._parts.summary()
        part = self._parts.only
        text, since = (self._parts.doing(part), part.since) if part else (self._parts.why_waiting(), self._waits_since)
        return f"{text} ({_whole_seconds(datetime.now(UTC) - since)})"


class _Sums:
    """When a sum is told: if it is another one, and after pauses that grow."""

    def __init__(self) -> None:
        self._last = ""
        self._due_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def is_due(self, now: float) -> bool:
        return now >= self._due_at

    def note(self, text: str, now: float) -> bool:
        """Whether it is news. All instants are monotonic."""
        if text == self._last:
            self._due_at = now + _FIRST_PAUSE_SECONDS
            return False
        self._last, self._due_at = text, now + self._pause_seconds
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, self._pause_seconds * _PAUSE_FACTOR)
        return True


def _whole_seconds(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{max(0, seconds)} s" if seconds < 60 else lasting(timedelta(seconds=seconds))
