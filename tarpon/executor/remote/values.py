"""Values as data: JSON with tags, and files beside it for what is large or an array or table.

A node is untrusted, so what comes back is data, of which nothing runs here; `tarpon/executor/reading.py` reads it. A
pickle is one kind of value among others, which is made only where somebody has said that the nodes are trusted.
"""

import base64
import datetime as dt
import decimal
import importlib
import io
import math
import pathlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

MOST_INLINE_BYTES = 64 << 10
"""Larger bytes and texts go into files of their own."""
MOST_DEPTH = 200
FILE_TAGS = frozenset({"json", "str", "bytes_file", "bytearray_file", "array", "scalar", "table", "frame", "pickle"})
"""What they hold is the name of a file beside, which nothing else names. `json` is a whole value that is long."""


class NotData(Exception):
    """A value that is no data, and may not be a pickle."""


class Writer:
    """`put(suffix, content)` stores bytes beside and gives their name. `pickles` is whether the nodes are trusted."""

    def __init__(self, put: Callable[[str, bytes], str], *, pickles: bool = False) -> None:
        self._put = put
        self._pickles = pickles

    def write(self, value: Any, depth: int = 0) -> Any:
        """The value as what JSON can say. Raises NotData."""
        if depth > MOST_DEPTH:
            raise NotData(f"it is nested more than {MOST_DEPTH} deep")
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is int:
            return value if abs(value) < 1 << 53 else {"int": format(value, "x")}
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is str:
            return self._text(value)
        if kind in (bytes, bytearray):
            return self._bytes(kind.__name__, bytes(value))
        if kind is list:
            return [self.write(each, depth + 1) for each in value]
        if kind in (tuple, set, frozenset):
            return {kind.__name__: [self.write(each, depth + 1) for each in value]}
        if kind is dict:
            return {"dict": [[self.write(part, depth + 1) for part in pair] for pair in value.items()]}
        return self._other(value, kind)

    def _text(self, value: str) -> Any:
        try:
            content = value.encode()
        except UnicodeEncodeError:
            return {"surrogates": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}
        return value if len(content) <= MOST_INLINE_BYTES else {"str": self._put("txt", content)}

    def _bytes(self, kind: str, content: bytes) -> Any:
        if len(content) <= MOST_INLINE_BYTES:
            return {kind: base64.b64encode(content).decode()}
        return {f"{kind}_file": self._put("bin", content)}

    def _other(self, value: Any, kind: type) -> Any:
        if kind is complex:
            return {"complex": [self.write(value.real), self.write(value.imag)]}
        if kind in (dt.datetime, dt.date, dt.time):
            return {kind.__name__: value.isoformat()}
        if kind is dt.timedelta:
            return {"timedelta": [value.days, value.seconds, value.microseconds]}
        if kind in (decimal.Decimal, uuid.UUID) or isinstance(value, pathlib.PurePath):
            return {"path" if isinstance(value, pathlib.PurePath) else kind.__name__: str(value)}
        array_or_table = self._array(value) or self._table(value)
        if array_or_table:
            return array_or_table
        if self._pickles:
            return self._pickle(value)
        raise NotData(f"it is of the type {kind.__module__}.{kind.__qualname__}")

    def _array(self, value: Any) -> Any:
        """Of numpy, if that is loaded at all: what is not loaded has made no value."""
        numpy = _loaded("numpy")
        if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)) or value.dtype.hasobject:
            return None
        file = io.BytesIO()
        numpy.save(file, value, allow_pickle=False)
        return {"scalar" if isinstance(value, numpy.generic) else "array": self._put("npy", file.getvalue())}

    def _table(self, value: Any) -> Any:
        pandas, arrow = _loaded("pandas"), _loaded("pyarrow")
        if pandas is not None and isinstance(value, pandas.DataFrame):
            arrow = importlib.import_module("pyarrow")
            return {"frame": self._put("arrow", _arrow_bytes(arrow, arrow.Table.from_pandas(value)))}
        if arrow is not None and isinstance(value, arrow.Table):
            return {"table": self._put("arrow", _arrow_bytes(arrow, value))}
        return None

    def _pickle(self, value: Any) -> Any:
        try:
            content = importlib.import_module("cloudpickle").dumps(value)
        except Exception as error:
            raise NotData(f"it cannot be pickled: {type(error).__name__}: {error}") from error
        return {"pickle": self._put("pickle", content)}


def _loaded(name: str) -> Any:
    return sys.modules.get(name)


def _arrow_bytes(arrow: Any, table: Any) -> bytes:
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content
