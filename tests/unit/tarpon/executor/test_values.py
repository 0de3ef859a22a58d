"""Values travel as data and come back as they were; what is none is refused, and nothing that a node makes up runs."""

import datetime as dt
import math
import pickle
import threading
import uuid
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarpon.executor.reading import NotAValue, Reader
from tarpon.executor.remote.values import MOST_INLINE_BYTES, NotData, Writer


class Store:
    """What lies beside."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, suffix: str, content: bytes) -> str:
        name = f"values/0-{len(self.files)}.{suffix}"
        self.files[name] = content
        return name


def there_and_back(value: Any, *, pickles: bool = False) -> Any:
    store = Store()
    told = Writer(store.put, pickles=pickles).write(value)
    return Reader(store.files, pickles=pickles).read(told)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner) | st.frozensets(HASHABLE)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2026, 11, 30, 12, 0, tzinfo=dt.UTC),
        dt.date(2026, 11, 30),
        dt.time(1, 2, 3),
        dt.timedelta(days=-1, microseconds=3),
        Decimal("1.10"),
        uuid.UUID(int=7),
        PurePosixPath("a/b"),
        {"set", "of"},
        bytearray(b"x"),
        "\udc80",
        math.inf,
        1 << 200,
        "x" * (MOST_INLINE_BYTES + 1),
        b"x" * (MOST_INLINE_BYTES + 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_so_does_what_python_has_of_its_own(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_what_is_large_lies_beside() -> None:
    store = Store()
    told = Writer(store.put).write(["x" * (MOST_INLINE_BYTES + 1), "short"])
    assert told == [{"str": "values/0-0.txt"}, "short"]


class Own:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value", [Own(), [Own()], lambda: None, {"a": object()}], ids=["own", "nested", "code", "object"]
)
def test_what_is_no_data_is_refused_and_named(value: Any) -> None:
    with pytest.raises(NotData, match="it is of the type"):
        there_and_back(value)


def test_nesting_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotData, match="nested more than"):
        there_and_back(endless)


def test_where_nodes_are_trusted_anything_travels() -> None:
    assert there_and_back([Own()], pickles=True) == [Own()]


def test_what_cannot_even_be_pickled_is_no_data() -> None:
    with pytest.raises(NotData, match="it cannot be pickled"):
        there_and_back(threading.Lock(), pickles=True)


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle of a node was opened",)


@pytest.mark.parametrize(
    "told",
    [
        {"pickle": "p"},
        {"array": "p"},
        {"frame": "p"},
        {"__class__": "os.system"},
        {"int": "zz"},
        {"dict": [[[1], 2]]},
        {"dict": 3},
        {"a": 1, "b": 2},
        {},
        {"str": "not there"},
        {"datetime": "yesterday"},
        {"set": [[1]]},
        {"json": "p"},
        {"bytes_file": ["p"]},
        [{"bytes_file": "p"}, {"bytearray_file": "p"}],
    ],
    ids=str,
)
def test_what_a_node_makes_up_is_no_value(told: Any) -> None:
    with pytest.raises(NotAValue):
        Reader({"p": pickle.dumps(Bomb())}).read(told)
