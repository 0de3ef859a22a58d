"""Whether a job is in memory or filed in the index on disk, whoever reads sees the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.api import job_pages
from orchestrator.api.job_filters import JobFilter, job_filter
from orchestrator.api.job_pages import job_page, job_window
from orchestrator.jobs import views
from orchestrator.rules.location import Location
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import NameRecord, Record, Removal, Replaced, SpecRecord
from orchestrator.state import job_lists
from orchestrator.state.filing.index_file import JobIndexNotWritable
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.filing.job_index_tables import BY_ID, MODIFIED, JobListing, RowFilter
from orchestrator.state.filing.known_jobs import LOOKED_AT_ONCE
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import JobId, execution_key, new_execution_id
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.messages import RunOutput
from tests.builders import new_execution, new_job, new_job_record

JOBS = ["j-aaaa1", "j-aaaa2", "j-bbbb1", "j-cccc1"]
NAMESPACES = {"j-aaaa1": "one", "j-aaaa2": "one", "j-bbbb1": "two", "j-cccc1": "two"}
NAMES = {"j-aaaa1": "red", "j-aaaa2": "j-aaaa", "j-bbbb1": "red", "j-cccc1": "j-cccc1"}
CREATED = {"j-aaaa1": 2, "j-aaaa2": 5, "j-bbbb1": 2, "j-cccc1": 3}
LABELS = [{}, {"team": "a"}, {"team": "a", "env": "x"}, {"team": "b"}]
BUCKET = Location(bucket="results", region="r", key="k")
SELECTORS = ["", "team=a", "team=a,env=x", "team!=a", "team in (a,b)"]
MOST = 1 << 60

Change = Callable[["Twins"], None]


def filing(index: JobIndex | None = None, *, at_once: int = 1) -> Model:
    """One that keeps no job in memory that has ended."""
    return Model(max_attempts=2, index=index, recent=0, filed_at_once=at_once)


class Twins:
    """A model that files at once, and one that keeps all in memory, told the same."""

    def __init__(self, at_once: int) -> None:
        self.filing = filing(at_once=at_once)
        self.models = (self.filing, Model(max_attempts=2))
        self.revision = 0
        self.keys: dict[str, None] = {}
        self.gone: set[str] = set()

    def put(self, key: str, record: Record) -> None:
        """Unless it was removed: no key is used again but that of a name."""
        if key in self.gone:
            return
        self.revision += 1
        self.keys[key] = None
        for model in self.models:
            model.apply(key, record, self.revision)
            model.follow(self.revision)
            model.news.settle(self.revision)
            model.find_out()

    def forget(self, key: str) -> None:
        if not key.startswith("name."):
            self.gone.add(key)
        self.revision += 1
        for model in self.models:
            model.forget(key, self.revision)
            model.follow(self.revision)
            model.find_out()

    def check(self) -> None:
        assert_shows_the_same(*self.models, list(self.keys))


def assert_shows_the_same(filing: Model, keeping: Model, keys: list[str], *others: Model) -> None:
    """As the one that keeps all in memory, or as one of the others."""
    filed, told = dict(_shown(filing, keys)), [dict(_shown(each, keys)) for each in others]
    for name, value in _shown(keeping, keys):
        if not any(filed[name] == each[name] for each in told):
            assert (name, filed[name]) == (name, value)


def _shown(model: Model, keys: list[str]) -> Iterator[tuple[str, Any]]:
    """All that anybody reads of a model, by what it is."""
    yield "jobs", sorted(model.jobs)
    yield "count", len(model.jobs)
    for job in map(JobId, (*JOBS, "j-none")):
        yield f"{job} is there", (job in model.jobs, model.stored_job(job) is not None)
        yield f"{job} is stored as", sorted(model.stored_parts(job))
        yield f"{job} ended at", model.endings.ended_at(job)
        yield f"{job} holds up", sorted(each.id for each in model.backlog.chains.followers(job))
        if (entry := model.jobs.get(job)) is not None:
            yield f"{job} is", _seen(model, entry)
            assert model.jobs[job] is entry
    for key in keys:
        yield f"revision of {key}", model.revision_of(key)
        yield f"news of {key}", [model.is_news(key, revision) for revision in (1, model.followed, MOST)]
        if key.startswith("execution."):
            yield f"found {key}", model.execution(new_execution_id(key.removeprefix("execution.")))
    yield from _names(model)
    yield from _lists(model)
    yield "states", {state: count for state, count in model.backlog.job_states.items() if count}
    yield "executions", {state: count for state, count in model.executions.states.items() if count}
    yield "live", {node: set(live) for node, live in model.executions.live.items() if live}
    yield "surplus", set(model.backlog.surplus)
    yield "pending", {name: [each.id for each in line] for name, line in model.pending_jobs().items()}
    yield "endings", (model.endings.count, set(model.endings.removals), set(model.endings.strays))
    yield "namespaces", {name: model.lists.count_of(name) for name in model.lists.namespaces}
    yield "all revisions", sorted(model._all_revisions())


def _seen(model: Model, entry: JobEntry) -> tuple[object, ...]:
    shown = (views.job_view(model, entry), views.history(entry), views.execution_views(model, entry))
    summary = (entry.name, entry.namespace, entry.created, entry.modified, entry.ended_by, dict(entry.labels))
    ready_at = 0 if entry.progress.state.is_terminal else entry.ready_at  # it says nothing any more
    more = (entry.listed_state, entry.exit_codes, entry.needs, ready_at, entry.revision, entry.progress)
    return msgspec.json.encode(shown), summary, more, dict(entry.revisions())


def _names(model: Model) -> Iterator[tuple[str, object]]:
    yield "near", _found(model, "rad", "one")
    for namespace in ("one", "two"):
        for text in ("red", "j-aaaa", JOBS[1], "j-bb"):
            yield f"{namespace}/{text}", _found(model, text, namespace)
            yield f"{namespace}/{text} is named", model.names.named(namespace, text)
        for token in [f"{number} of {job}" for number in (1, 2) for job in JOBS]:
            entry = model.names.of_token(namespace, token)
            yield f"{namespace}: {token}", entry.id if entry else None


def _found(model: Model, text: str, namespace: str) -> object:
    try:
        return model.names.find(text, namespace).id
    except (JobNotFound, JobAmbiguous) as error:
        return str(error), error.hint


def _lists(model: Model) -> Iterator[tuple[str, object]]:
    everything = [JobFilter(), *(job_filter(namespaces=None, labels=[each], now=0) for each in SELECTORS if each)]
    some = [
        job_filter(namespaces=frozenset({"one"}), now=0),
        job_filter(namespaces=frozenset({"one"}), limited=True, labels=["team=a"], now=0),
        job_filter(namespaces=frozenset({"one", "two", "none"}), limited=True, states=["completed"], now=0),
        job_filter(namespaces=frozenset(), limited=True, now=0),
        job_filter(namespaces=None, exit_codes=["nonzero"], now=0),
        job_filter(namespaces=None, name="re*", since="3", now=0),
        JobFilter(since=3),
        JobFilter(since=10**20),
    ]
    for number, wanted in enumerate([*everything, *some]):
        for order in ("created_at", "modified_at", "id"):
            for descending in (False, True):
                yield f"list {number} by {order}, {descending}", _paged(model, wanted, order, descending=descending)


def _paged(model: Model, wanted: JobFilter, order: str, *, descending: bool) -> list[str]:
    """All of a list, two at a time."""
    found, token = list[str](), ""
    while True:
        window = job_window(sort_by=order, descending=descending, limit=2, token=token)
        some, token = job_page(model.lists, wanted, window)
        found += [each.id for each in some]
        if not token:
            return found


jobs = st.sampled_from(JOBS)
instants = st.integers(1, 6)


@st.composite
def job_records(draw: st.DrawFn) -> Change:
    job, version = draw(jobs), draw(st.integers(1, 2))
    namespace = NAMESPACES[job]
    spec = new_job(labels=draw(st.sampled_from(LABELS)), count=draw(st.integers(1, 2)), namespace=namespace)
    needs = tuple(
        PinnedNeed(job=JobId(each), version=1, called="x") for each in draw(st.lists(jobs, max_size=1)) if each != job
    )
    record = new_job_record(
        job,
        namespace=namespace,
        name=NAMES[job],
        version=version,
        create_time=CREATED[job],
        modify_time=draw(instants),
        first=spec,
        needs=needs if version == 1 else (),
        desired=draw(st.sampled_from(list(DesiredState))),
        removal=draw(st.sampled_from([None, None, None, Removal(state=JobState.COMPLETED)])),
    )
    replaced = Replaced(version=1, submit_time=1, modify_time=2, state=JobState.COMPLETED, token=f"1 of {job}")

    def change(twins: Twins) -> None:
        if version > 1:
            twins.put(subjects.spec_record(JobId(job), version), SpecRecord(job=spec, replaced=replaced))
        known = twins.models[1].stored_job(JobId(job))
        newest = known.record.version if known is not None and known.record is not None else 1
        is_now = max(version, newest)
        twins.put(record.key, replace(record, version=is_now, token=f"{is_now} of {job}"))

    return change


@st.composite
def executions(draw: st.DrawFn) -> Change:
    state = draw(st.sampled_from([*ExecutionState, ExecutionState.COMPLETED, ExecutionState.COMPLETED]))
    record = new_execution(
        state,
        of=draw(jobs),
        version=draw(st.integers(1, 2)),
        partition=draw(st.integers(0, 1)),
        attempt=draw(st.integers(0, 1)),
        at=draw(instants),
        location=draw(st.sampled_from([None, BUCKET])),
        result_deleted=draw(st.sampled_from([0, 0, 5])),
        output=draw(st.sampled_from([None, RunOutput(), RunOutput(exit_code=3)])),
    )
    return lambda twins: twins.put(record.key, record)


@st.composite
def ended(draw: st.DrawFn) -> Change:
    """A whole job that has completed."""
    submit, end = draw(job_records()), draw(jobs)
    record = new_execution(ExecutionState.COMPLETED, of=end, at=draw(instants), location=BUCKET, output=RunOutput())

    def change(twins: Twins) -> None:
        submit(twins)
        twins.put(record.key, record)

    return change


@st.composite
def name_records(draw: st.DrawFn) -> Change:
    job = draw(jobs)
    key = subjects.name_record(NAMESPACES[job], NAMES[job])
    return lambda twins: twins.put(key, NameRecord(job_id=JobId(job)))


@st.composite
def removed(draw: st.DrawFn) -> Change:
    number = draw(st.integers(0, 100))

    def change(twins: Twins) -> None:
        if twins.keys:
            twins.forget(list(twins.keys)[number % len(twins.keys)])

    return change


@st.composite
def removed_job(draw: st.DrawFn) -> Change:
    """All of it."""
    job = draw(jobs)

    def change(twins: Twins) -> None:
        for key in [key for key in twins.keys if job in key.split(".")]:
            twins.forget(key)

    return change


@st.composite
def looked_at(draw: st.DrawFn) -> Change:
    """By one who clears away: some are taken out of the order of their ends, and put in again."""
    before, most, published = draw(instants), draw(st.integers(1, 3)), draw(st.booleans())

    def change(twins: Twins) -> None:
        taken = []
        for model in twins.models:
            endings = model.endings
            found = (endings.take_published if published else endings.take_ended)(most, before)
            taken.append(found)
            model.find_out()
            for job in found:
                model.note_ending(model.jobs[job])
            model.find_out()
        assert taken[0] == taken[1]

    return change


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(
        st.one_of(ended(), ended(), job_records(), executions(), name_records(), removed(), removed_job(), looked_at()),
        max_size=10,
    ),
    at_once=st.integers(1, 3),
    checked=st.integers(0, 8),
)
def test_a_model_that_files_at_once_shows_the_same_as_one_that_keeps_all_in_memory(
    changes: list[Change], at_once: int, checked: int
) -> None:
    twins = Twins(at_once)
    for number, change in enumerate(changes):
        change(twins)
        if number == checked:
            twins.check()
    twins.check()


def whole_job(model: Model, number: int, *, at: int = 0) -> JobId:
    """One that has completed, of three records with revisions that follow from its number."""
    job = JobId(f"j-{number:04}")
    record = new_job_record(job, first=new_job(labels={"team": "a"}), name=f"name-{number}", at=at or number + 1)
    done = new_execution(ExecutionState.COMPLETED, of=job, at=at or number + 1, location=BUCKET, output=RunOutput())
    model.apply(subjects.name_record("default", record.name), NameRecord(job_id=job), 3 * number + 1)
    model.apply(record.key, record, 3 * number + 2)
    model.apply(done.key, done, 3 * number + 3)
    model.find_out()
    return job


def in_memory(model: Model) -> tuple[object, ...]:
    """What of jobs the model has in memory."""
    names = (model.names._names, model.names._beginnings, model.names._tokens)
    return model._entries, model.jobs.live, model._revisions, *names, model.executions._places, len(model.endings.ended)


def test_nothing_of_ended_jobs_stays_in_memory() -> None:
    model = filing()
    for number in range(5):
        whole_job(model, number)
    model.find_out()
    assert in_memory(model) == ({}, {}, {}, {}, {}, {}, {}, 0)
    assert (len(model.jobs), model.endings.count, len(list(model.lists.find("*")))) == (5, 5, 5)


def test_those_that_were_filed_or_looked_at_last_stay_in_memory_as_well() -> None:
    model = Model(max_attempts=1, recent=2, filed_at_once=1)
    jobs = [whole_job(model, number) for number in range(5)]
    assert [model.jobs.recent(job) is not None for job in jobs] == [False, False, False, True, True]
    assert model.jobs[jobs[0]].job.id == jobs[0]
    assert [model.jobs.recent(job) is not None for job in jobs] == [True, False, False, False, True]


def test_some_are_given_as_each_is_by_itself() -> None:
    model = Model(max_attempts=1, filed_at_once=4)
    jobs = [whole_job(model, number) for number in range(6)]
    assert len(model.jobs.live) == 2
    wanted = [jobs[5], jobs[0], JobId("j-none"), jobs[2]]
    some = model.jobs.some(wanted)
    assert [each.id for each in some] == [jobs[5], jobs[0], jobs[2]]
    assert all(each is model.jobs[each.id] for each in some)


def test_who_holds_a_job_sees_what_becomes_of_it_when_it_was_filed() -> None:
    model = filing()
    job = whole_job(model, 1)
    held = model.jobs[job]
    assert model.jobs[job] is held
    again = replace(held.job, version=2, modify_time=99)
    model.apply(subjects.spec_record(job, 2), SpecRecord(job=held.spec), 50)
    model.apply(again.key, again, 51)
    assert model.jobs[job] is held
    assert (held.progress.state, model.jobs.live) == (JobState.PENDING, {job: held})


def test_a_record_that_is_known_of_a_filed_job_is_no_news() -> None:
    model = filing()
    job = whole_job(model, 1)
    key = subjects.execution_record(execution_key(job, 1, 0, 0))
    assert (model.revision_of(subjects.job_record(job)), model.revision_of(key)) == (5, 6)
    assert not model.is_news(key, 6)
    assert model.is_news(key, 7)


def test_what_ended_or_changed_since_is_found_among_filed_jobs_and_others() -> None:
    model = Model(max_attempts=1, filed_at_once=LOOKED_AT_ONCE)
    jobs = [whole_job(model, number) for number in range(LOOKED_AT_ONCE + 6)]
    assert len(model.jobs.live) == 6
    found = {job for some in model.jobs.changed_since(4) for job in some}
    assert found >= set(jobs[3:])
    assert jobs[0] not in found
    assert all(len(some) <= LOOKED_AT_ONCE for some in model.jobs.changed_since(0)), "others have their turn in between"
    ends = sorted(model.jobs[job].ended_by for job in jobs)
    assert {job for some in model.jobs.ended_after(ends[0] - 1) for job in some} == set(jobs)


def test_of_filed_jobs_the_oldest_are_removed_first() -> None:
    model = filing()
    jobs = [whole_job(model, number) for number in range(6)]
    assert model.endings.take_ended(2, MOST) == jobs[:2]
    assert model.endings.take_published(3, MOST) == jobs[:3]
    assert sorted(model.jobs.live)[:2] == jobs[:2]


class TestFile:
    def test_only_its_owner_reads_it_and_what_was_there_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.sqlite"
        path.write_text("not a database")
        model = filing(JobIndex(path))
        whole_job(model, 1)
        assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
        assert len(JobIndex(path).namespaces) == 0

    def test_where_it_cannot_be_made_that_is_said_in_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(JobIndexNotWritable, match=r"The index of ended jobs, .*jobs\.sqlite, cannot be made"):
            JobIndex(tmp_path / "none" / "jobs.sqlite")

    def test_while_the_disk_is_full_jobs_stay_in_memory(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        index = JobIndex(tmp_path / "jobs.sqlite")
        model = filing(index)
        whole_job(model, 0)
        ((pages,),) = index._file.execute("PRAGMA page_count").fetchall()
        index._file.execute(f"PRAGMA max_page_count = {pages}")
        jobs = [whole_job(model, number) for number in range(1, 40)]
        assert model.jobs.live
        assert "cannot be written: database or disk is full" in caplog.text
        assert caplog.text.count("cannot be written") == 1
        assert {each.id for each in model.lists.find("*")} == {"j-0000", *jobs}
        assert [model.jobs[job].progress.state for job in jobs] == [JobState.COMPLETED] * 39
        index._file.execute("PRAGMA max_page_count = 1000000")
        whole_job(model, 40)
        assert not model.jobs.live
        assert len(list(model.lists.find("*"))) == len(model.jobs) == 41

    def test_a_job_that_is_taken_back_while_the_disk_is_full_is_not_seen_twice(self, tmp_path: Path) -> None:
        index = JobIndex(tmp_path / "jobs.sqlite")
        model = filing(index)
        job = whole_job(model, 0)
        ((pages,),) = index._file.execute("PRAGMA page_count").fetchall()
        index._file.execute(f"PRAGMA max_page_count = {pages}")
        record = replace(model.jobs[job].job, modify_time=77)
        model.apply(record.key, record, 30)
        model.find_out()
        assert [each.id for each in model.lists.find("*")] == [job]
        assert (model.jobs[job].modified, len(model.jobs), model.endings.count) == (77, 1, 1)


class TestFilteredListing:
    """Of many filed jobs those are read that a filter lets through, and now and then one that tells how far it is."""

    @pytest.mark.parametrize("order", [("created", "id"), MODIFIED, BY_ID])
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_those_that_are_wanted_are_there_once_and_in_order(
        self,
        order: tuple[str, ...],
        newest_first: bool,  # noqa: FBT001
    ) -> None:
        model = filing()
        jobs = [whole_job(model, number) for number in range(40)]
        wanted = [job for job in jobs if job.endswith("3")]
        only = RowFilter("name GLOB ?", ("name-*3",))
        listing = JobListing(order, None, None, newest_first, only, looked_through=7)
        found = list(model.filed.listed(listing))
        assert [each.id for each in found if each.id in wanted] == wanted[:: -1 if newest_first else 1]
        milestones = [each for each in found if each.looked_at > 1]
        assert [each.id for each in milestones] == jobs[:: -1 if newest_first else 1][6::7]
        assert len(found) == len({*wanted, *(each.id for each in milestones)})

    def test_a_page_ends_where_enough_was_looked_through_and_the_next_goes_on_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_pages, "MOST_LOOKED_AT", 10)
        monkeypatch.setattr(job_lists, "LOOKED_THROUGH", 10)
        model = filing()
        jobs = [whole_job(model, number) for number in range(12)]
        wanted = job_filter(namespaces=None, states=["failed"], now=0)
        found, token = job_page(model.lists, wanted, job_window(sort_by="", descending=False, limit=3, token=""))
        assert (found, bool(token)) == ([], True)
        later = job_filter(namespaces=None, states=["completed"], now=0)
        found, _ = job_page(model.lists, later, job_window(sort_by="", descending=False, limit=3, token=token))
        assert [each.id for each in found] == jobs[10:]
