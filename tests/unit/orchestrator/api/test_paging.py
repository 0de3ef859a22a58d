"""Which part of a list an answer shows, and what its token says."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.paging import MAX_PAGE, Window, decoded, page, sort_key, window_of
from shared.errors import InvalidInput


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def number(item: int) -> int:
    return item


def pages(items: list[int], part: Window, *, descending: bool = False) -> list[list[int]]:
    """All pages, each asked for with the token of the one before."""
    found, more = page(items, part, number, descending=descending)
    shown = [found]
    while more:
        found, more = page(items, decoded(more), number, descending=descending)
        shown.append(found)
    return shown


def test_a_token_is_the_order_the_direction_the_limit_and_the_offset() -> None:
    part = Window(sort_by="created_at", reverse=True, limit=10, offset=20)
    assert part.token() == "Y3JlYXRlZF9hdDpZOjEwOjIw"
    assert decoded(part.token()) == part


@given(
    st.builds(
        Window,
        sort_by=st.from_regex(r"[a-z_]{0,20}", fullmatch=True),
        reverse=st.booleans(),
        limit=st.integers(1, MAX_PAGE),
        offset=st.integers(0, 10**9 - 1),
    )
)
def test_a_token_brings_back_what_it_was_made_from(part: Window) -> None:
    assert decoded(part.token()) == part
    assert "=" not in part.token()


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "not a token",
        "Y3JlYXRlZF9hdDpZOjEwOjIw*",
        "\u00e9",
        token("created_at:Y:10"),
        token("created_at:X:10:0"),
        token("created_at:Y:0:0"),
        token(f"created_at:Y:{MAX_PAGE + 1}:0"),
        token("created_at:Y:10:-1"),
        token("created_at:Y:10:9999999999"),
        token("created_at:Y:10:0\n"),
        token("created_at:Y:10:\u0663"),
        "A" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decoded(text)


def test_a_token_decides_alone() -> None:
    told = Window(sort_by="id", reverse=True, limit=5, offset=5)
    assert window_of(sort_by="", reverse=False, limit=99, token=told.token(), default_limit=10) == told


def test_no_limit_is_the_default_and_a_large_one_is_cut() -> None:
    assert window_of(sort_by="", reverse=False, limit=0, token="", default_limit=10).limit == 10
    assert window_of(sort_by="", reverse=False, limit=10**6, token="", default_limit=10).limit == MAX_PAGE


def test_an_unknown_order_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput) as refused:
        sort_key(Window(sort_by="colour"), {"": number, "id": number})
    assert "id" in refused.value.hint


@given(
    items=st.lists(st.integers(), unique=True, max_size=60),
    limit=st.integers(1, 20),
    reverse=st.booleans(),
    descending=st.booleans(),
)
def test_the_pages_together_are_the_sorted_list(
    *, items: list[int], limit: int, reverse: bool, descending: bool
) -> None:
    shown = pages(items, Window(limit=limit, reverse=reverse), descending=descending)
    assert [item for each in shown for item in each] == sorted(items, reverse=reverse != descending)
    assert all(len(each) == limit for each in shown[:-1])


def test_the_last_page_has_no_token_even_when_it_is_full() -> None:
    assert pages([3, 1, 2, 4], Window(limit=2)) == [[1, 2], [3, 4]]


def test_what_lies_behind_the_end_is_empty() -> None:
    assert page([1, 2], Window(limit=10, offset=900_000_000), number) == ([], "")
