"""Inline inputs: a few KiB in the job itself, as a file, or as a tar archive that becomes a folder."""

import asyncio
import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

from compute.disk.input_files import FILE_MODE, PROGRAM_MODE
from compute.inputs.failures import not_placed
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace, told_of
from shared.jobs.inputs.kinds import GZIP_TYPES, InlineInputParams, read_params
from shared.jobs.paths import parts_of

UNPACKED_BYTES = 64 << 20
"""So much an archive may hold. Of 64 KiB no compression makes more that is worth anything."""
UNPACKED_ENTRIES = 10_000
_OWN_MODE = 0o700
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class InlineInputs:
    """Writes what is in the job."""

    def __repr__(self) -> str:
        return "<InlineInputs>"

    async def provide(self, place: InputPlace, order: InputOrder) -> Path:  # noqa: ARG002  # what it holds is little
        await asyncio.to_thread(self.write, place)
        return place.path

    def write(self, place: InputPlace) -> None:
        """As `provide`, for who is in a thread anyway. Blocks."""
        kind, content = read_params(place.source.source, InlineInputParams).read()
        with told_of(place.target):
            if kind in GZIP_TYPES:
                _unpack(content, place)
            else:
                _write_file(place.path, content, FILE_MODE)


def _write_file(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, _FLAGS, mode), "wb") as file:
        file.write(content)


def _unpack(content: bytes, place: InputPlace) -> None:
    """Files and folders alone, so that nothing in there leads anywhere else."""
    place.path.mkdir(_OWN_MODE)
    left = UNPACKED_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for number, member in enumerate(archive):
                left -= member.size
                if left < 0 or number >= UNPACKED_ENTRIES:
                    raise not_placed(
                        f"The inline archive for {place.target[:200]} holds more than {UNPACKED_ENTRIES:,} entries,"
                        f" or more than {UNPACKED_BYTES >> 20} MiB; send it with `tarpon data put`."
                    )
                _unpack_member(archive, member, place)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError):
        raise not_placed(f"The inline content for {place.target[:200]} is no tar archive compressed by gzip.") from None


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, place: InputPlace) -> None:
    parts = parts_of(member.name)
    is_file, is_folder = member.isreg() and not member.issparse(), member.isdir()
    if member.name.startswith("/") or ".." in parts or "\0" in member.name or not (is_file or is_folder):
        raise not_placed(
            f"The inline archive for {place.target[:200]} has {member.name[:80]!r}: files and folders alone are"
            " possible, below the target."
        )
    path = place.path.joinpath(*parts)
    if is_folder:
        path.mkdir(_OWN_MODE, parents=True, exist_ok=True)
        return
    found = archive.extractfile(member)
    assert found is not None
    path.parent.mkdir(_OWN_MODE, parents=True, exist_ok=True)
    _write_file(path, found.read(), PROGRAM_MODE if member.mode & 0o100 else FILE_MODE)
