"""Partitions of a job: where each is, as its history and its states tell, counted as they come."""

import enum
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from shared.data.plain_text import one_line
from shared.jobs.spec import WAITS_FOR, JobView
from shared.jobs.states import JobState
from shared.protocol import execution_lines as lines
from shared.protocol.rest import KEPT_PARTS, EventView, HistoryItem
from tarpon.cli.console.output import in_local_time
from tarpon.http.watching import is_over

_WAITING_FOR = "Waiting for "
_TO_BE_PLACED = "Waiting to be placed on a node"


class Stage(enum.IntEnum):
    """What an execution is at, in the order in which it gets there."""

    PLACED = 1
    PULLING = 2
    STARTING = 3
    RUNNING = 4
    PUBLISHING = 5
    WAITING_FOR_S3 = 6
    COMPLETED = 7
    LOST = 8


class OngoingExecution(NamedTuple):
    """One execution that has not ended, in the words of its history's last line, which came at `since`."""

    stage: Stage
    text: str
    since: datetime


class Answers(NamedTuple):
    """What the orchestrator has said when it was asked; empty where there is nothing to say."""

    nodes: str = ""
    upload: str = ""


def stage_of(event: EventView) -> Stage | None:
    """To which stage an execution came by this event; None where it stays where it is."""
    message = event.message
    match event.topic:
        case _ if event.is_error:
            return Stage.LOST
        case lines.SCHEDULING:
            return Stage.PLACED
        case lines.PREPARING:
            return Stage.PULLING if message.startswith(lines.PULLING) else Stage.STARTING
        case lines.RUNNING if message.startswith(lines.RUNNING_ON):
            return Stage.RUNNING
        case lines.RUNNING if message.startswith(lines.TASK_ENDED):
            return Stage.PUBLISHING if message.endswith(lines.THEN_PUBLISHES) else Stage.COMPLETED
        case lines.PUBLISHING if message.startswith(lines.WAITS_FOR_S3):
            return Stage.WAITING_FOR_S3
        case lines.PUBLISHING if message.startswith(lines.PUBLISHED):
            return Stage.COMPLETED
        case lines.ENDING:
            return Stage.LOST
        case _:  # of a later version of Tarpon
            return None


def why_failed(event: EventView) -> str:
    """Of an event that is an error. A task that failed by its exit code has its result published all the same."""
    if event.message.startswith(lines.FAILED):
        why = event.message.removeprefix(lines.FAILED).partition(lines.YET_PUBLISHED)[0]
        return f"{why[:1].upper()}{why[1:]}."
    published, _, why = event.message.partition(". ")  # as earlier versions of Tarpon wrote it
    return why if why and published.startswith(lines.PUBLISHED) else event.message


class JobPartitions:
    """Those of the newest version of which anything was told. It costs the same however many there are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done = 0
        self.failed = 0
        """Attempts, of which one part may have several."""
        self.reason = ""
        """Why those wait that are on no node."""
        self.nodes = ""
        """How the nodes stand to those, where somebody has asked; it tells more than the reason."""
        self.upload = ""
        """How far the results are that are being published, where somebody has asked."""
        self._version = 0
        self._live: dict[str, OngoingExecution] = {}
        self._ended: set[str] = set()
        self._submissions: set[int] = set()

    def __repr__(self) -> str:
        return f"<JobPartitions {self.done} of {self.count} done, {len(self._live)} live>"

    def take(self, item: HistoryItem, since: datetime) -> bool:
        """Whether an execution came to another stage by what happened at `since`, as told by our own clock."""
        if item.job_version < self._version or item.execution_id in self._ended:
            return False
        if not item.execution_id:
            return self._take_submission(item)
        self._begin(item.job_version)
        stage, known = stage_of(item.event), self._live.get(item.execution_id)
        if stage is None or (known is not None and stage < known.stage):
            return False
        if stage < Stage.COMPLETED:
            self._live[item.execution_id] = OngoingExecution(stage, one_line(item.event.message), since)
            return known is None or stage is not known.stage
        self._live.pop(item.execution_id, None)
        self._ended.add(item.execution_id)
        self.done += stage is Stage.COMPLETED
        self.failed += item.event.is_error
        return True

    def _take_submission(self, item: HistoryItem) -> bool:
        """Whether it is that of a version which keeps parts of earlier ones."""
        kept = item.event.details.get(KEPT_PARTS, "")
        if not kept.isdecimal() or item.seq_num in self._submissions:
            return False
        self._begin(item.job_version)
        self._submissions.add(item.seq_num)
        self.done += int(kept)
        return True

    def take_job(self, job: JobView) -> bool:
        """Whether its parts wait for something else now. A job that has completed has all its parts done."""
        if job.version < self._version:
            return False
        self._begin(job.version)
        before, self.count = self.reason, job.part_count
        state = job.state
        if is_over(job) or state.state_type == JobState.PENDING:
            self.nodes = ""
        told = state.message if state.state_type == JobState.QUEUED else state.details.get(WAITS_FOR, "")
        self.reason = in_local_time(told, datetime.now(UTC))
        if is_over(job):
            self._live.clear()
            self.reason = ""
        if state.state_type == JobState.COMPLETED:
            self.done = self.count
        return self.reason not in {"", before}

    def _begin(self, version: int) -> None:
        if version > self._version:
            if self._version:
                self.done = self.failed = 0
                self._live.clear()
            self.nodes = self.upload = ""
            self._version = version

    @property
    def waiting(self) -> int:
        return max(0, self.count - self.done - len(self._live))

    @property
    def is_publishing(self) -> bool:
        return any(execution.stage is Stage.PUBLISHING for execution in self._live.values())

    @property
    def only(self) -> OngoingExecution | None:
        """What a job with one part is at, if it is on a node."""
        return next(iter(self._live.values()), None)

    def doing(self, execution: OngoingExecution) -> str:
        """What the only part is at."""
        return f"Publishing: {self.upload}" if execution.stage is Stage.PUBLISHING and self.upload else execution.text

    def why_waiting(self) -> str:
        """In one line, for a job whose only part waits."""
        return f"Waiting: {self.nodes}" if self.nodes else _first_line(self.reason) or _TO_BE_PLACED

    def ended(self) -> str:
        """How many parts are done, in the end."""
        failed = f", {self.failed} {'attempt' if self.failed == 1 else 'attempts'} failed" if self.failed else ""
        return f"{self.done} of {self.count} parts done{failed}"

    def summary(self, *, is_detailed: bool = True) -> str:
        """Where all parts are, in one line; without details it has nothing that changes while nothing happens."""
        return ", ".join([self.ended(), *(f"{count} {text}" for count, text in self._groups(is_detailed=is_detailed))])

    def table(self) -> str:
        """The same with a line for each state and how many parts are in it."""
        groups = [(self.done, "done"), *self._groups(is_detailed=True)]
        width = len(str(self.count))
        return "\n".join([self.ended(), *(f"  {count:>{width}}  {text}" for count, text in groups if count)])

    def _waiting_for(self) -> str:
        if self.nodes:
            return f"waiting: {self.nodes}"
        why = self.why_waiting()
        return why[0].lower() + why[1:] if why.startswith((_WAITING_FOR, _TO_BE_PLACED)) else f"waiting: {why}"

    def _groups(self, *, is_detailed: bool) -> Iterator[tuple[int, str]]:
        by_stage = Counter(execution.stage for execution in self._live.values())
        if by_stage[Stage.RUNNING]:
            yield by_stage[Stage.RUNNING], "running"
        if by_stage[Stage.PUBLISHING]:
            yield (
                by_stage[Stage.PUBLISHING],
                f"publishing ({self.upload})" if is_detailed and self.upload else "publishing",
            )
        if by_stage[Stage.WAITING_FOR_S3]:
            problem = next(
                execution.text for execution in self._live.values() if execution.stage is Stage.WAITING_FOR_S3
            )
            told = f" ({problem.removeprefix(lines.WAITS_FOR_S3)})" if is_detailed else ""
            yield by_stage[Stage.WAITING_FOR_S3], f"waiting for S3{told}"
        if by_stage[Stage.PULLING]:
            yield from self._pulls(is_detailed=is_detailed)
        if by_stage[Stage.STARTING]:
            yield by_stage[Stage.STARTING], "starting"
        if by_stage[Stage.PLACED]:
            yield by_stage[Stage.PLACED], "queued on nodes"
        if self.waiting:
            yield self.waiting, self._waiting_for()

    def _pulls(self, *, is_detailed: bool) -> Iterator[tuple[int, str]]:
        """By image, with how far it is on the node that is behind the others."""
        told: dict[str, list[str]] = {}
        for execution in self._live.values():
            if execution.stage is Stage.PULLING:
                image, _, how_far = execution.text.removeprefix(lines.PULLING).partition(": ")
                told.setdefault(image, []).append(how_far)
        for image, progress in sorted(told.items()):
            least = min(progress, key=_percent)
            how_far = f" ({least.partition(' of ')[0] if '%' in least else least})" if least and is_detailed else ""
            yield len(progress), f"pulling {image}{how_far}"


def _percent(how_far: str) -> int:
    """What has no percentage is at its beginning, or at its end."""
    number, _, rest = how_far.partition(" ")
    if rest.startswith("%") and number.isdecimal():
        return int(number)
    return 100 if "unpacked" in how_far else -1


def _first_line(reason: str) -> str:
    return one_line(reason.split("\n", 1)[0].rstrip(". "))
