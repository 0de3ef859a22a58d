"""What an earlier process has left in the index is as good as what it had in memory, wherever it was killed."""

import gc
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PosixPath
from tempfile import TemporaryDirectory
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.rules.records import Record, Replaced, SpecRecord, TokenRecord, UserRecord, decode_record
from orchestrator.state.filing import index_file, unsaved
from orchestrator.state.filing.job_index import JobIndex, JobIndexDamaged
from orchestrator.state.job_records import revisions_of
from orchestrator.state.model import Model
from shared.ids import ExecutionId, JobId
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from tests.builders import new_execution, new_job, new_job_record
from tests.unit.orchestrator.state.filing.test_known_jobs import (
    Change,
    Twins,
    assert_shows_the_same,
    ended,
    executions,
    filing,
    job_records,
    looked_at,
    name_records,
    removed,
    removed_job,
    whole_job,
)

STREAM = "2026-01-01T00:00:00Z"


class Killed(Twins):
    """Whose filing model keeps a file, of which there are copies as they were at some moments."""

    def __init__(self, folder: Path, at_once: int) -> None:
        super().__init__(at_once)
        self.folder = folder
        self.path = folder / "jobs.sqlite"
        self.filing = filing(JobIndex(self.path), at_once=at_once)
        self.filing.keep_up(STREAM)
        self.models = (self.filing, self.models[1])
        self.stored: dict[str, tuple[int, Record | None]] = {}

    def put(self, key: str, record: Record) -> None:
        super().put(key, record)
        if key not in self.gone:
            self.stored[key] = self.revision, record

    def forget(self, key: str) -> None:
        super().forget(key)
        self.stored[key] = self.revision, None

    def kill(self, name: str) -> Path:
        """The file as a process finds it that is started after this one was killed."""
        copy = self.folder / name
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", f"{copy}{suffix}")
        return copy

    def started_again(self, path: Path) -> Model:
        """One that has what is in this file, and was told what has been stored since."""
        model = filing(JobIndex(path, again=True))
        followed = 0
        if model.filed.saved is not None:
            followed = model.filed.saved.followed
            resume(model)
        return self.told(model, followed)

    def started_without(self) -> Model:
        """One that was told all that is stored, and has it in memory."""
        return self.told(Model(max_attempts=2), 0)

    def told(self, model: Model, followed: int) -> Model:
        later = sorted((revision, key) for key, (revision, _) in self.stored.items() if revision > followed)
        for revision, key in later:
            record = self.stored[key][1]
            if record is None:
                model.forget(key, revision)
            else:
                model.apply(key, record, revision)
            model.follow(revision)
        model.follow(self.revision)
        model.news.settle(self.revision)
        model.find_out()
        return model

    def check_again(self, path: Path) -> Model:
        again = self.started_again(path)
        # In an order in which nothing is removed, what stays of it depends on who was there.
        assert_shows_the_same(again, self.started_without(), list(self.keys), self.models[1])
        return again


def resume(model: Model) -> None:
    """As the store does it."""
    model.resume()
    model.begin_loading()
    for records in model.filed.kept():
        for key, revision, payload in records:
            record = decode_record(key, payload)
            assert record is not None
            model.apply(key, record, revision)
    model.end_loading()
    model.resumed()


@st.composite
def other_records(draw: st.DrawFn) -> Change:
    user = UserRecord(name="u", key_id="k", digest="d", capabilities=(), namespaces=(), create_time=1)
    record = draw(st.sampled_from([user, TokenRecord(id="t", digest="d", create_time=1)]))
    return lambda twins: twins.put(record.key, record)


def saved(twins: Twins) -> None:
    twins.filing.save()


def changes(most: int) -> st.SearchStrategy[list[Change]]:
    save: Callable[[Twins], None] = saved
    kinds = (ended(), job_records(), executions(), name_records(), removed(), removed_job(), looked_at())
    return st.lists(st.one_of(ended(), *kinds, other_records(), st.just(save)), max_size=most)


class Folder(PosixPath):
    """Whose files nobody has open any more: SQLite removes some as soon as Python finds that a model is garbage."""

    def iterdir(self) -> Generator[Self, None, None]:
        gc.collect()
        yield from super().iterdir()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    before = unsaved.MOST_AT_ONCE
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Folder(name)
    unsaved.MOST_AT_ONCE = before


@settings(max_examples=40, deadline=None)
@given(told=changes(8), not_saved=changes(2), later=changes(3), sizes=st.tuples(st.integers(1, 3), st.integers(1, 4)))
def test_whoever_starts_after_a_kill_at_any_moment_has_everything(
    folder: Path, told: list[Change], not_saved: list[Change], later: list[Change], sizes: tuple[int, int]
) -> None:
    at_once, unsaved.MOST_AT_ONCE = sizes  # the fixture sets it back
    for path in folder.iterdir():
        path.unlink()
    twins = Killed(folder, at_once)
    for change in (*told, saved, *not_saved):
        change(twins)
    killed = twins.kill("killed")
    for change in later:
        change(twins)
    again = twins.check_again(killed)
    again.keep_up(STREAM)
    again.save()
    check_file(again)
    again.filed.close()
    twins.check_again(killed)


def check_file(model: Model) -> None:
    """Once all is saved, each record is in it once: with its filed job, or by itself."""
    index = model.filed
    filed = [each for of_job in index.all_revisions() for each in revisions_of(*of_job)]
    kept = [(key, revision) for some in index.kept() for key, revision, _ in some]
    assert not index.left
    assert len([*index.ids()]) == index.count
    assert sorted([*filed, *index.name_revisions(), *kept]) == sorted(model._all_revisions())


def left(folder: Path, *, jobs: int = 3) -> Path:
    """A file that was closed in order."""
    path = folder / "jobs.sqlite"
    model = filing(JobIndex(path))
    for number in range(jobs):
        whole_job(model, number)
    model.follow(100, 7)
    model.keep_up(STREAM)
    model.save()
    model.filed.close_in_order()
    return path


def test_it_is_used_again_and_tells_up_to_where_it_has_everything(tmp_path: Path) -> None:
    index = JobIndex(left(tmp_path), again=True)
    assert index.saved is not None
    assert (index.saved.stream, index.saved.followed, index.saved.followed_at) == (STREAM, 100, 7)
    model = filing(index)
    resume(model)
    assert sorted(model.jobs) == ["j-0000", "j-0001", "j-0002"]
    assert model.jobs[JobId("j-0001")].name == "name-1"


def test_it_has_nothing_before_it_is_known_to_be_of_this_stream(tmp_path: Path) -> None:
    index = JobIndex(left(tmp_path), again=True)
    assert (index.count, index.namespaces) == (0, {})
    index.begin_anew()
    assert index.saved is None
    assert not filing(index).jobs


def test_after_a_crash_of_the_machine_it_is_used_if_it_was_closed_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = left(tmp_path)
    monkeypatch.setattr(index_file, "boot_id", lambda: "another")
    index = JobIndex(path, again=True)
    assert index.saved is not None
    index.close()  # as a kill does
    assert JobIndex(path, again=True).saved is not None
    monkeypatch.setattr(index_file, "boot_id", lambda: "a third")
    assert JobIndex(path, again=True).saved is None


def without_place(file: sqlite3.Connection) -> None:
    file.execute("DELETE FROM about WHERE name = 'place'")


def of_another_version(file: sqlite3.Connection) -> None:
    file.execute("UPDATE about SET value = 'other' WHERE name = 'format'")


def of_the_first_version(file: sqlite3.Connection) -> None:
    """Its tables were made anew at each start, and said nothing of themselves."""
    file.execute("DROP TABLE about")


@pytest.mark.parametrize("change", [without_place, of_another_version, of_the_first_version])
def test_what_cannot_be_relied_upon_is_made_anew(tmp_path: Path, change: Callable[[sqlite3.Connection], None]) -> None:
    path = left(tmp_path)
    with sqlite3.connect(path) as file:
        change(file)
    file.close()
    index = JobIndex(path, again=True)
    assert index.saved is None
    assert next(iter(index.ids()), None) is None


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(content)
    index = JobIndex(path, again=True)
    assert index.saved is None
    whole_job(filing(index), 1)
    assert list(index.ids()) == ["j-0001"]


def test_what_cannot_be_read_any_more_is_an_error_and_made_anew_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = left(tmp_path, jobs=400)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    index = JobIndex(path, again=True)
    if index.saved is not None:
        with pytest.raises(JobIndexDamaged, match="cannot be read"):
            filing(index).resume()
        assert "cannot be read" in caplog.text
    assert JobIndex(path, again=True).saved is None


def test_nobody_relies_on_it_where_something_stored_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    model = filing(JobIndex(path))
    model.keep_up(STREAM)
    whole_job(model, 1)
    model.distrust()
    whole_job(model, 2)
    model.save()
    model.filed.close()
    assert JobIndex(path, again=True).saved is None


def test_of_a_job_that_was_removed_nothing_stays_in_the_file() -> None:
    model = filing()
    model.keep_up(STREAM)
    job = whole_job(model, 1)
    again = replace(model.jobs[job].job, version=2, token="t-2", desired=DesiredState.STOPPED)
    replaced = Replaced(version=1, submit_time=1, modify_time=2, state=JobState.COMPLETED, token="t-1")
    model.apply(subjects.spec_record(job, 2), SpecRecord(job=model.jobs[job].spec, replaced=replaced), 50)
    model.apply(again.key, again, 51)
    model.find_out()
    assert not model.jobs.live
    assert set(rows(model)) == {"jobs", "records", "executions", "labels", "names", "tokens"}
    for key in (*model.stored_parts(job), again.key):
        model.forget(key, 60)
    model.save()
    assert rows(model) == {}


def test_of_replicas_whose_ids_follow_from_nothing_nothing_stays_in_the_file_either() -> None:
    model = filing()
    model.keep_up(STREAM)
    job = new_job_record("j-1", first=new_job("j-1", namespace="default"))
    replica = replace(new_execution(ExecutionState.COMPLETED), id=ExecutionId("e-by-chance"))
    for number, record in enumerate((job, replica), 1):
        model.apply(record.key, record, number)
    model.find_out()
    assert rows(model)["executions"] == 1
    assert model.execution(replica.id) == replica
    for record in (replica, job):
        model.forget(record.key, 9)
    model.save()
    assert rows(model) == {}


def rows(model: Model) -> dict[str, int]:
    """How many there are in each table that has any, but for what the file says of itself."""
    tables = ("jobs", "records", "executions", "labels", "names", "tokens", "kept")
    counts = {each: model.filed._one(f"SELECT count(*) FROM {each}")[0] for each in tables}
    return {table: count for table, count in counts.items() if count}
