"""What the node remembers survives it, and nothing secret is in it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from compute.journal import FILE, DamagedEntry, Entry, Happening, Journal, Phase, new_entry
from compute.process_mark import ProcessMark
from shared.capacity import Capacity
from shared.ids import ExecutionId, JobId
from shared.jobspec import SpecConfig, Task
from shared.messages import Assignment, ExecutionStarted, RunOutput, TaskEnded
from shared.signed_url import SignedUrl

LONGEST_PATH = 4095


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "executions")
    yield made
    made.close()


def entry(execution_id: str = "e-1", *, publisher: str = "s3managed") -> Entry:
    url = "https://bucket.example/key?X-Amz-Signature=5ec4e7"
    return new_entry(
        Assignment(
            execution_id=ExecutionId(execution_id),
            job_id=JobId("j-1"),
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=Task(name="main", engine=SpecConfig(type="noop"), publisher=SpecConfig(type=publisher)),
            resources=Capacity(cpu=1.0),
            archive=SignedUrl(method="PUT", url=url, lifetime_seconds=3600),
        )
    )


async def test_an_entry_comes_back_as_it_was_written(journal: Journal) -> None:
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
    assert list(journal.recover()) == [written]


async def test_no_url_is_ever_written(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    text = (tmp_path / "executions" / "e-1" / FILE).read_text()
    assert "5ec4e7" not in text
    assert "bucket.example" not in text


async def test_no_other_user_can_read_it(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    folder = tmp_path / "executions" / "e-1"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_later_phase_replaces_the_earlier_one(journal: Journal) -> None:
    await journal.write(entry())
    ended = msgspec.structs.replace(entry(), phase=Phase.ENDED)
    await journal.write(ended)
    assert list(journal.recover()) == [ended]


async def test_a_deleted_entry_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry())
    await asyncio.to_thread(journal.workspace(ExecutionId("e-1")).create, [])
    await journal.delete(ExecutionId("e-1"))
    assert list((tmp_path / "executions").iterdir()) == []
    assert list(journal.recover()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"phase":"accepted"}', b'{"phase":"some-day"}', b"\xff\xfe"])
async def test_a_damaged_entry_is_told_and_set_aside_and_the_others_are_read(
    journal: Journal, tmp_path: Path, content: bytes
) -> None:
    await journal.write(entry("e-bad"))
    await journal.write(entry("e-good"))
    (tmp_path / "executions" / "e-bad" / FILE).write_bytes(content)
    damaged, good = journal.recover()
    assert isinstance(damaged, DamagedEntry)
    assert damaged.execution_id == "e-bad"
    assert good == entry("e-good")
    assert (tmp_path / "damaged" / "e-bad" / FILE).read_bytes() == content
    assert list(journal.recover()) == [good]


async def test_an_entry_in_the_folder_of_another_execution_is_damaged(journal: Journal, tmp_path: Path) -> None:
    await journal.write(entry("e-1"))
    (tmp_path / "executions" / "e-1").rename(tmp_path / "executions" / "e-2")
    (damaged,) = journal.recover()
    assert isinstance(damaged, DamagedEntry)
    assert damaged.execution_id == "e-2"


def test_a_folder_without_entry_was_never_accepted_and_goes(journal: Journal, tmp_path: Path) -> None:
    left = tmp_path / "executions" / "e-1" / "workspace"
    left.mkdir(parents=True)
    assert list(journal.recover()) == []
    assert not left.exists()


async def test_a_write_that_fails_says_so(tmp_path: Path) -> None:
    (tmp_path / "executions").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "executions")
    try:
        with pytest.raises(OSError):
            await journal.write(entry())
    finally:
        journal.close()


async def test_a_first_write_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    root = tmp_path
    while len(str(root)) < 3900:
        root /= "d" * 150
    root /= "d" * (LONGEST_PATH - len(str(root)) - len("//e-1/."))
    journal = Journal(root)
    try:
        with pytest.raises(OSError, match="too long"):
            await journal.write(entry())
    finally:
        journal.close()
    assert root.is_dir()
    assert list(root.iterdir()) == []


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
