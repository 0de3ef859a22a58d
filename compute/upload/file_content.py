"""The content of a large file, read again piece by piece while it is sent."""

import asyncio
import os
from pathlib import Path

from compute.disk.folder_access import FOLDER, opened_to_read
from compute.upload.put import Pieces
from shared.protocol.results.content_manifest import ManifestFile

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileContent(Pieces):
    """Of the file `entry` below `root`. Its size is fixed; what is gone of it meanwhile is zeros.

    S3 refuses these, by the digest that came with the URL. Opening goes through no link, as when it was read first.
    """

    def __init__(self, root: Path, entry: ManifestFile) -> None:
        self._root = root
        self._entry = entry

    def __repr__(self) -> str:
        return f"<FileContent {self._entry.shown!r}>"

    def __len__(self) -> int:
        return self._entry.size

    async def piece(self, start: int, end: int) -> memoryview:
        wanted = min(end, self._entry.size) - start
        content = await asyncio.to_thread(self._read, start, wanted)
        return memoryview(content.ljust(wanted, b"\x00"))

    def _read(self, start: int, wanted: int) -> bytes:
        try:
            descriptor = self._opened()
        except OSError:
            return b""
        try:
            return os.pread(descriptor, wanted, start)
        except OSError:
            return b""
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        *folders, name = self._entry.name.split(b"/")
        within = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                inner = _open(folder, FOLDER, within)
                os.close(within)
                within = inner
            return _open(name, _FILE, within)
        finally:
            os.close(within)


def _open(name: bytes, flags: int, within: int) -> int:
    try:
        return os.open(name, flags, dir_fd=within)
    except PermissionError:
        descriptor, mode = opened_to_read(name, flags, within)
        os.fchmod(descriptor, mode)
        return descriptor
