"""The recorder of the audit log: what is answered is written, and what cannot be written is refused."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.file import AuditFile, Rotation
from orchestrator.audit.lines import Position
from orchestrator.audit.recorder import MOST_WAITING, Audit, AuditUnwritable, OnFailure
from orchestrator.audit.standard_output import StandardOutput
from shared.runtime.aio import background
from tests.audit_logs import full_at, lines_in
from tests.waiting import eventually

LARGE = Rotation(1 << 30, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@asynccontextmanager
async def opened(path: Path, on_failure: OnFailure = "refuse") -> AsyncIterator[Audit]:
    file = AuditFile(path, LARGE, orchestrator="o-1", sync_seconds=1.0)
    async with Audit(file, on_failure=on_failure) as audit, background(audit=audit.run()):
        yield audit


class Shut:
    """A log that cannot be opened, which it takes until it is let to find out."""

    position = Position()

    def __init__(self) -> None:
        self.may_fail, self.tried = threading.Semaphore(1), threading.Semaphore(0)
        self._is_first = True

    def open(self) -> None:
        if not self._is_first:  # that is for the start, which is waited for
            self.tried.release()
        self._is_first = False
        self.may_fail.acquire()
        raise PermissionError(errno.EACCES, "Permission denied")

    def write(self, events: Iterable[tuple[bytes, AuditEvent]]) -> None:
        raise AssertionError

    def sync(self) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def done(name: str) -> AuditEvent:
    return AuditEvent(kind="key", who="maria", action="write:job", operation="submit", object=name)


def objects(path: Path) -> list[str]:
    return [each.object for each in lines_in(path) if each.object]


async def test_what_is_recorded_is_written(path: Path) -> None:
    async with opened(path) as audit:
        await audit.record(done("j-1"), done("j-2"))
        assert objects(path) == ["j-1", "j-2"]


async def test_a_start_and_a_stop_are_told(path: Path) -> None:
    for _ in range(2):
        async with opened(path):
            pass
    assert [each.operation for each in lines_in(path)] == ["start", "stop"] * 2


async def test_many_that_come_at_once_share_a_write(path: Path) -> None:
    async with opened(path) as audit, asyncio.TaskGroup() as group:
        for number in range(1000):
            group.create_task(audit.record(done(f"j-{number}")))
    assert objects(path) == [f"j-{number}" for number in range(1000)]


async def test_who_is_cancelled_while_it_waits_has_its_line(path: Path) -> None:
    async with opened(path) as audit:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(audit.record(done("j-1")))
            await asyncio.sleep(0)
            waiting.cancel()
        await audit.record(done("j-2"))
        assert objects(path) == ["j-1", "j-2"]


async def test_a_full_disk_refuses_until_there_is_room_again(path: Path) -> None:
    async with opened(path) as audit:
        await audit.record(done("j-1"))
        with full_at(path.stat().st_size + 30):
            with pytest.raises(AuditUnwritable, match="may have been done"):
                await audit.record(done("j-2"))
            with pytest.raises(AuditUnwritable, match="Nothing is changed"):
                audit.check()
            assert audit.health.problem is not None
        await eventually(lambda: audit.health.problem is None)
        audit.check()
        await audit.record(done("j-3"))
        assert objects(path) == ["j-1", "j-2", "j-3"], "what was done has its line, once"


async def test_a_full_disk_holds_up_nothing_where_the_operator_wants_that(path: Path) -> None:
    async with opened(path, "continue") as audit:
        with full_at(path.stat().st_size):
            await audit.record(done("j-1"))
            audit.check()
            for number in range(2 * MOST_WAITING):
                await audit.record(done(f"more-{number}"))
            lost = audit.health.lost
            assert lost >= MOST_WAITING - 1
        await eventually(lambda: audit.health.problem is None)
        await audit.record(done("j-2"))
    (told,) = [each for each in lines_in(path) if each.operation == "lost"]
    assert told.times == lost
    assert objects(path)[0] == "j-1"


async def test_a_disk_that_stays_full_takes_no_more_and_more_memory(path: Path) -> None:
    async with opened(path, "continue") as audit:
        with full_at(path.stat().st_size):
            await audit.record(done("j-1"))
            for part in range(3):
                for number in range(MOST_WAITING):
                    await audit.record(done(f"more-{part}-{number}"))
                await audit._flushed()  # it was tried again
            assert len(audit._waiting) == MOST_WAITING
            assert audit.health.lost == 2 * MOST_WAITING
        await eventually(lambda: audit.health.problem is None)
    assert len(objects(path)) == 1 + MOST_WAITING


async def test_what_comes_while_a_log_is_tried_in_vain_is_bounded() -> None:
    sink = Shut()
    audit = Audit(sink, on_failure="continue")
    async with background(audit=audit.run()), audit:
        for number in range(MOST_WAITING - 1):
            await audit.record(done(f"j-{number}"))
        await asyncio.to_thread(sink.tried.acquire)
        for number in range(MOST_WAITING):
            await audit.record(done(f"more-{number}"))
        sink.may_fail.release(1000)
        await audit._flushed()
        assert len(audit._waiting) == MOST_WAITING
        assert audit.health.lost == MOST_WAITING


async def test_an_orchestrator_starts_where_its_log_cannot_be_opened(path: Path) -> None:
    path.mkdir()
    async with opened(path) as audit:
        with pytest.raises(AuditUnwritable):
            audit.check()
        path.rmdir()
        await eventually(lambda: audit.health.problem is None)
        await audit.record(done("j-1"))
        assert [each.operation for each in lines_in(path)] == ["start", "submit"]


async def test_on_standard_output_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        for name in ("j-1", "j-2"):
            sink = StandardOutput(tmp_path / "position", orchestrator="o-1", output=out.fileno())
            async with Audit(sink) as audit:
                await audit.record(done(name))
    assert [each.operation for each in lines_in(tmp_path / "out")] == ["start", "submit", "stop"] * 2
