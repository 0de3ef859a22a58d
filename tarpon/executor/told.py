"""What nodes tell of calls, a line of JSON each. What a call has returned stays as it came until it is asked for."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tarpon.executor.remote.values import FILE_TAGS

MOST_LINE_VALUE = 1 << 20
"""A longer value has a file of its own; so none of a line takes long to read."""


class RaisedThere(msgspec.Struct, kw_only=True):
    type: str
    module: str
    text: str
    traceback: str
    arguments: msgspec.Raw = msgspec.Raw()


class ToldCall(msgspec.Struct, kw_only=True):
    """One of the three is there: its value, why that is no data, or the exception."""

    call: int
    stdout: str = ""
    stderr: str = ""
    value: msgspec.Raw = msgspec.Raw()
    not_data: str | None = None
    error: RaisedThere | None = None


_LINE = msgspec.json.Decoder(ToldCall)


def told_of(content: bytes, numbers: range) -> dict[int, ToldCall]:
    """By the number of the call, of those that are told here; of two lines the last counts."""
    return {told.call: told for told in told_calls(content) if told.call in numbers}


def told_calls(content: bytes) -> Iterator[ToldCall]:
    """What is no such line is left out."""
    for line in io.BytesIO(content):
        try:
            told = _LINE.decode(line)
        except (msgspec.MsgspecError, RecursionError, ValueError):  # a node may write anything
            continue
        size = max(len(bytes(told.value)), len(bytes(told.error.arguments)) if told.error is not None else 0)
        if size <= MOST_LINE_VALUE and (size or told.error is not None or told.not_data is not None):
            yield told


def names_beside(told: Any, call: int) -> list[str]:
    """Of the files that a value has beside, which may be nested in it. A name that is another call's is not its own."""
    own = re.compile(rf"values/{call}-\d{{1,9}}\.[a-z]{{1,9}}")
    found, left = dict[str, None](), [told]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif isinstance(each, dict):
            for tag, held in each.items():
                if tag in FILE_TAGS and isinstance(held, str) and own.fullmatch(held):
                    found[held] = None
                else:
                    left.append(held)
    return list(found)


def long_value(told: Any, call: int) -> str:
    """The file that has the value instead, if there is one."""
    if isinstance(told, dict) and "json" in told and (names := names_beside(told, call)):
        return names[0]
    return ""


def parsed(content: bytes | msgspec.Raw) -> Any:
    """Raises ValueError and RecursionError."""
    return json.loads(bytes(content) or b"null")
