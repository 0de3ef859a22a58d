"""Two results are read side by side, and each path in which they differ is told once, with what differs."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.extraction.tar_reader import MemberKind
from tarpon.comparison.entries import ComparedEntry, NotInOrder, differences


def file(name: str, content: str = "a", mode: int = 0o644) -> ComparedEntry:
    return ComparedEntry(name.encode(), MemberKind.FILE, mode, len(content), b"", content.encode())


def folder(name: str) -> ComparedEntry:
    return ComparedEntry(name.encode(), MemberKind.DIRECTORY, 0o755)


def link(name: str, target: str) -> ComparedEntry:
    return ComparedEntry(name.encode(), MemberKind.SYMLINK, 0o777, 0, target.encode())


def told(first: Iterable[ComparedEntry], second: Iterable[ComparedEntry]) -> dict[str, tuple[str, ...]]:
    found = differences(iter(first), iter(second))
    return {each.name.decode(): each.what for each in found if each is not None}


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (file("a"), file("a"), None),
        (file("a", "b"), file("a", "c"), ("content",)),
        (file("a", "b"), file("a", "bb"), ("size", "content")),
        (file("a"), file("a", mode=0o600), ("mode",)),
        (file("a"), folder("a"), ("type",)),
        (link("a", "b"), link("a", "c"), ("target",)),
        (folder("a"), folder("a"), None),
    ],
)
def test_what_differs_of_a_path_is_told(
    first: ComparedEntry, second: ComparedEntry, what: tuple[str, ...] | None
) -> None:
    assert told([first], [second]) == ({} if what is None else {"a": what})


def test_what_only_one_result_has_is_told_as_such() -> None:
    first, second = [file("a"), folder("b"), file("b/c")], [folder("b"), file("b/d"), file("e")]
    expected = {"a": ("only-first",), "b/c": ("only-first",), "b/d": ("only-second",), "e": ("only-second",)}
    assert told(first, second) == expected


def test_a_folder_is_followed_by_what_it_holds_and_not_by_names_that_begin_like_it() -> None:
    both = [folder("a"), file("a/b"), file("a-b"), file("a.b")]
    assert told(both, both) == {}
    assert told(both, [both[0], *both[2:]]) == {"a/b": ("only-first",)}


@pytest.mark.parametrize("entries", [[file("b"), file("a")], [file("a"), file("a")], [file("a/b"), folder("a")]])
def test_entries_that_are_in_no_order_are_refused(entries: list[ComparedEntry]) -> None:
    with pytest.raises(NotInOrder):
        told(entries, [file("z")])


NAMES = st.dictionaries(st.lists(st.sampled_from("ab-."), min_size=1, max_size=3).map("/".join), st.sampled_from("xy"))


@given(NAMES, NAMES)
def test_the_differences_are_those_of_two_tables(first: dict[str, str], second: dict[str, str]) -> None:
    def entries(table: dict[str, str]) -> list[ComparedEntry]:
        return [file(name, content) for name, content in sorted(table.items(), key=lambda each: each[0].split("/"))]

    assert told(entries(first), entries(second)).keys() == {
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    }
