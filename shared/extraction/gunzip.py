"""Decompression of a gzip file of any number of members, piece by piece, in bounded memory."""

from collections.abc import Iterator

from isal import igzip_lib

from shared.errors import ArchiveDamaged

PIECE_BYTES = 1 << 20

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub gives an instance


class Gunzip:
    """Fed with compressed bytes in whatever portions; gives pieces of at most 1 MiB, however well they compress.

    Each member's CRC and length (RFC 1952) are checked. Zeros after a member are skipped, as gzip does. Raises
    ArchiveDamaged, from `close()` where the last member is not complete.
    """

    def __init__(self) -> None:
        self._member = _new_member()
        self._inside = False
        self._members = 0

    def __repr__(self) -> str:
        return f"<Gunzip members={self._members} inside={self._inside}>"

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or self._inside:
            if not self._inside:
                data = self._next_member(data)
                continue
            piece = self._decompress(data)
            if piece:
                yield piece
            if self._member.eof:
                self._inside = False
                self._members += 1
                data = self._member.unused_data
            elif self._member.needs_input:
                return
            else:
                data = b""  # the decompressor keeps what it has not come to

    def close(self) -> None:
        if self._inside or not self._members:
            raise ArchiveDamaged("The archive ends too early: its compressed data is not complete.")

    def _next_member(self, data: bytes) -> bytes:
        data = data.lstrip(b"\x00") if self._members else data
        if data:
            self._member = _new_member()
            self._inside = True
        return data

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, PIECE_BYTES)
        except _IsalError as error:
            raise ArchiveDamaged(f"The archive's compressed data is damaged: {error}.") from error


def _new_member() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
