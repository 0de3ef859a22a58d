"""The local socket: where an orchestrator listens for its own user, who needs no key there.

It is a Unix socket in DataDir. The kernel tells each side as whom the other runs, so that neither takes a stranger for
the other.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SCHEME = "unix://"
DEFAULT_DATA_DIR = "~/.tarpon"
_MOST_BYTES = 107
"""So long may a path be in the address of a Unix socket (unix(7))."""
_PROBE_SECONDS = 1.0
_PEER = struct.Struct("3i")


def socket_path(data_dir: Path) -> Path:
    return data_dir / "orchestrator" / "api.sock"


def data_dir_of(env: Mapping[str, str]) -> Path:
    """DataDir as the environment alone has it."""
    return Path(env.get("TARPON_DIR") or env.get("TARPON_DATADIR") or DEFAULT_DATA_DIR).expanduser()


@contextmanager
def addressable(path: Path) -> Iterator[str]:
    """A name of the path that fits into an address."""
    text = str(path)
    if len(os.fsencode(text)) <= _MOST_BYTES:
        yield text
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer_uid(connection: socket.socket) -> int:
    """As whom the other end runs, or ran when it connected or began to listen."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(raw)
    return int(uid)


def local_url(data_dir: Path) -> str:
    """Of the orchestrator that listens in this DataDir, if one does, as its owner or root; else empty. Blocks."""
    path = socket_path(data_dir)
    try:
        with addressable(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_SECONDS)
            probe.connect(name)
            is_own = peer_uid(probe) in {0, os.geteuid(), data_dir.stat().st_uid}
    except OSError:
        return ""
    return f"{SCHEME}{path.absolute()}" if is_own else ""


def path_in(url: str) -> Path | None:
    """The path of a URL that names a local socket; None for any other."""
    return Path(url.removeprefix(SCHEME)) if url.startswith(SCHEME) else None
