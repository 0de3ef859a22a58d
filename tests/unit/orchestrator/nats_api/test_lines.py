"""Lines of programs: each has its turn, and beside others its share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.admission.bounds.held_back import Bound, HeldBack
from orchestrator.nats_api import lines
from orchestrator.nats_api.lines import Lines
from tests.waiting import eventually


class Answered:
    """What is answered, in that order, as far as it may be."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.may_end = asyncio.Event()

    async def answer(self, request: str) -> None:
        self.begun.append(request)
        await self.may_end.wait()

    async def refuse(self, who: str, request: str) -> None:
        self.refused.append((who, request))


@asynccontextmanager
async def running(per_second: int = 1000) -> AsyncIterator[tuple[Lines[str], Answered, HeldBack]]:
    answered, held_back = Answered(), HeldBack()
    async with asyncio.TaskGroup() as group:
        loop = asyncio.get_running_loop()
        yield (
            Lines(group, answered.answer, answered.refuse, held_back, per_second=per_second, clock=loop.time),
            answered,
            held_back,
        )
        answered.may_end.set()


async def test_a_program_that_asks_much_leaves_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "OF_ONE", 2)
    async with running() as (made, answered, _):
        for number in range(10):
            made.take("greedy", f"g{number}", 1)
        made.take("modest", "m0", 1)
        await eventually(lambda: len(answered.begun) == 3)
        assert answered.begun == ["g0", "g1", "m0"]
        answered.may_end.set()
        await eventually(lambda: len(answered.begun) == 11)
        assert answered.begun[3:] == [f"g{number}" for number in range(2, 10)]


async def test_a_line_takes_no_more_than_it_holds_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "OF_ONE", 1)
    monkeypatch.setattr(lines, "WAITING_OF_ONE", 3)
    monkeypatch.setattr(lines, "WAITING_BYTES_OF_ONE", 100)
    async with running() as (made, answered, held_back):
        for number in range(6):
            made.take("greedy", str(number), 1)
        for number in range(3):
            made.take("large", str(number), 60)
        made.take("modest", "", 1)
        await eventually(lambda: len(answered.refused) == 3)
        assert answered.refused == [("greedy", "4"), ("greedy", "5"), ("large", "2")]
        assert held_back.in_all[Bound.NATS_REQUESTS] == 3


async def test_a_program_is_slowed_beside_others_and_not_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BURST_SECONDS", 1.0)
    async with running(per_second=100) as (made, answered, held_back):
        answered.may_end.set()
        for _ in range(50):
            made.take("greedy", "g", 1)
        await eventually(lambda: len(answered.begun) == 50)
        assert not held_back.in_all
        made.take("modest", "m", 1)
        made.take("greedy", "late", 1)
        await eventually(lambda: "m" in answered.begun)
        assert answered.begun[-1] == "m"
        assert held_back.in_all[Bound.NATS_REQUESTS] == 1
        await eventually(lambda: answered.begun[-1] == "late")


async def test_nothing_is_kept_of_a_program_without_requests() -> None:
    async with running() as (made, answered, _):
        answered.may_end.set()
        made.take("once", "", 1)
        await eventually(lambda: answered.begun)
        await eventually(lambda: repr(made) == "<Lines, 0 in hand and 0 waiting of 0 programs>")


async def test_who_has_nothing_waiting_is_taken_however_much_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WAITING", 3)
    async with running() as (made, answered, _):
        for number in range(60):
            made.take("greedy", f"g{number}", 1)
        made.take("modest", "m", 1)
        await eventually(lambda: answered.refused)
        await eventually(lambda: "m" in answered.begun)


async def test_two_programs_leave_places_to_a_third() -> None:
    async with running() as (made, answered, _):
        for who in ("first", "second"):
            for _number in range(100):
                made.take(who, who, 1)
        made.take("third", "third", 1)
        await eventually(lambda: "third" in answered.begun)


async def test_nothing_is_kept_of_a_program_whose_line_is_full_and_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WAITING", 0)
    async with running() as (made, answered, _):
        answered.may_end.set()
        made.take("once", "", 1)
        await eventually(lambda: repr(made) == "<Lines, 0 in hand and 0 waiting of 0 programs>")


async def test_what_waits_too_long_is_refused_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "OF_ONE", 1)
    async with running() as (made, answered, held_back):
        made.take("slow", "first", 1)
        with monkeypatch.context() as patch:
            patch.setattr(lines, "LATE_SECONDS", 0.0)
            for name in ("late", "later"):
                made.take("slow", name, 1)
        made.take("slow", "new", 1)
        answered.may_end.set()
        await eventually(lambda: len(answered.begun) == 2)
        assert answered.begun == ["first", "new"]
        assert answered.refused == [("slow", "late"), ("slow", "later")]
        assert held_back.in_all[Bound.NATS_REQUESTS] == 2
        await eventually(lambda: repr(made) == "<Lines, 0 in hand and 0 waiting of 0 programs>")


async def test_what_costs_more_slows_a_program_sooner_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BURST_SECONDS", 1.0)
    async with running(per_second=100) as (made, answered, held_back):
        answered.may_end.set()
        made.take("modest", "m", 1)
        for _ in range(4):
            made.take("greedy", "g", 1, cost=5)
        await eventually(lambda: answered.begun.count("g") == 4)
        assert held_back.in_all[Bound.NATS_REQUESTS] >= 1
