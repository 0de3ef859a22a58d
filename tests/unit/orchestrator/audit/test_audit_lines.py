"""Lines of the audit log: numbered, linked, and read back as they were written."""

from datetime import UTC, datetime

import pytest

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.lines import Chain, Position, follows, read_line, written_time

TIME = written_time(datetime(2026, 1, 2, 3, 4, 5, 67, tzinfo=UTC))
EVENT = AuditEvent(kind="key", who="maria", action="write:job", operation="submit", object="j-1")


def line_of(chain: Chain, event: AuditEvent = EVENT) -> bytes:
    return chain.line(TIME, event).removesuffix(b"\n")


def test_lines_count_on_from_the_last_one() -> None:
    chain = Chain("o-1", Position(41, "ab"))
    assert [read_line(line_of(chain)).seq for _ in range(3)] == [42, 43, 44]  # type: ignore[union-attr]


def test_a_line_is_read_back_as_it_was_written() -> None:
    line = read_line(line_of(Chain("o-1")))
    assert line is not None
    assert (line.seq, line.orchestrator, line.kind, line.who, line.object) == (1, "o-1", "key", "maria", "j-1")
    assert line.time == datetime(2026, 1, 2, 3, 4, 5, 67, tzinfo=UTC)


def test_each_line_follows_from_the_one_before_it() -> None:
    chain = Chain("o-1")
    first, second = line_of(chain), line_of(chain)
    assert follows("", first)
    assert follows(read_line(first).digest, second)  # type: ignore[union-attr]
    assert not follows("", second)


@pytest.mark.parametrize("change", [(b"maria", b"mario"), (b'"Seq":1', b'"Seq":2'), (b"j-1", b"j-2")])
def test_a_changed_line_follows_from_nothing(change: tuple[bytes, bytes]) -> None:
    assert not follows("", line_of(Chain("o-1")).replace(*change))


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b"\xff", b'{"Seq":1', b"[" * 100_000, b'{"Seq":"x"}'])
def test_what_is_no_line_is_none(text: bytes) -> None:
    assert read_line(text) is None
    assert not follows("", text)
