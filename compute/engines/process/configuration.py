"""Configuration of the machine, as tasks behind walls see it: a copy of those parts of /etc that are no secret.

One folder is shown sooner than forty files: each of them would cost a task a fifth of a millisecond at its start.
"""

import errno
import logging
import os
import shutil
import threading
from pathlib import Path

from compute.disk import private_file
from compute.disk.removal import remove_tree

_log = logging.getLogger(__name__)

PLACE = "/etc"
SHOWN = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "locale.alias", "locale.conf"),
    *("passwd", "group", "nsswitch.conf", "timezone", "mime.types", "magic", "terminfo", "fonts", "inputrc"),
    *("hosts", "host.conf", "resolv.conf", "gai.conf", "services", "protocols", "networks", "ethertypes"),
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "ca-certificates.conf", "crypto-policies"),
    *("pki/ca-trust/extracted", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
    *("OpenCL", "vulkan", "nvidia", "python3", "perl", "java", "os-release", "lsb-release", "debian_version"),
)
"""What programs read."""
_PREFIX = "etc-"
_OF_SOURCE = (errno.EACCES, errno.EPERM, errno.ENOENT)
_Stamp = tuple[int, int, int] | None


class ShownConfiguration:
    """Copies are below `folder`, of `source`. May be used by any thread; every method blocks, and raises OSError."""

    def __init__(self, folder: Path, source: Path = Path(PLACE)) -> None:
        self._folder = folder
        self._source = source
        self._lock = threading.Lock()
        self._number = 0
        self._stamps: list[_Stamp] = []
        private_file.make_folder(folder)
        for left in folder.glob(f"{_PREFIX}*"):
            remove_tree(left)

    def __repr__(self) -> str:
        return f"<ShownConfiguration {self._number} in {self._folder}>"

    def current(self) -> Path:
        """A folder with what the machine has now. Earlier ones stay, for tasks that see them."""
        with self._lock:
            stamps = [_stamp(f"{self._source}/{name}") for name in SHOWN]
            if stamps != self._stamps:
                self._copy(self._folder / f"{_PREFIX}{self._number + 1}")
                self._number += 1
                self._stamps = stamps
            return self._folder / f"{_PREFIX}{self._number}"

    def _copy(self, target: Path) -> None:
        """Whole or not at all: a disk that is full for a moment must not take from all later tasks what they need."""
        draft = target.with_name(f"{target.name}.new")
        for left in (draft, target):
            remove_tree(left)
        draft.mkdir()
        for name in SHOWN:
            source, copy = self._source / name, draft / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                if source.is_dir():
                    shutil.copytree(source, copy, symlinks=True)
                elif source.is_file():
                    shutil.copyfile(source, copy)
            except OSError as error:
                if not _is_of_source(error):
                    raise
                _log.debug("Tasks do not see all of %s: %s", source, error)
        draft.rename(target)


def _is_of_source(error: OSError) -> bool:
    """Such as for a part that the node may not read, or that has gone meanwhile."""
    if not isinstance(error, shutil.Error):
        return error.errno in _OF_SOURCE
    # Of a folder shutil tells all that it met, and keeps of each its words alone.
    return all(any(f"[Errno {number}]" in str(words) for number in _OF_SOURCE) for *_, words in error.args[0])


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116  # forty for each task
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
