"""Values as data: JSON with tags, and files beside it for what is large or an array or table.

A node is untrusted, so what comes back is data, of which nothing runs here. A pickle is one kind of value among others,
which is made and read only where somebody has said that the nodes are trusted.
"""

import base64
import datetime as dt
import decimal
import importlib
import io
import math
import pathlib
import pickle
import sys
import uuid
from collections.abc import Callable
from typing import Any

MOST_INLINE_BYTES = 64 << 10
"""Larger bytes and texts go into files of their own."""
MOST_DEPTH = 200
FILE_TAGS = frozenset({"str", "bytes_file", "bytearray_file", "array", "scalar", "table", "frame", "pickle"})
"""What they hold is the name of a file beside."""


class NotData(Exception):
    """A value that is no data, and may not be a pickle."""


class NotAValue(Exception):
    """What came back is no value as this module writes them."""


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
        return {"pickle": self._put("pickle", importlib.import_module("cloudpickle").dumps(value))}


def _loaded(name: str) -> Any:
    return sys.modules.get(name)


def _arrow_bytes(arrow: Any, table: Any) -> bytes:
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


class Reader:
    """The other way round; `get(name)` gives the bytes that were stored beside. Raises NotAValue."""

    def __init__(self, get: Callable[[str], bytes], *, pickles: bool = False) -> None:
        self._get = get
        self._pickles = pickles

    def read(self, told: Any) -> Any:
        try:
            return self._read(told)
        except NotAValue:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a node has made up
            raise NotAValue(f"{type(error).__name__}: {error}"[:300]) from None

    def _read(self, told: Any) -> Any:
        if not isinstance(told, (dict, list)):
            return told
        if isinstance(told, list):
            return [self._read(each) for each in told]
        ((tag, held),) = told.items()
        read = _READ.get(tag)
        if read is None:
            raise NotAValue(f"It has the tag {tag[:40]!r}.")
        return read(self, held)

    def _pickle(self, name: str) -> Any:
        if not self._pickles:
            raise NotAValue("It is a pickle, and the nodes are not trusted.")
        return pickle.loads(self._get(name))  # noqa: S301  # only where the nodes are trusted

    def _array(self, name: str) -> Any:
        return importlib.import_module("numpy").load(io.BytesIO(self._get(name)), allow_pickle=False)

    def _table(self, name: str) -> Any:
        table = importlib.import_module("pyarrow").ipc.open_file(self._get(name)).read_all()
        table.validate(full=True)
        return table


_READ: dict[str, Callable[[Reader, Any], Any]] = {
    "int": lambda _, held: int(held, 16),
    "float": lambda _, held: float(held),
    "str": lambda self, held: self._get(held).decode(),
    "surrogates": lambda _, held: base64.b64decode(held).decode("utf-8", "surrogatepass"),
    "bytes": lambda _, held: base64.b64decode(held),
    "bytearray": lambda _, held: bytearray(base64.b64decode(held)),
    "bytes_file": lambda self, held: self._get(held),
    "bytearray_file": lambda self, held: bytearray(self._get(held)),
    "tuple": lambda self, held: tuple(self._read(each) for each in held),
    "set": lambda self, held: {self._read(each) for each in held},
    "frozenset": lambda self, held: frozenset(self._read(each) for each in held),
    "dict": lambda self, held: {self._read(key): self._read(value) for key, value in held},
    "complex": lambda self, held: complex(self._read(held[0]), self._read(held[1])),
    "datetime": lambda _, held: dt.datetime.fromisoformat(held),
    "date": lambda _, held: dt.date.fromisoformat(held),
    "time": lambda _, held: dt.time.fromisoformat(held),
    "timedelta": lambda _, held: dt.timedelta(*held),
    "Decimal": lambda _, held: decimal.Decimal(held),
    "UUID": lambda _, held: uuid.UUID(held),
    "path": lambda _, held: pathlib.PurePosixPath(held),
    "array": lambda self, held: self._array(held),
    "scalar": lambda self, held: self._array(held)[()],
    "table": lambda self, held: self._table(held),
    "frame": lambda self, held: self._table(held).to_pandas(),
    "pickle": lambda self, held: self._pickle(held),
}
