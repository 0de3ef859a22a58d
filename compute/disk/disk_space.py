"""The space on the node's disk, looked at once in a while, so that whoever tells of it never waits for a disk."""

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import NamedTuple

EVERY_SECONDS = 15.0


class Space(NamedTuple):
    """Bytes of the file system; both 0 as long as nobody has looked."""

    free: int = 0
    size: int = 0


class DiskSpace:
    def __init__(self, folder: Path) -> None:
        self.space = Space()
        self._folder = folder

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError):
                found = await asyncio.to_thread(shutil.disk_usage, self._folder)
                self.space = Space(free=found.free, size=found.total)
            await asyncio.sleep(EVERY_SECONDS)

    def __repr__(self) -> str:
        return f"<DiskSpace of {self._folder}: {self.space.free:,} bytes free of {self.space.size:,}>"
