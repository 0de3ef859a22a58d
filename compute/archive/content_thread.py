"""The thread in which the digests of an archive's content are made, beside those that compress its blocks.

Each archive has one of its own, as a block has to wait for the one before it. Small ones, of one block, have none.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from compute.archive.entry_pieces import EntryDigests
from compute.archive.manifest import ContentManifest
from compute.archive.tar_stream import BLOCK_BYTES
from shared.protocol.archive_index import EntryLine


class ContentThread:
    """`add` the blocks of a tar, as to EntryDigests; after the last of these futures `manifest.finish()`."""

    def __init__(self, scratch: Path) -> None:
        self.manifest = ContentManifest(scratch)
        self._digests = EntryDigests()
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] = Future()
        self._last.set_result(None)
        self._stopping = False

    def __repr__(self) -> str:
        return f"<ContentThread of {self.manifest!r}>"

    def add(self, block: bytes, lines: Sequence[EntryLine]) -> "Future[None]":
        if self._thread is None and len(block) == BLOCK_BYTES:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="content")
        if self._thread is None:
            self._add(block, lines)
        else:
            self._last = self._thread.submit(self._add, block, lines)
        return self._last

    @property
    def is_idle(self) -> bool:
        return self._last.done()

    def close(self) -> "Future[None]":
        """What is done when the thread, which may be at a block, has left it."""
        self._stopping = True
        if self._thread is not None:
            if not self.is_idle:
                self._last = self._thread.submit(self.manifest.close)
            self._thread.shutdown(wait=False)
        if self.is_idle:
            self.manifest.close()
        return self._last

    def _add(self, block: bytes, lines: Sequence[EntryLine]) -> None:
        if not self._stopping:
            self.manifest.add(self._digests.add(block, lines))
