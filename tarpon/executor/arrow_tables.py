"""Tables of Arrow that nodes have written: nothing in them is unpacked, and they are no larger here than there.

Arrow believes what a compressed buffer says of its own size, and asks for that memory; so no compression is taken. The
source of the offsets is Arrow's Message.fbs, read as https://flatbuffers.dev/internals says.
"""

import importlib
import struct
from typing import Any

SAFE_ARROW = (14, 0, 1)
"""Earlier releases run what a file tells them to (CVE-2023-47248)."""
MOST_FRAME_BYTES = 1 << 30
"""What a frame may need at least; more only where its table is large too."""
FRAME_BYTES_BY_TABLE = 64
_SCHEMA, _DICTIONARIES, _BATCH = 1, 2, 3
_OBJECT_BYTES, _NUMBER_BYTES = 256, 16
"""What one value of a frame takes at most, beside the bytes that it has in the table."""


class ArrowRefused(Exception):
    pass


def table_of(content: bytes) -> Any:
    """Raises ArrowRefused, and whatever Arrow raises."""
    arrow = importlib.import_module("pyarrow")
    if tuple(int(each) for each in arrow.__version__.split(".")[:3] if each.isdecimal()) < SAFE_ARROW:
        raise ArrowRefused(f"It is a table, and pyarrow {arrow.__version__} is too old to read those of others.")
    messages = arrow.ipc.MessageReader.open_stream(arrow.py_buffer(content))
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            break
        if _is_compressed(bytes(message.metadata)):
            raise ArrowRefused("It is a table that is compressed.")
    table = arrow.ipc.open_stream(content).read_all()
    table.validate(full=True)
    return table


def frame_of(content: bytes) -> Any:
    """Of pandas. Raises as table_of does, also where it would take far more memory than the table."""
    table = table_of(content)
    most = MOST_FRAME_BYTES + FRAME_BYTES_BY_TABLE * len(content)
    if sum(_frame_bytes(chunk) for column in table.columns for chunk in column.chunks) > most:
        raise ArrowRefused("It is a frame that would take far more memory than its table has bytes.")
    return table.to_pandas()


def _frame_bytes(array: Any) -> int:
    """At most, beside its bytes; also of what is within it, of which some kinds need none in the table."""
    types, kind = importlib.import_module("pyarrow").types, array.type
    if types.is_dictionary(kind):
        return _frame_bytes(array.indices) + _frame_bytes(array.dictionary)
    if types.is_map(kind):
        inner = [array.keys, array.items]
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = [array.values]
    elif types.is_struct(kind):
        inner = [array.field(number) for number in range(kind.num_fields)]
    elif hasattr(array, "storage"):  # of an extension
        inner = [array.storage]
    elif kind.num_fields:
        raise ArrowRefused(f"It is a frame with a column of {kind}.")
    else:
        size = _NUMBER_BYTES if types.is_primitive(kind) or types.is_null(kind) else _OBJECT_BYTES
        return len(array) * size
    return len(array) * _OBJECT_BYTES + sum(map(_frame_bytes, inner))


def _is_compressed(metadata: bytes) -> bool:
    """Whether a message is a batch, or of dictionaries, with the field `compression`."""
    message = _Table(metadata, _offset(metadata, 0))
    kind = message.byte(1)
    if kind == _SCHEMA:
        return False
    batch = message.table(2)
    if kind == _DICTIONARIES and batch is not None:
        batch = batch.table(1)
    if kind not in {_DICTIONARIES, _BATCH} or batch is None:
        raise ArrowRefused("It has a message of Arrow that is no part of a table.")
    return batch.table(3) is not None


class _Table:
    """One of FlatBuffers."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at
        (back,) = struct.unpack_from("<i", content, at)
        self._fields = at - back
        if self._fields < 0:
            raise ArrowRefused("It has a message of Arrow that is none.")
        (self._size,) = struct.unpack_from("<H", content, self._fields)

    def byte(self, number: int) -> int:
        at = self._field(number)
        return self._content[self._at + at] if at else 0

    def table(self, number: int) -> "_Table | None":
        if not (at := self._field(number)):
            return None
        return _Table(self._content, self._at + at + _offset(self._content, self._at + at))

    def _field(self, number: int) -> int:
        place = 4 + 2 * number
        return int(struct.unpack_from("<H", self._content, self._fields + place)[0]) if place < self._size else 0


def _offset(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])
