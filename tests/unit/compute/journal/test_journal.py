"""What the node remembers survives it, whatever happens to its file, and nothing secret is in it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compute.executions.held import Executions
from compute.journal.entry import DamagedEntry, Entry, Happening, Phase, encode_entry, new_entry
from compute.journal.file import JournalFile
from compute.journal.journal import FILE, Journal
from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId
from shared.protocol.messages import ExecutionStarted, RunOutput, TaskEnded
from shared.protocol.signed_url import SignedUrl
from tests.builders import new_assignment, new_task
from tests.waiting import eventually


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(tmp_path / "executions")
    yield made
    await made.close()


async def recovered(folder: Path) -> list[Entry | DamagedEntry]:
    """As the next process of the node finds it."""
    later = Journal(folder / "executions")
    found = await asyncio.to_thread(lambda: list(later.recover()))
    await later.close()
    return found


def entry(execution_id: str = "e-1", *, publisher: str = "s3managed") -> Entry:
    url = "https://bucket.example/key?X-Amz-Signature=5ec4e7"
    return new_entry(
        new_assignment(
            execution_id,
            task=new_task(publisher=publisher),
            archive=SignedUrl(method="PUT", url=url, lifetime_seconds=3600),
        )
    )


async def test_an_entry_comes_back_as_it_was_written(journal: Journal, tmp_path: Path) -> None:
    output = RunOutput(stdout="hello\n", exit_code=3)
    written = msgspec.structs.replace(
        entry(),
        phase=Phase.ENDED,
        happenings=(
            Happening(fact=ExecutionStarted(), at=100.0),
            Happening(fact=TaskEnded(output=output, run_seconds=1.5), at=101.5),
        ),
        process=ProcessMark(pid=7, start_ticks=8, boot_id="b"),
        warnings=("/outputs is missing",),
    )
    await journal.write(written)
    assert await recovered(tmp_path) == [written]


async def test_no_url_is_ever_written(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    text = (tmp_path / FILE).read_text()
    assert "5ec4e7" not in text
    assert "bucket.example" not in text


async def test_no_other_user_can_read_it(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    await recovered(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_later_phase_replaces_the_earlier_one(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    ended = msgspec.structs.replace(entry(), phase=Phase.ENDED)
    await asyncio.to_thread(journal.put, ended)
    assert await recovered(tmp_path) == [ended]


async def test_on_a_full_disk_room_is_made_before_anything_can_be_forgotten(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    await asyncio.to_thread(journal.workspace(entry()).create, [])
    fill_up(journal)
    with pytest.raises(OSError, match="No space left"):
        await journal.delete([ExecutionId("e-1")])
    assert list((tmp_path / "executions").iterdir()) == []
    assert journal.entries() == [entry()]
    make_room(journal)
    await journal.delete([ExecutionId("e-1")])
    assert journal.entries() == []


async def test_what_cannot_be_forgotten_is_forgotten_later(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.executions.held.DELETE_AGAIN_SECONDS", 0.01)
    await journal.write(entry())
    fill_up(journal)
    nobody: Any = None  # only what deletes is at work here
    async with asyncio.TaskGroup() as group:
        executions = Executions(
            journal=journal,
            slots=nobody,
            supervisor=nobody,
            reports=nobody,
            ask=nobody,
            group=group,
            on_over=nobody,
            opener=nobody,
        )
        task = group.create_task(executions.delete_forgotten(), name="deletions")
        executions._to_delete.append(ExecutionId("e-1"))
        executions._to_delete_any.set()
        await eventually(lambda: executions._to_delete)
        assert journal.entries() == [entry()]
        make_room(journal)
        await eventually(lambda: not journal.entries())
        task.cancel()


def fill_up(journal: Journal) -> None:
    make_room(journal)
    journal._file._descriptor = os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)


def make_room(journal: Journal) -> None:
    """The file is opened again when it is next written to."""
    journal._file.close()


async def test_a_deleted_entry_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    await asyncio.to_thread(journal.workspace(entry()).create, [])
    await journal.delete([ExecutionId("e-1")])
    assert list((tmp_path / "executions").iterdir()) == []
    assert await recovered(tmp_path) == []
    assert (tmp_path / FILE).read_bytes() == b""


async def test_what_is_noted_is_written_before_it_is_forgotten(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    journal.note(msgspec.structs.replace(entry(), phase=Phase.ENDED))
    await journal.delete([ExecutionId("e-1")])
    assert await recovered(tmp_path) == []


async def test_what_is_noted_last_is_written_when_the_journal_is_closed(journal: Journal, tmp_path: Path) -> None:
    for number in range(3):
        journal.note(entry(f"e-{number}"))
        await asyncio.sleep(0)
    await journal.close()
    assert await recovered(tmp_path) == [entry(f"e-{number}") for number in range(3)]


async def test_entries_that_come_together_are_written_together_and_in_their_order(
    journal: Journal, tmp_path: Path
) -> None:
    phases = [Phase.STARTED, Phase.ENDED, Phase.PUBLISHED]
    async with asyncio.TaskGroup() as group:
        for phase in phases:
            for number in range(20):
                written = msgspec.structs.replace(entry(f"e-{number:02}"), phase=phase)
                group.create_task(journal.write(written), name="write")
    lines = [each.name for each in JournalFile(tmp_path / FILE).read()]
    assert lines == [f"e-{number:02}" for _ in phases for number in range(20)]
    found = await recovered(tmp_path)
    assert {each.phase for each in found if isinstance(each, Entry)} == {Phase.PUBLISHED}
    assert len(found) == 20


async def test_the_file_does_not_grow_with_what_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "executions", least_rewritten_bytes=10_000)
    await journal.write(entry("e-kept"))
    for number in range(100):
        await journal.write(entry(f"e-{number}"))
        await journal.delete([ExecutionId(f"e-{number}")])
    assert (tmp_path / FILE).stat().st_size < 11_000
    await journal.close()
    assert await recovered(tmp_path) == [entry("e-kept")]


async def test_the_file_may_hold_as_much_as_is_of_use(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "executions", least_rewritten_bytes=1000)
    written = [entry(f"e-{number}") for number in range(50)]
    for each in written:
        await journal.write(each)
    await journal.close()
    assert await recovered(tmp_path) == written


async def test_a_last_line_that_was_not_written_whole_does_not_count(journal: Journal, tmp_path: Path) -> None:
    started = msgspec.structs.replace(entry(), phase=Phase.STARTED)
    await journal.write(started)
    await journal.write(msgspec.structs.replace(entry(), phase=Phase.ENDED))
    await journal.write(entry("e-2"))
    whole = (tmp_path / FILE).read_bytes()
    for cut in (1, 10, len(whole.splitlines()[-1])):
        (tmp_path / FILE).write_bytes(whole[:-cut])
        assert [each.execution_id for each in await recovered(tmp_path)] == ["e-1"]
    (tmp_path / FILE).write_bytes(whole[: whole.index(b"ended")])
    assert await recovered(tmp_path) == [started]


async def test_what_is_added_after_a_torn_line_is_read(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    await journal.close()
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-5])
    later = Journal(tmp_path / "executions")
    assert await asyncio.to_thread(lambda: list(later.recover())) == []
    await later.write(entry("e-2"))
    await later.close()
    assert await recovered(tmp_path) == [entry("e-2")]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"phase":"accepted"}', b'{"phase":"some-day"}', b"\xff\xfe", b"\0" * 100]
)
async def test_a_damaged_entry_is_told_and_set_aside_and_the_others_are_read(
    journal: Journal, tmp_path: Path, content: bytes
) -> None:
    await journal.write(entry("e-bad"))
    await asyncio.to_thread(journal.workspace(entry("e-bad")).create, [])
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"e-bad " + content + b"\n")
    await journal.write(entry("e-good"))
    damaged, good = await recovered(tmp_path)
    assert isinstance(damaged, DamagedEntry)
    assert damaged.execution_id == "e-bad"
    assert good == entry("e-good")
    assert (tmp_path / "damaged" / "e-bad" / FILE).read_bytes() == content
    assert (tmp_path / "damaged" / "e-bad" / "workspace").exists()
    assert await recovered(tmp_path) == [good]


async def test_a_damaged_line_does_not_matter_where_a_later_one_is_good(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"e-1 {\ne-2 {\n")
    await journal.write(entry("e-1"))
    await journal.write(entry("e-2"))
    await journal.delete([ExecutionId("e-2")])
    assert await recovered(tmp_path) == [entry("e-1")]


async def test_a_line_that_names_nothing_is_dropped(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"../../escape {}\n\0\0\0\n\xff\n\n \n")
    await journal.write(entry())
    assert await recovered(tmp_path) == [entry()]


async def test_an_entry_under_the_name_of_another_execution_is_damaged(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry("e-1"))
    line = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(line.replace(b"e-1", b"e-2", 1))
    (damaged,) = await recovered(tmp_path)
    assert isinstance(damaged, DamagedEntry)
    assert damaged.execution_id == "e-2"


async def test_a_folder_without_entry_was_never_accepted_and_goes(tmp_path: Path) -> None:
    left = tmp_path / "executions" / "e-1" / "workspace"
    left.mkdir(parents=True)
    assert await recovered(tmp_path) == []
    assert not left.exists()


async def test_entries_of_an_earlier_version_are_taken_over(journal: Journal, tmp_path: Path) -> None:
    """It had a file in the folder of each execution."""
    ended = msgspec.structs.replace(entry("e-old"), phase=Phase.ENDED)
    for name, content in {"e-old": encode_entry(ended), "e-bad": b"{", "e-both": encode_entry(entry("e-both"))}.items():
        folder = tmp_path / "executions" / name
        folder.mkdir(parents=True)
        (folder / "journal.json").write_bytes(content)
    newer = msgspec.structs.replace(entry("e-both"), phase=Phase.ENDED)
    await journal.write(newer)
    damaged, *found = await recovered(tmp_path)
    assert isinstance(damaged, DamagedEntry)
    assert damaged.execution_id == "e-bad"
    assert found == [newer, ended]
    assert list((tmp_path / "executions").glob("*/journal.json")) == []
    assert await recovered(tmp_path) == found


async def test_a_write_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to("/dev/full")
    journal = Journal(tmp_path / "executions")
    try:
        with pytest.raises(OSError, match="No space"):
            await journal.write(entry())
        journal.note(entry("e-2"))  # is logged
    finally:
        await journal.close()


@pytest.mark.parametrize(
    ("publisher", "phase", "is_final"),
    [
        ("s3managed", Phase.ACCEPTED, False),
        ("s3managed", Phase.STARTED, False),
        ("s3managed", Phase.ENDED, False),
        ("s3managed", Phase.PUBLISHED, True),
        ("s3managed", Phase.FAILED, True),
        ("s3managed", Phase.CANCELLED, True),
        ("", Phase.ENDED, True),
        ("noop", Phase.ENDED, True),
    ],
)
def test_an_execution_is_over_when_nothing_is_left_but_to_tell(publisher: str, phase: Phase, *, is_final: bool) -> None:
    assert msgspec.structs.replace(entry(publisher=publisher), phase=phase).is_final is is_final
