"""Small archives, packed by the thread that has just gathered the result: another one's turn costs more.

What is packed so waits in memory for its turn to be sent, so only so many at a time are; all others are packed when it
is their turn (compute/archive/stream.py), to the same bytes.
"""

import hashlib
import threading
import time
import weakref
from pathlib import Path

from compute.archive.entry_pieces import EntryDigests
from compute.archive.gzip_blocks import LEVEL, GzipMember, compress_block
from compute.archive.manifest import ContentManifest
from compute.archive.tar_stream import TarStream
from compute.disk.result_contents import ResultContents
from shared.protocol.published_facts import PublishedFacts

SMALL_BYTES = 64 << 10
"""Of the tar, which compressing makes hardly larger."""
MOST_AT_ONCE = 64


class SmallArchive:
    """The whole archive with its manifest, and what is to be told of it."""

    def __init__(self, content: bytes, manifest: ContentManifest, summary: PublishedFacts) -> None:
        self.content = memoryview(content)
        self.md5 = hashlib.md5(content, usedforsecurity=False).digest()
        self.manifest = manifest
        self.summary = summary

    def __repr__(self) -> str:
        return f"<SmallArchive of {len(self.content)} bytes>"


class SmallArchives:
    """Room for so many of them; what nobody refers to any more takes none. May be used by any thread."""

    def __init__(self, *, level: int = LEVEL, most: int = MOST_AT_ONCE) -> None:
        self._level = level
        self._room = threading.Semaphore(most)

    def __repr__(self) -> str:
        return f"<SmallArchives level={self._level}>"

    def pack(self, root: Path, contents: ResultContents) -> SmallArchive | None:
        """None if it is not small, cannot be read, or there is no room. Blocks."""
        if not self._room.acquire(blocking=False):
            return None
        try:
            archive = self._packed(root, contents)
        except BaseException:
            self._room.release()
            raise
        if archive is None:
            self._room.release()
        else:
            weakref.finalize(archive, self._room.release).atexit = False
        return archive

    def _packed(self, root: Path, contents: ResultContents) -> SmallArchive | None:
        begun = time.monotonic()
        tar = TarStream(root, contents)
        blocks = tar.blocks()
        try:
            raw = next(blocks)
        except OSError:
            return None  # whoever packs it in its turn tells what is wrong
        finally:
            blocks.close()
        if len(raw) > SMALL_BYTES:
            return None
        manifest = ContentManifest(root)  # small as it is, it is never in a file
        manifest.add(EntryDigests().add(raw, tar.take_lines()))
        manifest.finish()
        member = GzipMember()
        content = member.header() + member.append(compress_block(raw, self._level)) + member.trailer()
        sha256 = hashlib.sha256(content).digest()
        summary = member.summary(
            tar, sha256=sha256, content_digest=manifest.content_digest, seconds=time.monotonic() - begun
        )
        return SmallArchive(content, manifest, summary)
