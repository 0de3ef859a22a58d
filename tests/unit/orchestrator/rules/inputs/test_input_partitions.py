from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.frozen_inputs import EVERY_PART
from orchestrator.rules.inputs.go_dates import LayoutInvalid
from orchestrator.rules.inputs.partitions import fnv1a, parts_of_keys
from orchestrator.rules.inputs.paths import clash, path_refusal, prefix_path
from shared.jobs.inputs.partition import Partition

OBJECT = Partition(type="object")
SUBSTRING = Partition(type="substring", start_index=1, end_index=4)
KEYS = (
    "data/2024-01-05/user_7.csv",
    "data/2024-01-05/user_12.csv",
    "data/2024-02-05/user_7.csv",
    "data/eu/west",
    "data/x",
    "data/ü日本/1",
)
DATE = Partition(type="date", date_format="2006-01-02")


def test_the_hash_is_fnv_1a() -> None:
    assert [fnv1a(each) for each in (b"", b"a", b"foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


@pytest.mark.parametrize("partition", [OBJECT, SUBSTRING, DATE], ids=lambda each: each.type)
@given(
    keys=st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=60),
    count=st.integers(min_value=1, max_value=40),
)
def test_shares_are_together_exactly_the_whole(partition: Partition, keys: list[str], count: int) -> None:
    parts = parts_of_keys(keys, partition, prefix="a", count=count)
    assert len(parts) == len(keys)
    shares = [[key for key, of in zip(keys, parts, strict=True) if of in {part, EVERY_PART}] for part in range(count)]
    assert Counter(key for share in shares for key in share) == Counter(keys)


@given(st.lists(st.text(min_size=1), unique=True), st.integers(min_value=2, max_value=9))
def test_what_is_not_divided_is_for_every_part(keys: list[str], count: int) -> None:
    assert parts_of_keys(keys, Partition(), prefix="", count=count) == [EVERY_PART] * len(keys)


@pytest.mark.parametrize(
    ("partition", "expected"),
    [
        (OBJECT, [0, 1, 1, 5, 1, 5]),
        (Partition(type="substring", start_index=0, end_index=4), [1, 1, 1, 4, 0, 3]),
        (Partition(type="date", date_format="2006-01"), [0, 0, 5, 0, 0, 0]),
    ],
)
def test_shares_are_those_of_bacalhau(partition: Partition, expected: list[int]) -> None:
    """As its own code, of version 1.9.3, has divided these keys."""
    assert parts_of_keys(KEYS, partition, prefix="data/", count=7) == expected


def test_dates_that_are_the_same_are_in_one_share_and_what_has_none_is_in_the_first() -> None:
    keys = ["log/2024-02-29/a", "log/2024-02-29-b", "log/2024-02-30/c", "log/none"]
    one, other, invalid, none = parts_of_keys(keys, DATE, prefix="log/", count=1000)
    assert one == other == fnv1a(b"2024-02-29") % 1000
    assert invalid == none == 0


@pytest.mark.parametrize("layout", ["2006-01-02T15:04:05Z07:00", "2006 MST", "05.000", "data", "2006-01-02 -0700"])
def test_layouts_that_cannot_be_read_are_refused(layout: str) -> None:
    with pytest.raises(LayoutInvalid):
        parts_of_keys(["a", "b"], Partition(type="date", date_format=layout), prefix="", count=2)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "names no file"),
        ("a//b", "two slashes"),
        ("/a", "two slashes"),
        ("a/../b", "`..`"),
        ("./a", "`.`"),
        ("a\0b", "character"),
        ("n" * 256, "255 bytes"),
    ],
)
def test_keys_that_no_file_can_have_are_refused(path: str, why: str) -> None:
    assert why in path_refusal(path)


@pytest.mark.parametrize("path", ["a", "a b/c", "...", "ümläut", "a\nb", "-x", " ", "a\\b", "x" * 255])
def test_keys_that_a_file_can_have_are_taken(path: str) -> None:
    assert not path_refusal(path)


def test_a_path_is_what_follows_the_last_slash_of_the_prefix() -> None:
    assert prefix_path("dir/file-", "dir/file-1/x") == "file-1/x"
    assert prefix_path("", "a/b") == "a/b"


def test_files_that_cannot_be_beside_each_other_are_found() -> None:
    assert clash(["a/b/c", "a", "z"]) == ("a", "a/b/c")
    assert clash(["x", "x"]) == ("x", "x")
    assert clash(["a", "ab/c", "a.b/c"]) is None
