"""What was done to an audit log is found, and what a kill leaves is told apart from it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.audit.checking import AuditChecked, checked
from orchestrator.audit.events import AuditEvent
from orchestrator.audit.file import AuditFile, Rotation
from orchestrator.audit.lines import written_time
from orchestrator.audit.reading import AuditFilter, audit_files, following, lines_of, texts_of

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def write(path: Path, *names: str, rotation: Rotation = Rotation(1 << 30, 0)) -> None:  # noqa: B008  # it is immutable
    file = AuditFile(path, rotation, orchestrator="o-1", sync_seconds=0.0)
    file.open()
    for name in names:
        event = AuditEvent(kind="key", who="maria", action="write:job", operation="submit", object=name)
        file.write([(written_time(), event)])
    file.close()


def check(path: Path) -> AuditChecked:
    return checked(texts_of(audit_files(path)))


def test_a_log_that_nobody_touched_is_whole(path: Path) -> None:
    write(path, *map(str, range(10)), rotation=Rotation(700, 0))
    assert len(audit_files(path)) > 2
    found = check(path)
    assert (found.lines, found.first, found.last, found.findings) == (10, 1, 10, ())


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda lines: lines[:3] + lines[4:], ["gap"]),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], ["gap", "order", "gap"]),
        (lambda lines: [*lines[:3], lines[3].replace(b"maria", b"mario"), *lines[4:]], ["changed"]),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], ["order"]),
        (lambda lines: [*lines[:3], b"nothing\n", *lines[3:]], ["damaged"]),
        (lambda lines: [lines[0].replace(b"maria", b"mario"), *lines[1:]], ["changed"]),
    ],
    ids=["taken out", "moved", "changed", "twice", "put in", "the first one changed"],
)
def test_what_was_done_to_a_log_is_found(path: Path, change: Change, kinds: list[str]) -> None:
    write(path, *map(str, range(8)))
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    found = check(path)
    assert [each.kind for each in found.findings] == kinds
    assert not found.is_whole


def test_a_line_with_another_digest_is_found_by_the_next_one(path: Path) -> None:
    write(path, *map(str, range(5)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    write(path, "other")
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True), *lines[1:]]))
    assert [(each.kind, each.line) for each in check(path).findings] == [("changed", 2)]


@pytest.mark.parametrize("torn", [b'{"Seq":3,', b"\0" * 100, b'{"Seq":3,"Time"'])
def test_a_line_that_a_kill_has_torn_is_told_and_no_fault(path: Path, torn: bytes) -> None:
    write(path, "1", "2")
    with path.open("ab") as file:
        file.write(torn)
    assert check(path).findings == (), "it may be being written"
    write(path, "3")
    found = check(path)
    assert [each.kind for each in found.findings] == ["mended"]
    assert (found.is_whole, found.last) == (True, 4)


def test_lines_are_found_by_who_what_and_when(path: Path) -> None:
    write(path, "j-1", "j-2")
    (first, second) = lines_of(path, AuditFilter())
    assert [each.object for each in lines_of(path, AuditFilter(object="j-2"))] == ["j-2"]
    assert not list(lines_of(path, AuditFilter(who="nobody")))
    assert len(list(lines_of(path, AuditFilter(who="key", action="submit", outcome="done")))) == 2
    assert list(lines_of(path, AuditFilter(since=second.time))) == [second]
    assert list(lines_of(path, AuditFilter(until=second.time))) == [first]


def test_who_follows_reads_on_through_rotations(path: Path) -> None:
    rotation = Rotation(1, 0)
    write(path, "1", "2", rotation=rotation)
    reading = following(path, AuditFilter())
    assert [next(reading).object for _ in range(2)] == ["1", "2"]
    write(path, "3", "4", "5", rotation=rotation)
    assert [next(reading).object for _ in range(3)] == ["3", "4", "5"]
