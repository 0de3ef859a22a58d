"""What is known already, of a file system and of a block of zeros, is not looked at again for each of very many."""

from pathlib import Path

from shared.extraction.attributes import KnownKept
from shared.runtime.holes import is_zero
from tests.memory import MIB

NOON = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def settles(known: KnownKept, path: Path, permissions: int, mtime_ns: int) -> bool:
    with path.open("wb") as file:
        return known.set(file.fileno(), permissions, mtime_ns)


def test_a_file_gets_what_another_one_was_seen_to_keep(tmp_path: Path) -> None:
    known = KnownKept()
    known.note(0o640, NOON)
    assert settles(known, tmp_path / "file", 0o640, NOON + 2 * SECOND)
    status = (tmp_path / "file").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, NOON + 2 * SECOND)


def test_nothing_is_taken_for_kept_that_may_be_kept_elsewhere_alone(tmp_path: Path) -> None:
    known = KnownKept()
    known.note(0o640, NOON)
    before_1980, after_2038 = 0, 2_147_483_648 * SECOND
    others = [(0o600, NOON), (0o640, NOON + SECOND), (0o640, before_1980), (0o640, after_2038)]
    assert [settles(known, tmp_path / "file", *each) for each in others] == [False] * 4


def test_all_of_a_block_is_known_for_zeros_or_not() -> None:
    zeros, data = bytes(MIB), bytes(MIB - 1) + b"x"
    assert (is_zero(memoryview(zeros)), is_zero(memoryview(data))) == (True, False)
    assert (is_zero(memoryview(data + zeros)[MIB:]), is_zero(memoryview(zeros + data)[MIB:])) == (True, False)
