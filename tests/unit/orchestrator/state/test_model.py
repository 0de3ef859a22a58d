"""What is stored is known, whatever the order in which it arrives, and can be found again."""

import asyncio
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.rules.records import (
    BindingRecord,
    ExecutionRecord,
    JobRecord,
    NameRecord,
    NodeRecord,
    Record,
    SpecRecord,
    decode_record,
)
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import JobId, NodeId, execution_key
from shared.jobs.spec import OPS
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo
from tests.builders import new_execution, new_job, new_job_record, new_task

S = ExecutionState
NODE = NodeId("n-1")


def job(
    name: str = "j-1",
    *,
    version: int = 1,
    priority: int = 0,
    desired: DesiredState = DesiredState.RUNNING,
    namespace: str = "default",
    called: str = "",
    at: int = 1,
) -> JobRecord:
    return new_job_record(
        name,
        namespace=namespace,
        name=called or f"name of {name}",
        version=version,
        at=at,
        priority=priority,
        desired=desired,
    )


def spec(count: int = 1, priority: int = 0) -> SpecRecord:
    task = new_task()
    return SpecRecord(job=new_job(count=count, tasks=(task,), priority=priority))


def execution(
    state: ExecutionState = S.NEW, *, of: str = "j-1", version: int = 1, partition: int = 0, attempt: int = 0
) -> ExecutionRecord:
    return new_execution(state, of=of, version=version, partition=partition, attempt=attempt)


def key_of(record: Record, *, spec_of: tuple[str, int] = ("j-1", 1)) -> str:
    match record:
        case JobRecord():
            return subjects.job_record(record.id)
        case SpecRecord():
            return subjects.spec_record(JobId(spec_of[0]), spec_of[1])
        case ExecutionRecord():
            return subjects.execution_record(
                execution_key(record.job_id, record.job_version, record.partition, record.attempt)
            )
        case _:
            raise TypeError(record)


class Feed:
    """Applies records as the store does: each write has the next revision."""

    def __init__(self, max_attempts: int = 3) -> None:
        self.model = Model(max_attempts=max_attempts)
        self.revision = 0

    def put(self, *records: Record) -> "Feed":
        for record in records:
            self.revision += 1
            self.model.apply(key_of(record), record, self.revision)
            self.model.hear(key_of(record), self.revision)
            self.model.news.settle(self.revision)
        return self

    def put_spec(self, record: SpecRecord, of: str, version: int = 1) -> "Feed":
        self.revision += 1
        self.model.apply(key_of(record, spec_of=(of, version)), record, self.revision)
        return self

    def submit(self, record: JobRecord, count: int = 1) -> "Feed":
        return self.put_spec(spec(count), record.id, record.version).put(record)

    @property
    def pending(self) -> list[str]:
        return [entry.id for line in self.model.pending_jobs().values() for entry in line]

    def entry(self, name: str = "j-1") -> JobEntry:
        return self.model.jobs[JobId(name)]


class TestFeeding:
    def test_a_job_exists_once_its_record_and_its_specification_are_there(self) -> None:
        for records in ((spec(), job()), (job(), spec())):
            feed = Feed().put(records[0])
            assert not feed.model.jobs
            feed.put(records[1])
            assert list(feed.model.jobs) == ["j-1"]
            assert feed.pending == ["j-1"]

    def test_an_older_revision_changes_nothing(self) -> None:
        feed = Feed().submit(job())
        key = subjects.job_record(JobId("j-1"))
        known = feed.model.revision_of(key)
        feed.model.apply(key, job(desired=DesiredState.STOPPED), known)
        feed.model.apply(key, job(desired=DesiredState.STOPPED), known - 1)
        assert feed.entry().progress.state is JobState.PENDING
        feed.model.apply(key, job(desired=DesiredState.STOPPED), known + 1)
        assert feed.entry().progress.state is JobState.STOPPED

    def test_a_record_that_is_not_there_has_revision_0(self) -> None:
        assert Feed().model.revision_of("job.j-1") == 0

    def test_every_change_wakes_whoever_decides(self) -> None:
        feed = Feed()
        for record in (spec(), job()):
            feed.model.wake.clear()
            feed.put(record)
        assert feed.model.wake.is_set()

    def test_nodes_and_bindings_are_known(self) -> None:
        model = Model(max_attempts=1)
        info = NodeInfo(node_id=NODE, version="1")
        model.apply(subjects.node_record(NODE), NodeRecord(info=info), 1)
        model.apply(subjects.binding_record(NODE), BindingRecord(public_key="UABC"), 2)
        model.apply(subjects.name_record("default", "a-job"), NameRecord(job_id=JobId("j-1")), 3)
        assert model.nodes[NODE].info == info
        assert model.bindings == {"n-1": BindingRecord(public_key="UABC")}
        assert not model.jobs

    def test_what_is_not_stored_is_not_taken_in(self) -> None:
        with pytest.raises(TypeError, match="Record is not stored"):
            Model(max_attempts=1).apply("x.y", Record(), 1)

    def test_a_node_holds_its_live_executions_until_they_end(self) -> None:
        feed = Feed().submit(job()).put(execution(S.RUNNING))
        (held,) = feed.model.executions.live[NODE].values()
        assert held.state is S.RUNNING
        feed.put(execution(S.COMPLETED))
        assert feed.model.executions.live[NODE] == {}
        assert feed.entry().progress.state is JobState.COMPLETED

    def test_an_execution_is_found_by_its_id_and_only_then(self) -> None:
        feed = Feed().submit(job()).put(execution())
        assert feed.model.execution(execution().id) == execution()
        assert feed.model.execution(execution(attempt=1).id) is None

    def test_executions_may_arrive_before_their_job(self) -> None:
        feed = Feed().put(execution(S.COMPLETED)).submit(job())
        assert feed.entry().progress.state is JobState.COMPLETED
        assert feed.pending == []


class TestLoading:
    @pytest.mark.parametrize("most", [0, 1, 100])
    def test_what_is_read_at_once_is_known_at_the_end_as_if_it_had_come_one_by_one(
        self, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.state.model.MOST_LOADING", most)
        feed = Feed()
        feed.model.begin_loading()
        feed.submit(job("j-1")).submit(job("j-2")).submit(job("j-3"))
        feed.put(execution(S.COMPLETED, of="j-1"), execution(S.RUNNING, of="j-2"))
        feed.put(job("j-2", desired=DesiredState.STOPPED))
        feed.model.end_loading()
        feed.submit(job("j-4"))
        states = {name: entry.progress.state for name, entry in feed.model.jobs.items()}
        assert states == {
            "j-1": JobState.COMPLETED,
            "j-2": JobState.STOPPED,
            "j-3": JobState.PENDING,
            "j-4": JobState.PENDING,
        }
        assert sorted(feed.pending) == ["j-3", "j-4"]
        assert list(feed.model.backlog.surplus) == ["j-2"]
        assert feed.model.backlog.job_states.total() == 4


class TestPending:
    def test_the_most_urgent_come_first_and_then_the_oldest(self) -> None:
        feed = Feed()
        for name, priority in (("j-1", 0), ("j-2", 5), ("j-3", 0), ("j-4", -1)):
            feed.submit(job(name, priority=priority))
        assert feed.pending == ["j-2", "j-1", "j-3", "j-4"]

    def test_a_job_keeps_its_place_while_something_of_it_is_missing(self) -> None:
        feed = Feed().submit(job("j-1"), count=3).submit(job("j-2"))
        feed.put(execution(of="j-1"))
        assert feed.pending == ["j-1", "j-2"]
        feed.put(execution(of="j-1", partition=1), execution(of="j-1", partition=2))
        assert feed.pending == ["j-2"]

    def test_a_new_priority_moves_a_job_and_does_not_double_it(self) -> None:
        feed = Feed().submit(job("j-1")).submit(job("j-2"))
        feed.submit(job("j-2", version=2, priority=9))
        assert feed.pending == ["j-2", "j-1"]
        feed.put(execution(of="j-2", version=2))
        assert feed.pending == ["j-1"]

    def test_a_version_of_another_type_is_given_no_nodes_of_its_own(self) -> None:
        feed = Feed()
        each = replace(spec(), job=replace(spec().job, type=OPS, count=0))
        feed.put_spec(each, "j-1", 1).put(job())
        assert list(feed.model.backlog.each_node) == ["j-1"]
        feed.submit(job(version=2))
        assert list(feed.model.backlog.each_node) == []

    def test_why_a_job_waits_is_forgotten_when_it_need_not_wait(self) -> None:
        feed = Feed().submit(job())
        feed.model.backlog.explain(JobId("j-1"), "no CPU")
        assert feed.model.backlog.reasons == {"j-1": "no CPU"}
        feed.put(execution())
        assert feed.model.backlog.reasons == {}

    def test_why_an_earlier_version_had_to_wait_is_not_told_of_the_next(self) -> None:
        feed = Feed().submit(job())
        feed.model.backlog.explain(JobId("j-1"), "Node n-1 refused this job: it has no such engine")
        feed.submit(job(version=2))
        assert feed.model.backlog.reasons == {}
        assert feed.model.backlog.job_states == {JobState.PENDING: 1, JobState.QUEUED: 0}

    def test_an_unknown_job_is_not_explained(self) -> None:
        feed = Feed()
        feed.model.backlog.explain(JobId("j-9"), "no CPU")
        assert feed.model.backlog.reasons == {}

    def test_surplus_is_known_until_it_has_stopped(self) -> None:
        feed = Feed().submit(job()).put(execution(S.RUNNING), job(desired=DesiredState.STOPPED))
        assert list(feed.model.backlog.surplus) == ["j-1"]
        feed.put(execution(S.CANCELLED))
        assert not feed.model.backlog.surplus

    def test_after_the_last_attempt_nothing_is_pending(self) -> None:
        feed = Feed(max_attempts=2).submit(job()).put(execution(S.REJECTED))
        assert feed.pending == ["j-1"]
        feed.put(execution(S.REJECTED, attempt=1))
        assert feed.pending == []
        assert feed.entry().progress.state is JobState.FAILED


class TestFinding:
    @pytest.fixture
    def model(self) -> Model:
        feed = Feed()
        for name, called, namespace in (
            ("j-aaaa1", "red", "default"),
            ("j-aaaa2", "blue", "default"),
            ("j-bbbb1", "red", "other"),
            ("j-cccc1", "j-aaaa2", "default"),
            ("j-dddd1", "j-bbbb", "default"),
            ("j-eeee1", "j-ffff", "default"),
        ):
            feed.submit(job(name, called=called, namespace=namespace))
        return feed.model

    @pytest.mark.parametrize(
        ("text", "namespace", "expected"),
        [
            ("red", "default", "j-aaaa1"),
            ("red", "other", "j-bbbb1"),
            ("j-aaaa1", "default", "j-aaaa1"),
            ("j-bbbb1", "default", "j-bbbb1"),
            ("j-bb", "default", "j-bbbb1"),
            ("j-aaaa2", "default", "j-aaaa2"),
            ("j-aaaa2", "other", "j-aaaa2"),
            ("j-bbbb", "other", "j-bbbb1"),
            ("j-ffff", "default", "j-eeee1"),
        ],
        ids=[
            "name",
            "name elsewhere",
            "id",
            "id of any namespace",
            "beginning",
            "id before name",
            "id there",
            "beginning that is a name elsewhere",
            "name that could be a beginning",
        ],
    )
    def test_a_job_is_found_by(self, model: Model, text: str, namespace: str, expected: str) -> None:
        assert model.names.find(text, namespace).job.id == expected

    @pytest.mark.parametrize("text", ["blu", "j-zzzz", "j-b", "", "J-BBBB1"])
    def test_what_is_not_there_is_not_found(self, model: Model, text: str) -> None:
        with pytest.raises(JobNotFound):
            model.names.find(text)

    def test_a_beginning_of_several_ids_is_ambiguous(self, model: Model) -> None:
        with pytest.raises(JobAmbiguous, match="'j-aaaa' names 2 jobs"):
            model.names.find("j-aaaa")

    def test_a_name_that_is_the_beginning_of_another_id_is_ambiguous(self, model: Model) -> None:
        with pytest.raises(JobAmbiguous, match="'j-bbbb' names 2 jobs"):
            model.names.find("j-bbbb", "default")

    def test_the_newest_is_listed_first(self) -> None:
        feed = Feed()
        for name, at in (("j-1", 5), ("j-2", 7), ("j-3", 5)):
            feed.submit(job(name, at=at))
        assert [entry.id for entry in feed.model.lists.find("*")] == ["j-2", "j-3", "j-1"]


class TestWatching:
    async def test_a_watcher_is_woken_once_for_changes_that_come_together(self) -> None:
        feed = Feed().submit(job())
        with feed.model.news.watch(JobId("j-1")) as watch:
            feed.put(execution(S.RUNNING), execution(S.COMPLETED))
            async with asyncio.timeout(1):
                await watch.changed()
            assert not watch._event.is_set()
            feed.model.backlog.explain(JobId("j-1"), "no CPU")
            async with asyncio.timeout(1):
                await watch.changed()

    async def test_another_job_wakes_nobody_and_nothing_is_left_behind(self) -> None:
        feed = Feed().submit(job()).submit(job("j-2"))
        with feed.model.news.watch(JobId("j-1")) as watch, feed.model.news.watch(JobId("j-1")):
            feed.put(execution(of="j-2"))
            assert not watch._event.is_set()
        assert feed.model.news._watchers == {}


class TestDecoding:
    @pytest.mark.parametrize(
        ("key", "record"),
        [
            ("name.ZGVm.YQ", NameRecord(job_id=JobId("j-1"))),
            ("job.j-1", job()),
            ("spec.j-1.1", spec()),
            ("execution.j-1.1.0.0", execution()),
            ("node.n-1", NodeRecord(info=NodeInfo(node_id=NODE, version="1"))),
            ("binding.n-1", BindingRecord(public_key="UABC")),
        ],
        ids=lambda value: value.partition(".")[0] if isinstance(value, str) else "",
    )
    def test_a_record_comes_back_by_its_key(self, key: str, record: Record) -> None:
        assert decode_record(key, msgspec.json.encode(record)) == record

    def test_a_kind_of_key_that_is_not_known_is_none(self) -> None:
        assert decode_record("weather.today", b"{}") is None

    def test_what_is_not_such_a_record_is_an_error(self) -> None:
        with pytest.raises(msgspec.DecodeError):
            decode_record("job.j-1", b'{"id": 1}')

    def test_a_record_of_the_first_schema_says_so_by_saying_nothing(self) -> None:
        assert b"schema" not in msgspec.json.encode(job())
        newer = decode_record("name.a.b", b'{"schema": 2, "job_id": "j-1", "new": true}')
        assert newer is not None
        assert newer.schema == 2


records = st.builds(
    execution,
    st.sampled_from(list(S)),
    version=st.integers(1, 2),
    partition=st.integers(0, 1),
    attempt=st.integers(0, 1),
) | st.builds(job, version=st.integers(1, 2), priority=st.integers(0, 1), desired=st.sampled_from(list(DesiredState)))


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(records, max_size=12), order=st.randoms(use_true_random=False))
def test_whatever_the_order_of_arrival_the_model_ends_up_the_same(changes: list[Record], order: random.Random) -> None:
    writes: list[tuple[str, Record, int]] = [
        (subjects.spec_record(JobId("j-1"), version), spec(2), version) for version in (1, 2)
    ]
    writes += [(key_of(record), record, number) for number, record in enumerate(changes, start=3)]
    told = Feed().model
    for key, record, revision in writes:
        told.apply(key, record, revision)
    order.shuffle(writes)
    heard = Feed().model
    for key, record, revision in writes:
        heard.apply(key, record, revision)
    for model in (told, heard):
        pending = [entry.id for line in model.pending_jobs().values() for entry in line]
        assert pending == [name for name, entry in model.jobs.items() if entry.progress.missing]
        assert list(model.backlog.surplus) == [name for name, entry in model.jobs.items() if entry.progress.surplus]
    assert told.jobs.keys() == heard.jobs.keys()
    for name, entry in told.jobs.items():
        mine, theirs = entry.progress, heard.jobs[name].progress
        assert replace(mine, surplus=(), message="") == replace(theirs, surplus=(), message="")
        assert {each.id for each in mine.surplus} == {each.id for each in theirs.surplus}
    assert {node: set(live) for node, live in told.executions.live.items() if live} == {
        node: set(live) for node, live in heard.executions.live.items() if live
    }
