"""The folder of an orchestrator in DataDir: whose it is at the moment, and the name that is kept there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import AlreadyRunning, Damaged
from shared.ids import is_safe_id
from shared.runtime import durable


@contextmanager
def locked(path: Path, data_dir: Path) -> Iterator[None]:
    """Raise AlreadyRunning if another process works with the same data."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning("orchestrator", str(data_dir)) from None
        yield


def kept_name(path: Path) -> str:
    """The orchestrator's name, the same at each start: it takes its own lease over after a crash."""
    with suppress(FileNotFoundError):
        if name := path.read_bytes().decode(errors="replace").strip():
            if not is_safe_id(name):
                told = f"{path} does not hold an orchestrator's name."
                raise Damaged(told, hint="Remove the file, and it gets another one.")
            return name
    name = f"o-{os.urandom(8).hex()}"
    durable.write(path, name.encode())
    return name
