"""How much processor time a block gets while the link is slower than the processor."""

import pytest

from compute.archive.levels import NOTHING_TOLD, Levels, Switch, Told, joined

MIB = 1 << 20


class Link:
    """Takes so much a second of what is packed, since a second ago."""

    def __init__(self, bytes_per_second: float, *, ready: int = 16 * MIB) -> None:
        self.now = 100.0
        self.sent = 0.0
        self.ready = ready
        self._rate = bytes_per_second

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.sent = min(self.ready, self.sent + seconds * self._rate)

    def levels(self, told: Told = NOTHING_TOLD) -> Levels:
        return Levels(2, told=told, sent=lambda: int(self.sent), clock=lambda: self.now)


def chosen(levels: Levels, link: Link, *, blocks: int, busy: float = 1.0) -> list[int]:
    """Of so many blocks, one every hundredth of a second, of which each is compressed at 30 MiB a second at level 2."""
    found = []
    for _ in range(blocks):
        level = levels.choose(packed_bytes=link.ready, missing_bytes=8 * MIB, threads=2)
        seconds = {2: 1, 3: 2.5, 6: 14, 9: 60}[level] * 0.3 / 30
        levels.learn(level, int(0.3 * MIB), seconds=seconds, processor_seconds=busy * seconds)
        link.wait(0.01)
        found.append(level)
    return found


def test_as_long_as_the_link_takes_what_there_is_blocks_get_the_fastest_level() -> None:
    link = Link(1e9)
    assert set(chosen(link.levels(), link, blocks=50)) == {2}


def test_what_waits_for_a_slow_link_is_made_smaller_the_slower_it_is() -> None:
    slow, slower = Link(5e6), Link(1e6)
    assert max(chosen(slow.levels(), slow, blocks=20)) == 6
    assert max(chosen(slower.levels(), slower, blocks=20)) == 9


def test_nothing_is_made_slower_before_the_link_is_known() -> None:
    link = Link(12e6)
    assert chosen(link.levels(), link, blocks=3) == [2, 2, 2]


def test_where_others_want_the_processors_they_get_them() -> None:
    link = Link(2e6)
    assert set(chosen(link.levels(), link, blocks=50, busy=0.3)) == {2}


def test_others_that_want_the_processors_later_get_them_and_are_asked_again_after_a_while() -> None:
    link = Link(1e6)
    levels = link.levels()
    assert chosen(levels, link, blocks=20)[-1] > 2
    assert chosen(levels, link, blocks=60, busy=0.6)[-1] == 2
    assert max(chosen(levels, link, blocks=80)) > 2


def test_when_the_link_has_caught_up_blocks_get_the_fastest_level_again() -> None:
    link = Link(5e6)
    levels = link.levels()
    assert chosen(levels, link, blocks=20)[-1] == 6
    link.sent = link.ready
    assert chosen(levels, link, blocks=1) == [2]


def test_a_link_that_stands_still_leaves_time_for_the_slowest_level() -> None:
    link = Link(0)
    assert chosen(link.levels(), link, blocks=20)[-1] == 9


def test_without_a_link_all_blocks_have_the_fastest_level() -> None:
    levels = Levels(2)
    link = Link(2e6)
    assert set(chosen(levels, link, blocks=20)) == {2}
    assert levels.so_far == Told(20, ())


def test_what_was_told_is_done_again_and_what_comes_behind_it_is_free() -> None:
    link = Link(2e6)
    first = link.levels()
    before = chosen(first, link, blocks=40)
    assert len(set(before)) > 1
    again = Link(1e9).levels(first.so_far)
    other = Link(1e9)
    assert chosen(again, other, blocks=60) == [*before, *[2] * 20]


def test_the_first_block_that_is_free_is_told_whatever_its_level() -> None:
    """What an earlier process told of it, and of those behind it, does not count any more."""
    told = Told(10, (Switch(4, 6),))
    link = Link(1e9)
    levels = link.levels(told)
    chosen(levels, link, blocks=20)
    assert levels.switches == [Switch(4, 6), Switch(10, 2)]


def test_switches_are_few() -> None:
    link = Link(3e6, ready=2 * MIB)
    levels = link.levels()
    for _ in range(100):
        chosen(levels, link, blocks=3)
        link.sent = 0 if link.sent >= link.ready else link.ready
    assert len(levels.switches) <= 2 * 300 / 4


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], ()),
        ([(4, 6), (9, 2)], ((4, 6), (9, 2))),
        ([(4, 6), (9, 2), (4, 6), (9, 2)], ((4, 6), (9, 2))),
        ([(4, 6), (9, 9), (8, 2)], ((4, 6), (8, 2))),
        ([(4, 6), (9, 9), (2, 3)], ((2, 3),)),
    ],
)
def test_switches_of_several_processes_are_joined(
    written: list[tuple[int, int]], expected: tuple[tuple[int, int], ...]
) -> None:
    assert joined([Switch(*each) for each in written]) == tuple(Switch(*each) for each in expected)
