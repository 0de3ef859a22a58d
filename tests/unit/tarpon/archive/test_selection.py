"""Which entries of a result are meant by paths, and in which order they can be made."""

import pytest

from shared.errors import InvalidInput
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.selection import Chosen, FileNotInResult, Selection, missing_targets, normal_path, standing_alone

NAMES = ["exitCode", "outputs/", "outputs/a.csv", "outputs/deep/", "outputs/deep/b.csv", "outputs/[x].txt", "stdout"]


def member(name: str, *, link_to: str = "", at: int = 0, size: int = 1) -> Member:
    kind = MemberKind.DIRECTORY if name.endswith("/") else MemberKind.HARD_LINK if link_to else MemberKind.FILE
    return Member(
        kind=kind,
        name=name.strip("/").encode(),
        link_target=link_to.encode(),
        size_bytes=size if kind is MemberKind.FILE else 0,
        mode=0o644,
        mtime_ns=0,
        content_at=at,
    )


def chosen(*paths: str) -> list[str]:
    found = Chosen(Selection(paths))
    for name in NAMES:
        found.add(member(name))
    return [each.name.decode() for each in found.members]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("stdout", ["stdout"]),
        ("./stdout", ["stdout"]),
        ("outputs/a.csv", ["outputs", "outputs/a.csv"]),
        ("outputs/deep", ["outputs", "outputs/deep", "outputs/deep/b.csv"]),
        ("outputs/deep/", ["outputs", "outputs/deep", "outputs/deep/b.csv"]),
        ("outputs/*.csv", ["outputs", "outputs/a.csv", "outputs/deep", "outputs/deep/b.csv"]),
        ("*.csv", ["outputs", "outputs/a.csv", "outputs/deep", "outputs/deep/b.csv"]),
        ("outputs/d??p", ["outputs", "outputs/deep", "outputs/deep/b.csv"]),
        ("outputs/[ab].csv", ["outputs", "outputs/a.csv"]),
        ("outputs/[x].txt", ["outputs", "outputs/[x].txt"]),
        (".", [name.strip("/") for name in NAMES]),
        ("stdout/", []),
        ("std", []),
        ("a.csv", []),
    ],
)
def test_a_path_is_a_file_a_directory_or_a_pattern(path: str, names: list[str]) -> None:
    assert chosen(path) == names


def test_several_paths_are_taken_together() -> None:
    assert chosen("stdout", "exitCode") == ["exitCode", "stdout"]


@pytest.mark.parametrize("path", ["/etc", "../x", "a/../../x", "a/..", "a\x00b"])
def test_a_path_that_leaves_the_result_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="not a path within a result"):
        normal_path(path)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("a.csv", "'outputs/a.csv'"),
        ("STDOUT", "'stdout'"),
        ("stdour", "'stdout'"),
        ("outputs/deep/c.csv", "'outputs/deep/b.csv'"),
    ],
)
def test_for_a_path_that_matches_nothing_names_that_come_close_are_told(path: str, near: str) -> None:
    selection = Selection(["exitCode", path])
    for name in NAMES:
        selection.takes(member(name))
    with pytest.raises(FileNotInResult) as caught:
        selection.check("j-1")
    assert repr(path) in caught.value.message
    assert near in caught.value.hint
    assert "tarpon job files j-1" in caught.value.hint


def test_where_nothing_comes_close_nothing_is_suggested() -> None:
    selection = Selection(["qqqqq"])
    selection.takes(member("stdout"))
    with pytest.raises(FileNotInResult) as caught:
        selection.check("j-1")
    assert "Did you mean" not in caught.value.hint


def test_folders_come_first_then_files_in_the_order_of_their_contents_then_links() -> None:
    found = [member("z", at=2048), member("d/"), member("a", at=512), member("h", link_to="a")]
    assert [each.name for each in standing_alone(found, {})] == [b"d", b"a", b"z", b"h"]


def test_the_first_of_several_hard_links_becomes_the_file_that_was_not_chosen() -> None:
    found = [member("h1", link_to="first"), member("h2", link_to="first")]
    assert missing_targets(found) == {b"first"}
    one, other = standing_alone(found, {b"first": member("first", at=4096, size=9)})
    assert (one.kind, one.name, one.content_at, one.size_bytes) == (MemberKind.FILE, b"h1", 4096, 9)
    assert (other.kind, other.name, other.link_target) == (MemberKind.HARD_LINK, b"h2", b"h1")


def test_a_hard_link_to_what_is_chosen_stays_one() -> None:
    found = [member("first", at=512), member("h", link_to="first")]
    assert missing_targets(found) == set()
    assert standing_alone(found, {})[1].link_target == b"first"
