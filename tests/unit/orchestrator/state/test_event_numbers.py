"""Each event of a job has one number, everywhere and for ever, so that whoever reads on after it misses nothing.

The bucket below keeps the last record of each key alone, as the real one does. Several orchestrators write to it, hear
of it late and with gaps, lose their feed and start anew; readers go from one to another.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.jobs import views
from orchestrator.jobs.removal.retention import marked
from orchestrator.rules.records import MAX_EVENTS, Event, ExecutionRecord, JobRecord, Record, decode_record, with_event
from orchestrator.state.event_numbers import A_WRITE, numbered
from orchestrator.state.model import Model
from orchestrator.storage.horizon import Horizon
from shared.ids import JobId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.execution_lines import RUNNING, RUNNING_ON
from tests.builders import new_execution, new_job, new_job_record, new_task

S = ExecutionState
FOLLOWS = {"Job running", "Job completed"}
"""From what the executions have recorded."""
ID = JobId("j-1")
PARTS = 3
KEYS = (
    subjects.job_record(ID),
    *(subjects.execution_record(execution_key(ID, 1, part, 0)) for part in range(PARTS)),
)
STEPS = {S.NEW: S.RUNNING, S.RUNNING: S.PUBLISHING, S.PUBLISHING: S.COMPLETED}


class Conflict(Exception):
    pass


@dataclass
class Bucket:
    """As JetStream does it: every write has the next number, and replaces what its key held."""

    sequence: int = 0
    last: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    def write(self, key: str, record: Record, after: int) -> int:
        if self.last.get(key, (0, b""))[0] != after:
            raise Conflict
        self.sequence += 1
        self.last[key] = self.sequence, msgspec.json.encode(record)
        return self.sequence

    def following(self, after: int) -> list[tuple[int, str, bytes]]:
        return sorted((at, key, payload) for key, (at, payload) in self.last.items() if at > after)


class Orchestrator:
    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.model = Model(max_attempts=3)
        self.target = bucket.sequence
        self.feed_anew()

    @property
    def is_ready(self) -> bool:
        """Before it has read all that was stored when it started, an orchestrator answers nobody."""
        return self.model.news.settled >= self.target

    def feed_anew(self) -> None:
        self.horizon = Horizon(self.model, self.model.news.settled)
        self.sent: list[tuple[int, str, bytes, bool]] = []
        self.asked = self.horizon.seen

    def send(self) -> None:
        """The server puts the next message on the wire."""
        following = self.bucket.following(self.asked)
        if following:
            self.asked, key, payload = following[0]
            self.sent.append((self.asked, key, payload, len(following) == 1))

    def take(self) -> None:
        if not self.sent:
            return
        at, key, payload, is_last = self.sent.pop(0)
        record = decode_record(key, payload)
        assert record is not None
        self.model.apply(key, record, at)
        self.horizon.pass_over(key, at)
        if is_last:
            self.horizon.reach_end()

    def drain(self) -> None:
        while self.bucket.following(self.asked) or self.sent:
            self.send()
            self.take()

    def record(self, text: str, place: int) -> None:
        """Write something that happens, as far as this orchestrator knows what is stored."""
        key = KEYS[place]
        entry = self.model.stored_job(ID)
        known = None if entry is None else entry.record if place == 0 else entry.executions.get(key.partition(".")[2])
        if isinstance(known, ExecutionRecord) and known.state.is_terminal:
            return
        after = happened(known, text, place)
        try:
            stored = self.bucket.write(key, after, self.model.revision_of(key))
        except Conflict:
            return
        self.bucket.written.append(after.events[-1].message)
        if len(text) % 2:  # else the feed is faster
            self.model.apply(key, after, stored)


def happened(known: JobRecord | ExecutionRecord | None, text: str, place: int) -> JobRecord | ExecutionRecord:
    begins = isinstance(known, ExecutionRecord) and known.state is S.NEW
    topic, message = (RUNNING, f"{RUNNING_ON}{text}") if begins else ("t", text)
    events = with_event(known.events if known else (), Event(time=1_000 - len(text) % 7, topic=topic, message=message))
    if isinstance(known, JobRecord):
        return replace(known, events=events)
    if known is not None:
        return replace(known, events=events, state=STEPS.get(known.state, known.state))
    if place == 0:
        return job(events)
    return execution(place - 1, events)


def job(events: tuple[Event, ...]) -> JobRecord:
    task = new_task()
    spec = new_job(ID, count=PARTS, tasks=(task,))
    return new_job_record(events=events, first=spec)


def execution(part: int, events: tuple[Event, ...], state: ExecutionState = S.NEW) -> ExecutionRecord:
    return new_execution(state, partition=part, resources=Capacity(), events=events)


@dataclass
class Reader:
    seen: int = 0
    told: list[str] = field(default_factory=list)

    def read(self, orchestrator: Orchestrator) -> None:
        entry = orchestrator.model.jobs.get(ID)
        if entry is None:
            return
        items = views.history(entry, after=self.seen, up_to=orchestrator.model.news.settled)
        self.told += [item.event.message for item in items]
        self.seen = items[-1].seq_num if items else self.seen


MOVES = ("send", "send", "take", "take", "read", "break", "start")
ACTIONS = st.tuples(
    st.sampled_from(["record", "follow and record", "follow and record", *MOVES]),
    st.integers(0, 2),
    st.integers(0, PARTS),
)


def play(bucket: Bucket, actions: list[tuple[str, int, int]]) -> tuple[list[Orchestrator], list[Reader]]:
    """Ends when all orchestrators know all, and all readers have read all."""
    orchestrators = [Orchestrator(bucket) for _ in range(3)]
    readers = [Reader() for _ in range(3)]
    for each in orchestrators:
        each.drain()
    for number, (action, which, place) in enumerate(actions):
        orchestrator = orchestrators[which]
        match action:
            case "record":
                orchestrator.record(f"{place}-{number}", place)
            case "follow and record":
                orchestrator.drain()
                orchestrator.record(f"{place}-{number}", place)
            case "send":
                orchestrator.send()
            case "take":
                orchestrator.take()
            case "read":
                if orchestrator.is_ready:
                    readers[place % 3].read(orchestrator)
            case "break":
                orchestrator.feed_anew()
            case _:
                orchestrators[which] = Orchestrator(bucket)
    for number, each in enumerate(orchestrators):
        each.drain()
        readers[number].read(each)
    return orchestrators, readers


def told(orchestrator: Orchestrator) -> list[tuple[int, str]]:
    return [(item.seq_num, item.event.message) for item in views.history(orchestrator.model.jobs[ID])]


@given(st.lists(ACTIONS, min_size=30, max_size=60))
@settings(deadline=None, max_examples=120)
def test_every_reader_gets_each_event_once_in_the_order_in_which_they_were_stored(
    actions: list[tuple[str, int, int]],
) -> None:
    bucket = Bucket()
    bucket.write(KEYS[0], job(with_event((), Event(time=9, topic="t", message="submitted"))), 0)
    orchestrators, readers = play(bucket, actions)
    expected = ["submitted", *bucket.written]
    begun = [text for text in bucket.written if text.startswith(RUNNING_ON)][:1]
    for reader in readers:
        assert [text for text in reader.told if text not in FOLLOWS] == expected
        assert reader.told.count("Job completed") == (orchestrators[0].model.jobs[ID].progress.state.is_terminal)
        assert [after for text, after in pairwise(reader.told) if text == "Job running"] == begun
    assert len({tuple(told(each)) for each in (*orchestrators, started(bucket))}) == 1
    assert [text for _, text in told(orchestrators[0]) if text not in FOLLOWS] == expected


def started(bucket: Bucket) -> Orchestrator:
    found = Orchestrator(bucket)
    found.drain()
    return found


@given(st.lists(ACTIONS, max_size=60))
@settings(deadline=None)
def test_what_an_earlier_version_recorded_keeps_the_numbers_that_it_had(actions: list[tuple[str, int, int]]) -> None:
    bucket = Bucket()
    bucket.write(KEYS[0], job((Event(time=5, topic="t", message="submitted"),)), 0)
    for part, key in enumerate(KEYS[1:3]):
        late = Event(time=2, recorded=8 - part, topic="t", message="r")
        bucket.write(key, execution(part, (Event(time=6 + part, topic="t", message="p"), late), S.RUNNING), 0)
    orchestrators, readers = play(bucket, actions)
    old = [(1, "submitted"), (2, "p"), (3, "p"), (4, "r"), (5, "r")]
    assert {tuple(told(each)[:5]) for each in (*orchestrators, started(bucket))} == {tuple(old)}
    for reader in readers:
        assert [text for text in reader.told if text != "Job completed"] == [text for _, text in old] + bucket.written


def test_what_a_feed_has_left_out_is_told_before_what_came_after_it() -> None:
    """A record is replaced before a slow feed comes to it; another one was written in between."""
    bucket = Bucket()
    bucket.write(KEYS[0], job(with_event((), Event(time=9, topic="t", message="submitted"))), 0)
    writer, slow, reader = started(bucket), started(bucket), Reader()
    for text, place in (("first", 1), ("between", 2), ("last", 1)):
        writer.record(text, place)
        writer.drain()
    slow.send()
    slow.take()
    reader.read(slow)
    assert reader.told == ["submitted"], "that nothing comes before 'between' is not known yet"
    slow.drain()
    reader.read(slow)
    assert reader.told == ["submitted", "first", "between", "Job running", f"{RUNNING_ON}last"]


def test_a_reader_goes_on_where_it_was_when_a_record_has_lost_its_oldest_lines() -> None:
    bucket = Bucket()
    one = Orchestrator(bucket)
    for number in range(MAX_EVENTS):
        one.record(f"{number:03}", 0)
    one.drain()
    reader = Reader()
    reader.read(one)
    for number in range(MAX_EVENTS, MAX_EVENTS + 10):
        one.record(f"{number:03}", 0)
    one.drain()
    reader.read(one)
    late = Reader()
    late.read(one)
    assert reader.told == [f"{number:03}" for number in range(MAX_EVENTS + 10)]
    assert late.told == ["000", *(f"{number:03}" for number in range(11, MAX_EVENTS + 10))]


def test_what_one_write_records_has_numbers_that_follow_each_other() -> None:
    events = with_event(with_event((), Event(time=2, topic="t", message="a")), Event(time=1, topic="t", message="b"))
    assert [event.number for event in numbered(execution(0, events), 7).events] == [7 * A_WRITE, 7 * A_WRITE + 1]


def test_a_job_begins_with_the_number_one() -> None:
    submitted = numbered(job(with_event((), Event(time=1, topic="t", message="submitted"))), 9)
    after = replace(submitted, events=with_event(submitted.events, Event(time=2, topic="t", message="stop")))
    assert [event.number for event in numbered(after, 12).events] == [1, 12 * A_WRITE]


@pytest.mark.parametrize("is_removed", [False, True], ids=["", "while it is being removed"])
def test_the_end_of_a_job_keeps_its_number_whatever_comes_after_it(*, is_removed: bool) -> None:
    model = Model(max_attempts=1)
    model.apply(KEYS[0], job(with_event((), Event(time=1, topic="t", message="submitted"))), 1)
    for part in range(2):
        placed = execution(part, with_event((), Event(time=2, topic="t", message="placed")))
        model.apply(KEYS[1 + part], placed, 2 + part)
    end(model, 0, S.FAILED, revision=4)
    entry = model.jobs[ID]
    before = views.history(entry)[-1]
    assert (before.event.message, entry.progress.state) == ("Job failed: The execution was cancelled.", JobState.FAILED)
    end(model, 1, S.CANCELLED, revision=5)
    if is_removed:
        model.apply(KEYS[0], marked(entry, results=False), 6)
        model.forget(KEYS[1], 7)
    items = views.history(model.jobs[ID])
    assert [item.seq_num for item in items if item.event.message.startswith("Job failed")] == [before.seq_num]
    assert items[-1].event.message == "Cancelled"


def end(model: Model, part: int, state: ExecutionState, *, revision: int) -> None:
    known = model.jobs[ID].executions[KEYS[1 + part].partition(".")[2]]
    events = with_event(known.events, Event(time=3, topic="t", message=str(state)))
    model.apply(KEYS[1 + part], replace(known, state=state, events=events), revision)


def test_a_stop_is_told_before_the_end_that_it_makes() -> None:
    model = Model(max_attempts=1)
    first = numbered(job(with_event((), Event(time=1, topic="t", message="submitted"))), 1)
    model.apply(KEYS[0], first, 1)
    stop = with_event(first.events, Event(time=0, topic="t", message="stop"))
    model.apply(KEYS[0], replace(first, desired=DesiredState.STOPPED, events=stop), 2)
    assert [item.event.message for item in views.history(model.jobs[ID])] == [
        "submitted",
        "stop",
        "Nothing of it runs any more",
    ]


def test_an_orchestrator_of_an_earlier_version_beside_this_one_makes_nobody_miss_anything() -> None:
    """It drops the numbers of what it writes, so that some of it is told twice."""
    model = Model(max_attempts=1)
    model.apply(KEYS[0], job(with_event((), Event(time=1, topic="t", message="submitted"))), 1)
    placed = Event(time=2, topic="t", message="placed")
    model.apply(KEYS[1], execution(0, (placed,)), 2)
    first = views.history(model.jobs[ID])
    running = Event(time=3, topic="t", message="running")
    model.apply(KEYS[1], execution(0, (placed, running), S.RUNNING), 3)
    rest = views.history(model.jobs[ID], after=first[-1].seq_num)
    assert [item.event.message for item in (*first, *rest)] == ["submitted", "placed", "placed", "running"]
