"""Refusals that repeat themselves are summed up, so that a flood of them takes little room."""

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.repetitions import (
    LINES_OF_KNOWN,
    LINES_OF_STRANGER,
    MOST_REMEMBERED,
    STRANGERS_AT_ONCE,
    WINDOW_SECONDS,
    Repetitions,
)


def stranger(source: str = "192.0.2.1", code: str = "KeyMissing") -> AuditEvent:
    return AuditEvent(kind="stranger", source=source, action="write:job", outcome="refused", code=code)


def known(who: str = "maria") -> AuditEvent:
    return AuditEvent(kind="key", who=who, action="write:job", outcome="refused", code="CapabilityMissing")


def test_a_stranger_has_a_few_lines_and_then_one_sum() -> None:
    repetitions = Repetitions()
    assert sum(repetitions.take(stranger(), 1.0) for _ in range(1000)) == LINES_OF_STRANGER
    assert not list(repetitions.sums(1.0 + WINDOW_SECONDS / 2))
    (told,) = repetitions.sums(1.0 + WINDOW_SECONDS)
    assert (told.times, told.seconds, told.code) == (1000 - LINES_OF_STRANGER, WINDOW_SECONDS, "KeyMissing")


def test_who_has_a_key_has_lines_of_its_own_beside_a_flood() -> None:
    repetitions = Repetitions()
    for number in range(100_000):
        repetitions.take(stranger(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"), 1.0)
    assert sum(repetitions.take(stranger("198.51.100.7"), 1.0) for _ in range(10)) == 0
    repetitions = Repetitions()
    for number in range(STRANGERS_AT_ONCE * 2):
        repetitions.take(stranger(f"10.0.{number >> 8 & 255}.{number & 255}"), 1.0)
    assert sum(repetitions.take(known(), 1.0) for _ in range(100)) == LINES_OF_KNOWN


def test_strangers_take_no_line_of_who_is_known() -> None:
    repetitions = Repetitions()
    for number in range(MOST_REMEMBERED * 2):
        repetitions.take(stranger(f"10.0.{number >> 8 & 255}.{number & 255}"), 1.0)
    assert repetitions.take(known(), 1.0)
    assert repetitions.take(AuditEvent(kind="person", who="ada", action="sign-in"), 1.0)
    assert sum(each.kind == "key" for each in repetitions.sums(100.0, at_end=True)) == 0
    assert repetitions.take(stranger(), 100_000.0), "there is room for strangers again"


def test_each_of_many_that_are_known_has_a_line() -> None:
    repetitions = Repetitions()
    assert all(repetitions.take(known(f"u-{number}"), 1.0) for number in range(MOST_REMEMBERED + 10))
    assert len(repetitions._windows) <= MOST_REMEMBERED
    assert not repetitions.take(stranger(), 1.0)


def test_strangers_of_many_addresses_have_a_budget_together() -> None:
    repetitions, lines, times = Repetitions(), 0, 0
    for second in range(3600):
        for number in range(100):
            lines += repetitions.take(stranger(f"10.{second >> 8}.{second & 255}.{number}"), float(second))
        told = list(repetitions.sums(float(second)))
        lines += len(told)
        times += sum(each.times for each in told)
    assert lines <= STRANGERS_AT_ONCE + 3600 * 0.1 + 61
    assert len(repetitions._windows) <= MOST_REMEMBERED
    times += sum(each.times for each in repetitions.sums(4000.0, at_end=True))
    assert times + lines >= 360_000, "each is counted"


def test_a_network_of_ipv6_is_one_stranger() -> None:
    repetitions = Repetitions()
    taken = [repetitions.take(stranger(f"2001:db8:0:1::{number:x}"), 1.0) for number in range(1, 100)]
    assert sum(taken) == LINES_OF_STRANGER
    assert repetitions.take(stranger("2001:db8:0:2::1"), 1.0)


def test_another_refusal_has_lines_of_its_own() -> None:
    repetitions = Repetitions()
    for _ in range(100):
        repetitions.take(stranger(), 1.0)
    assert repetitions.take(stranger(code="KeyWrong"), 1.0)


def test_a_sum_repeats_no_object() -> None:
    repetitions = Repetitions()
    for number in range(100):
        repetitions.take(
            AuditEvent(kind="node", who="n-1", action="sign", object=f"e-{number}", outcome="refused", code="X"), 1.0
        )
    (told,) = repetitions.sums(100.0)
    assert (told.object, told.who) == ("", "n-1")
