"""Values that nodes have written, read as data: whatever a node makes up is a value or an error, at a bounded cost.

The bound are the bytes that are really there: no header of theirs is believed, nothing is unpacked, and no file is read
twice, of which a few bytes could ask for any number.
"""

import base64
import datetime as dt
import decimal
import importlib
import io
import json
import math
import pathlib
import pickle
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tarpon.executor.arrow_tables import ArrowRefused, frame_of, table_of


class NotAValue(Exception):
    """What came back is no value as `tarpon/executor/remote/values.py` writes them."""


class Reader:
    """`beside` has the bytes of the files beside, each of which is used once. Raises NotAValue."""

    def __init__(self, beside: Mapping[str, bytes], *, pickles: bool = False) -> None:
        self._beside = dict(beside)
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

    def _get(self, name: Any) -> bytes:
        if not isinstance(name, str) or name not in self._beside:
            raise NotAValue("It names a file that is not there, not its own, or used already.")
        return self._beside.pop(name)

    def _pickle(self, name: Any) -> Any:
        if not self._pickles:
            raise NotAValue("It is a pickle, and the nodes are not trusted.")
        return pickle.loads(self._get(name))  # noqa: S301  # only where the nodes are trusted

    def _array(self, name: Any) -> Any:
        """Raises NotAValue where the header tells of more than there is: numpy would ask for that memory at once."""
        content = self._get(name)
        file, numpy = io.BytesIO(content), importlib.import_module("numpy")
        version = numpy.lib.format.read_magic(file)
        read_header = {
            (1, 0): numpy.lib.format.read_array_header_1_0,
            (2, 0): numpy.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise NotAValue(f"It is an array of the version {version}.")
        shape, _, kind = read_header(file)
        if math.prod(shape) * kind.itemsize != len(content) - file.tell() or (not kind.itemsize and math.prod(shape)):
            raise NotAValue("It is an array whose header tells of another size than it has.")
        return numpy.load(io.BytesIO(content), allow_pickle=False)

    def _table(self, name: Any, read: Callable[[bytes], Any]) -> Any:
        try:
            return read(self._get(name))
        except ArrowRefused as why:
            raise NotAValue(str(why)) from None


_READ: dict[str, Callable[[Reader, Any], Any]] = {
    "int": lambda _, held: int(held, 16),
    "float": lambda _, held: float(held),
    "json": lambda self, held: self._read(json.loads(self._get(held))),
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
    "table": lambda self, held: self._table(held, table_of),
    "frame": lambda self, held: self._table(held, frame_of),
    "pickle": lambda self, held: self._pickle(held),
}
