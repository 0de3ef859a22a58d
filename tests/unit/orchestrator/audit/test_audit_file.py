"""The file of the audit log: it goes on after whatever happened to it, and numbers have no gap."""

import os
from pathlib import Path

import pytest

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.file import AuditFile, Rotation, rotated
from orchestrator.audit.lines import read_line, written_time
from tests.audit_logs import lines_in

LARGE = Rotation(1 << 30, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "audit.jsonl"


def opened(path: Path, rotation: Rotation = LARGE) -> AuditFile:
    file = AuditFile(path, rotation, orchestrator="o-1", sync_seconds=0.0)
    file.open()
    return file


def write(file: AuditFile, *names: str) -> None:
    file.write([(written_time(), AuditEvent(kind="key", who="maria", action="write:job", object=x)) for x in names])


def test_only_the_owner_may_read_it(path: Path) -> None:
    write(opened(path), "j-1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_goes_on_after_its_last_line(path: Path) -> None:
    file = opened(path)
    write(file, "j-1", "j-2")
    file.close()
    write(opened(path), "j-3")
    assert [each.object for each in lines_in(path)] == ["j-1", "j-2", "j-3"]


@pytest.mark.parametrize("torn", [b'{"Seq":3,"Ti', b"\0" * 5000, b"x" * 3_000_000, b"{}\n{}\n"])
def test_a_torn_line_is_ended_and_told(path: Path, torn: bytes) -> None:
    file = opened(path)
    write(file, "j-1", "j-2")
    file.close()
    with path.open("ab") as end:
        end.write(torn)
    write(opened(path), "j-3")
    lines = lines_in(path)
    assert [each.object for each in lines] == ["j-1", "j-2", "", "j-3"]
    assert (lines[2].operation, lines[2].count) == ("mend", len(torn))


def test_a_whole_line_without_its_end_counts(path: Path) -> None:
    file = opened(path)
    write(file, "j-1", "j-2")
    file.close()
    os.truncate(path, path.stat().st_size - 1)
    write(opened(path), "j-3")
    assert [each.object for each in lines_in(path)] == ["j-1", "j-2", "j-3"]


def test_a_file_that_is_only_torn_goes_on_after_the_one_before(path: Path) -> None:
    file = opened(path, Rotation(1, 0))
    write(file, "j-1")
    file.close()
    path.write_bytes(b'{"Seq":2,"T')
    write(opened(path), "j-2")
    assert [each.object for each in lines_in(*rotated(path), path)] == ["j-1", "", "j-2"]


def test_it_is_rotated_by_size_and_only_so_many_are_kept(path: Path) -> None:
    file = opened(path, Rotation(1, 3))
    for number in range(6):
        write(file, f"j-{number}")
    kept = rotated(path)
    assert [each.name[-26:-6] for each in kept] == [f"{number:020}" for number in (4, 5, 6)]
    assert [read_line(each.read_bytes()).seq for each in kept] == [4, 5, 6]  # type: ignore[union-attr]
    assert not path.read_bytes()
    file.close()
    write(opened(path), "j-6")
    assert read_line(path.read_bytes()).seq == 7  # type: ignore[union-attr]


def test_all_are_kept_where_no_number_is_given(path: Path) -> None:
    file = opened(path, Rotation(1, 0))
    for number in range(30):
        write(file, f"j-{number}")
    assert len(lines_in(*rotated(path))) == 30


def test_a_file_that_was_moved_away_is_begun_anew_at_the_next_number(path: Path) -> None:
    file = opened(path)
    write(file, "j-1")
    path.rename(path.with_name("elsewhere"))
    write(file, "j-2")
    assert [each.object for each in lines_in(path.with_name("elsewhere"), path)] == ["j-1", "j-2"]


def test_numbers_go_on_after_an_end_that_could_not_be_read_at_first(path: Path) -> None:
    file = opened(path, Rotation(1, 0))
    write(file, "j-1")
    file.close()
    (before,) = rotated(path)
    before.rename(path.with_name("elsewhere"))
    before.symlink_to(before)  # it cannot be read
    again = AuditFile(path, LARGE, orchestrator="o-1", sync_seconds=0.0)
    with pytest.raises(OSError, match="symbolic links"):
        again.open()
    path.with_name("elsewhere").rename(before)
    again.open()
    write(again, "j-2")
    assert [each.object for each in lines_in(before, path)] == ["j-1", "j-2"]


def test_two_orchestrators_never_write_one_file(path: Path) -> None:
    first = opened(path)
    write(first, "j-1")
    with pytest.raises(OSError, match="another orchestrator"):
        opened(path)


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "target").write_bytes(b"")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        opened(path)
    assert not (tmp_path / "target").read_bytes()
