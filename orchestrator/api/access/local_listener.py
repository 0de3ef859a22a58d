"""The listener at the local socket: one that an orchestrator left when it was killed is replaced."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import ConfigurationInvalid
from shared.runtime.local_socket import addressable, socket_path

BACKLOG = 128
ONLY_OWNER = 0o600


@contextmanager
def local_listener(data_dir: Path) -> Iterator[socket.socket]:
    """To be opened by who has locked DataDir, so that what lies there is nobody's. Raises ConfigurationInvalid."""
    path = socket_path(data_dir)
    fresh = path.with_name(f"{path.name}.new")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            fresh.unlink(missing_ok=True)
            with addressable(fresh) as name:
                listening.bind(name)
            fresh.chmod(ONLY_OWNER)
            listening.listen(BACKLOG)
            fresh.replace(path)  # so that it is there from the first moment with its rights
        except OSError as error:
            told = f"DataDir: a Unix socket cannot be made in {path.parent}: {error.strerror}"
            raise ConfigurationInvalid([told], hint="Choose a DataDir on a local file system.") from error
        number = path.stat().st_ino
        try:
            yield listening
        finally:
            _remove(path, number)


def _remove(path: Path, number: int) -> None:
    with suppress(OSError):
        if path.lstat().st_ino == number:
            path.unlink()
