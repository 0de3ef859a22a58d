"""How a test sees that something needs little memory (no tests in here)."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

MIB = 1 << 20


@contextmanager
def peak_below(size_bytes: int) -> Iterator[None]:
    """Fail where Python's objects came to need that much more than at the beginning."""
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < size_bytes, f"{peak_bytes:,} bytes"
