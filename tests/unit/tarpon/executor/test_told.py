"""Lines of a node: none of its own making costs more than its bytes, or speaks for another call."""

from typing import Any

import pytest

from tarpon.executor.problems import CallFailed, RemoteTraceback, raised_there
from tarpon.executor.told import MOST_LINE_VALUE, RaisedThere, names_beside, told_calls, told_of

LINES = [
    b"nonsense",
    b"[1]",
    b'{"call": true, "value": 1}',
    b'{"call": 0}',
    b'{"call": 0, "error": {"type": "ValueError"}}',
    b'{"call": 0, "value": ' + b"[" * 200_000,
    b"\xff",
    b'{"call": 0, "value": "' + b"x" * MOST_LINE_VALUE + b'"}',
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_what_is_no_line_is_left_out(line: bytes) -> None:
    (told,) = told_calls(line + b'\n{"call": 3, "value": null}\n')
    assert (told.call, bytes(told.value)) == (3, b"null")


def test_a_part_tells_of_its_own_calls_and_of_each_once() -> None:
    lines = b"".join(b'{"call": %d, "value": %d}\n' % (call, at) for at in range(3) for call in (-1, 0, 1, 2, 4, 99))
    told = told_of(lines, range(0, 5, 2))
    assert {number: bytes(each.value) for number, each in told.items()} == {0: b"2", 2: b"2", 4: b"2"}


@pytest.mark.parametrize(
    "name", ["values/1-0.npy", "values/0-0.npy/../../../etc/passwd", "../values/0-0.npy", "values/0-.npy", ""]
)
def test_names_that_are_not_its_own_are_none(name: str) -> None:
    told = [{"array": name}, {"tuple": [{"array": "values/0-7.npy"}, {"str": "values/0-7.npy"}]}]
    assert names_beside(told, 0) == ["values/0-7.npy"]


def raised(kind: str, arguments: list[Any] | None, module: str = "builtins") -> BaseException:
    return raised_there(RaisedThere(type=kind, module=module, text="\x1b[2J", traceback="\x1b[2J"), arguments)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("StopIteration", []),
        ("StopAsyncIteration", []),
        ("SystemExit", []),
        ("GeneratorExit", []),
        ("len", [[]]),
        ("ValueError", None),
        ("UnicodeDecodeError", [1]),
    ],
)
def test_what_would_end_more_than_its_call_is_told_as_a_failure(kind: str, arguments: list[Any] | None) -> None:
    assert isinstance(raised(kind, arguments), CallFailed)


def test_nothing_of_an_exception_steers_a_terminal() -> None:
    error = raised("Odd\x1b", None, "mine\x1b")
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "\x1b" not in f"{error} {error.__cause__}"
    assert str(raised("ValueError", ["\x1b[2J"])) == "\\x1b[2J"
