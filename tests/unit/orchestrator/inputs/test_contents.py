"""What nodes keep inputs by is the same for the same files from the same place, and for nothing else."""

from itertools import combinations
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.inputs.contents import MOST_HASHED, content_of_list
from orchestrator.inputs.listings import Listing
from orchestrator.inputs.shares import ReadObject, SourceShare
from orchestrator.rules.frozen_inputs import FrozenObject
from orchestrator.rules.location import Location

HERE = Location(bucket="b", region="r", endpoint="http://s3")
OBJECT = FrozenObject(key="in/a", path="a", size=1, etag='"e"')


def content(*objects: FrozenObject, location: Location = HERE, **more: Any) -> str:
    return content_of_list(SourceShare(0, objects, location, 1, **more))


def archives(*members: str, path: str = "", archive: bool = True) -> str:
    read = ReadObject(HERE, replace(OBJECT, path=path), archive, members)
    return content_of_list(SourceShare(0, [read], None, 1))


def test_the_same_files_are_known_whatever_the_number_of_the_input_is() -> None:
    assert content(OBJECT) == content_of_list(SourceShare(7, [ReadObject(HERE, OBJECT)], None, 1)) != ""


def test_what_differs_in_anything_is_something_else() -> None:
    others = [
        content(OBJECT),
        content(OBJECT, OBJECT),
        content(),
        *(content(replace(OBJECT, **{field: "x"})) for field in ("key", "path", "etag", "version", "sha256")),
        content(replace(OBJECT, size=2)),
        content(replace(OBJECT, executable=True)),
        content(OBJECT, location=replace(HERE, bucket="c")),
        content(OBJECT, location=replace(HERE, endpoint="http://other")),
        content(OBJECT, listed="1 of aa"),
        content(OBJECT, listed="2 of aa"),
        content(OBJECT, listed="1 of aa", location=replace(HERE, bucket="c")),
        archives(),
        archives("a"),
        archives("b"),
        archives("a", "b"),
        archives("a', 'b"),
        archives(path="0"),
    ]
    assert all(one != other for one, other in combinations(others, 2))


@pytest.mark.parametrize("objects", [[replace(OBJECT, etag="")], [OBJECT, replace(OBJECT, etag="", path="b")]])
def test_files_of_which_nothing_tells_the_bytes_are_not_known(objects: list[FrozenObject]) -> None:
    assert content(*objects) == ""


def test_what_would_take_long_to_name_is_not_known() -> None:
    assert content(*[OBJECT] * (MOST_HASHED + 1)) == ""


def test_a_part_of_a_list_is_known_if_all_of_it_is() -> None:
    listing = Listing((replace(OBJECT, part=0), replace(OBJECT, part=1, etag=""), replace(OBJECT, part=1)))
    assert [listing.share_of(part).is_known for part in range(2)] == [True, False]
    assert [listing.share_of(part).part for part in range(2)] == [0, 1]
