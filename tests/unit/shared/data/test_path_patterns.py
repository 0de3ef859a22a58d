"""Which paths a pattern matches."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.path_patterns import MAX_PATH, PathPattern


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("/data", ["/data"], ["/data/x", "/dat", "/data2"]),
        ("/data/", ["/data"], ["/data/x"]),
        ("/data/**", ["/data", "/data/a", "/data/a/b/.c"], ["/data2", "/dat", "/"]),
        ("/data/*", ["/data/a", "/data/.a"], ["/data", "/data/a/b"]),
        ("/a/**/z", ["/a/z", "/a/b/z", "/a/b/c/z"], ["/az", "/a/bz", "/z", "/a/z/b"]),
        ("/a/**/**/z", ["/a/z", "/a/q/z"], ["/az"]),
        ("/a**b", ["/axxb", "/ab"], ["/a/b"]),
        ("/{a,b/c}/x?", ["/a/x1", "/b/c/xy"], ["/b/x1", "/a/x/"]),
        ("/{a/**,b}", ["/a", "/a/q", "/b"], ["/b/q"]),
        ("/d[0-9]/[!a]*", ["/d1/b", "/d1/bz"], ["/d1/a", "/dx/b", "/d1/"]),
        ("/a[^b]c", ["/axc"], ["/abc", "/a/c"]),
        ("/x\\*", ["/x*"], ["/xy"]),
        ("/a.b", ["/a.b"], ["/axb"]),
        ("/**", ["/", "/etc", "/etc/passwd"], []),
    ],
)
def test_a_pattern_matches_as_in_the_reference(pattern: str, matched: list[str], others: list[str]) -> None:
    read = PathPattern(pattern)
    assert [path for path in matched if not read.matches(path)] == []
    assert [path for path in others if read.matches(path)] == []


@pytest.mark.parametrize("pattern", ["", "data", "/a[", "/{a", "/a\\", "/a/../b", "/a[z-a]", "/\0", "/" + "a" * 2000])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"has|does not|ends"):
        PathPattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "base"),
    [("/data/**", "/data"), ("/data/x", "/data/x"), ("/**", "/"), ("/a/b*/c", "/a"), ("/{a,b}/c", "/")],
)
def test_the_folder_that_a_pattern_names_ends_before_what_may_be_several(pattern: str, base: str) -> None:
    assert PathPattern(pattern).base == base


def test_no_path_without_end_is_matched() -> None:
    assert not PathPattern("/**").matches("/" + "a" * MAX_PATH)


@given(st.text(alphabet="ab/*?[]{},\\!^-.", max_size=30))
def test_every_text_is_a_pattern_or_told_to_be_none(text: str) -> None:
    with contextlib.suppress(ValueError):
        PathPattern(f"/{text}").matches("/a/b")
