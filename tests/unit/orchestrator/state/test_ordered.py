"""Items stay in order while they come and go, and beside very many others only a few of them are moved."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.state.sorted_items import SortedItems

CHUNK = 3


def _key(item: int) -> tuple[int, str]:
    return item, ""


@given(st.lists(st.integers(0, 60), max_size=100))
def test_what_came_and_did_not_go_is_there_in_order(steps: list[int]) -> None:
    items, expected = SortedItems(_key, chunk=CHUNK), set[int]()
    for each in steps:
        if each in expected:
            items.remove(each)
            expected.remove(each)
        else:
            items.add(each)
            expected.add(each)
        assert list(items) == sorted(expected)
        assert list(reversed(items)) == sorted(expected, reverse=True)
        assert len(items) == len(expected)


@given(st.permutations(range(60)))
def test_few_items_are_next_to_each_other_in_whatever_order_they_come(numbers: list[int]) -> None:
    items = SortedItems(_key, chunk=CHUNK)
    for each in numbers:
        items.add(each)
    assert max(len(chunk) for chunk in items._chunks) <= 2 * CHUNK


def test_nothing_is_left_of_items_that_have_gone() -> None:
    items = SortedItems(_key, chunk=CHUNK)
    for each in range(60):
        items.add(each)
    for each in range(60):
        items.remove(each)
    assert items._chunks == []
