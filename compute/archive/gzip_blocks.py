"""Blocks of one gzip member, which can be compressed, and decompressed, independently.

Each block is raw deflate (RFC 1951) from a fresh state and ends with a full flush, so that it stands on a byte boundary
and refers to nothing before it; the CRCs are joined. What does not compress is stored as it is, which costs a
twentieth. A reader sees one ordinary member (RFC 1952), which matters: many
streaming readers stop after the first.
"""

import struct
import time
import zlib

import msgspec
from isal import isal_zlib

from compute.archive.tar_stream import TarStream
from shared.protocol.published_facts import PublishedFacts
from shared.runtime.holes import least_data_bytes

LEVEL = 2
"""ISA-L's level: some nine times as fast as gzip's default for two percent more bytes.

Not 1: there the same bytes now and then give other compressed ones when several threads work (6 of 27,000 blocks), and
a node that goes on with an upload relies on packing the same tree to the same archive.
"""

# No flags, no time, XFL 4 (fastest), operating system unknown: the same bytes on each machine.
_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x04\xff"
_EMPTY_FINAL_BLOCK = b"\x03\x00"
_RAW_DEFLATE = -15
_MOST_STORED = 0xFFFF
_SMALL_BYTES = 64 << 10
"""Holes in so little are not worth looking for."""
_SAMPLES = 4
_SAMPLE_BYTES = 4096


class CompressedBlock(msgspec.Struct, frozen=True, kw_only=True):
    """One block: `data` can be decompressed alone as raw deflate to `raw_bytes` bytes with the CRC `crc32`.

    `content_bytes` of those need room on a disk that keeps holes. It took so many `seconds`, of which a thread had a
    processor for `processor_seconds`.
    """

    data: bytes
    crc32: int
    raw_bytes: int
    content_bytes: int
    level: int
    seconds: float = 0.0
    processor_seconds: float = 0.0

    @property
    def is_stored(self) -> bool:
        return len(self.data) > self.raw_bytes


def compress_block(raw: bytes, level: int = LEVEL) -> CompressedBlock:
    """Compress one block. Pure but for its times, and free of the interpreter's lock for most of its time.

    Levels up to 3 are ISA-L's, others zlib's.
    """
    begun, processor_begun = time.monotonic(), time.thread_time()
    data = _stored(raw) if _is_noise(raw) else _deflated(raw, level)
    content_bytes = least_data_bytes(raw) if len(raw) > _SMALL_BYTES else len(raw)
    return CompressedBlock(
        data=data,
        crc32=isal_zlib.crc32(raw),
        raw_bytes=len(raw),
        content_bytes=content_bytes,
        level=level,
        seconds=time.monotonic() - begun,
        processor_seconds=time.thread_time() - processor_begun,
    )


def _deflated(raw: bytes, level: int) -> bytes:
    if level > isal_zlib.ISAL_BEST_COMPRESSION:
        slow = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE)
        return slow.compress(raw) + slow.flush(zlib.Z_FULL_FLUSH)
    deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _RAW_DEFLATE)
    return bytes(deflate.compress(raw) + deflate.flush(isal_zlib.Z_FULL_FLUSH))


def _is_noise(raw: bytes) -> bool:
    """Whether a few samples say that compressing gains nothing, as with what is compressed or encrypted already."""
    if len(raw) < _SAMPLES * _SAMPLE_BYTES * 16:
        return False
    step = len(raw) // _SAMPLES
    sample = b"".join(raw[at : at + _SAMPLE_BYTES] for at in range(0, step * _SAMPLES, step))
    return len(_deflated(sample, LEVEL)) >= len(sample)


def _stored(raw: bytes) -> bytes:
    """As it is, in deflate's stored blocks, which end on a byte boundary."""
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    for at in range(0, len(raw), _MOST_STORED):
        piece = view[at : at + _MOST_STORED]
        pieces += [struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF), piece]
    return b"".join(pieces)


class GzipMember:
    """Gives the bytes to write: `header()`, then `append(block)` for each block in order, then `trailer()`.

    `size_bytes` is how many it has given so far.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._crc32 = 0
        self._raw_bytes = 0

    def __repr__(self) -> str:
        return f"<GzipMember raw_bytes={self._raw_bytes}>"

    def header(self) -> bytes:
        return self._given(_HEADER)

    def append(self, block: CompressedBlock) -> bytes:
        self._crc32 = isal_zlib.crc32_combine(self._crc32, block.crc32, block.raw_bytes)
        self._raw_bytes += block.raw_bytes
        return self._given(block.data)

    def trailer(self) -> bytes:
        return self._given(_EMPTY_FINAL_BLOCK + struct.pack("<II", self._crc32, self._raw_bytes & 0xFFFFFFFF))

    def _given(self, data: bytes) -> bytes:
        self.size_bytes += len(data)
        return data

    def summary(self, tar: TarStream, *, sha256: bytes, content_digest: str, seconds: float) -> PublishedFacts:
        """What is known of the whole archive of `tar` once it is made, which took so long, and before it is sent."""
        return PublishedFacts(
            size_bytes=self.size_bytes,
            sha256=sha256.hex(),
            entries=tar.entries,
            raw_bytes=tar.raw_bytes,
            warnings=tuple(tar.warnings),
            warnings_count=tar.warnings_count,
            archive_seconds=seconds,
            left_out_count=tar.left_out_count,
            content_digest=content_digest,
        )
