"""What `test_tables.py` runs where there are numpy, pyarrow and pandas; it asks for less memory than it is told of."""

# mypy: ignore-errors

import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tarpon.executor.reading import NotAValue, Reader
from tarpon.executor.remote.values import Writer


def there_and_back(value: Any) -> Any:
    beside = {}

    def put(suffix: str, content: bytes) -> str:
        name = f"values/0-{len(beside)}.{suffix}"
        beside[name] = content
        return name

    told = Writer(put).write(value)
    return Reader(beside).read(told)


def refused(tag: str, content: bytes, words: str) -> None:
    told = ""
    try:
        Reader({"f": content}).read({tag: "f"})
    except NotAValue as error:
        told = str(error)
    assert told, f"{tag} was taken, {words}"
    assert words in told


def npy(shape: tuple[int, ...], kind: str, content: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode() + b"\n"
    size = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + header + content


def stream(table: Any, **options: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


FRAME = pd.DataFrame(
    {
        "number": [1, 2, 3],
        "text": ["a", "b", None],
        "kind": pd.Categorical(["u", "v", "u"]),
        "when": pd.date_range("2026-11-30", periods=3, tz="UTC"),
        "list": [[1], [2, 3], []],
        "none": [None] * 3,
    }
)
for value in (np.arange(12.0).reshape(3, 4), np.array([]), np.array("x"), np.float32(3), np.zeros((0, 5))):
    back = there_and_back(value)
    assert np.array_equal(back, value), value
    assert back.dtype == value.dtype, value
pd.testing.assert_frame_equal(there_and_back(FRAME), FRAME)
table = pa.table({"x": list(range(1000)), "s": pa.array(["x", "y"] * 500).dictionary_encode()})
assert there_and_back(table).equals(table)

for shape, kind in [((1 << 40,), "<f8"), ((1 << 30, 2), "<f8"), ((-1, -8), "|u1"), ((1 << 50,), "|V0"), ((3,), "|u1")]:
    refused("array", npy(shape, kind, b"12345678"), "of another size" if min(shape) > 0 else "")
refused("array", npy((1,), "|O", b"12345678"), "")
refused("array", npy((1,), "<f8", b"12345678", version=(3, 0)), "of the version")
for codec in ("lz4", "zstd"):
    refused("table", stream(table, compression=codec), "compressed")
nulls = pa.nulls(1 << 30)
offsets = pa.array([0, 1 << 30], pa.int32())
for column in (nulls, pa.ListArray.from_arrays(offsets, nulls), pa.StructArray.from_arrays([nulls], ["n"])):
    refused("frame", stream(pa.table({"x": column})), "far more memory")
refused("frame", stream(pa.table({"x": pa.RunEndEncodedArray.from_arrays([1 << 30], [1])})), "a column of run_end")
content = stream(table)
for at in range(0, len(content), 31):  # torn and bent: a value or an error
    for bad in (content[:at], content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :]):
        with suppress(NotAValue):
            Reader({"f": bad}).read({"frame": "f"})
sys.stdout.write("all held\n")
