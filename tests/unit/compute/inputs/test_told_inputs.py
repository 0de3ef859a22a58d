"""What a node keeps of inputs is told when it has changed, and again in case that was lost."""

from pathlib import Path

import pytest

from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.told_inputs import REPEATED_AFTER, ToldInputs
from shared.protocol.nodes.inputs import LARGE_BYTES, MOST_HELD_INPUTS, held_name, kept_name


@pytest.fixture
def cache(tmp_path: Path) -> InputCache:
    return InputCache.open(tmp_path, 1 << 50)


def test_views_and_large_files_are_told_once_and_when_they_have_gone(cache: InputCache) -> None:
    told = ToldInputs(cache)
    assert told.next() == ()
    view, large, small = (kept_name(each) for each in ("view", "large", "small"))
    cache.add_view(view, 10)
    cache.add(large, LARGE_BYTES)
    cache.add(small, 10)
    before = told.has_news
    assert told.next() == tuple(sorted(map(held_name, (view, large))))
    assert (before, told.has_news) == (True, False)
    assert told.next() is None
    cache.forget(large)
    assert told.next() == (held_name(view),)
    told.begin_anew()
    assert told.next() == (held_name(view),)


def test_it_is_told_again_after_some_heartbeats(cache: InputCache) -> None:
    told = ToldInputs(cache)
    found = [told.next() for _ in range(2 * REPEATED_AFTER + 2)]
    assert [number for number, each in enumerate(found) if each is not None] == [0, REPEATED_AFTER + 1]


def test_the_views_that_were_used_last_and_the_largest_files_are_told_and_no_more(cache: InputCache) -> None:
    views = [kept_name(f"view {number}") for number in range(100)]
    large = [kept_name(f"large {number}") for number in range(100)]
    for number, (view, file) in enumerate(zip(views, large, strict=True)):
        cache.add_view(view, 10)
        cache.add(file, LARGE_BYTES + number)
    cache.add_view(views[0], 10)
    told = set(ToldInputs(cache).next() or ())
    half = MOST_HELD_INPUTS // 2
    assert told == set(map(held_name, (*large[-half:], *views[-half + 1 :], views[0])))
