"""Archives with their indexes, made as a compute node makes them, and trees to compare (no tests in here)."""

import os
import random
import stat
import tempfile
from pathlib import Path

import msgspec

from compute.archive.stream import ArchiveStream, ArchiveThreads
from shared.protocol.published_facts import PublishedFacts

TIME = 1_700_000_000
Plan = list[tuple[list[bytes], str, int, int]]
"""Names of a path, kind, mode and size of each entry; see `plant`."""


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """`index` is empty where the archive has only one block, and so none."""

    archive: bytes
    index: bytes
    index_sha256: str
    summary: PublishedFacts


async def packed(root: Path, *, part_bytes: int = 1 << 20) -> Packed:
    threads = ArchiveThreads(at_once=1, compressing=1)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            async with ArchiveStream(root, threads, part_bytes=part_bytes, scratch=Path(scratch)) as stream:
                archive = b"".join([bytes(part.content) async for part in stream])
                index, index_sha256 = b"", ""
                if stream.index is not None:
                    with stream.index.content() as content:
                        index, index_sha256 = bytes(content), stream.index.sha256
            return Packed(archive=archive, index=index, index_sha256=index_sha256, summary=stream.summary)
    finally:
        threads.close()


def plant(root: Path, plan: Plan) -> None:
    """Make a tree; what cannot be made because of an earlier entry is passed over."""
    files: list[Path] = []
    made: list[tuple[Path, int, int]] = []
    for parts, kind, mode, size in plan:
        path = root.joinpath(*map(os.fsdecode, parts))
        if any(parent.is_symlink() for parent in path.parents):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "folder":
                    path.mkdir()
                    made.append((path, mode | 0o700, size))
                case "symlink":
                    path.symlink_to("../" * (size % len(parts)) + os.fsdecode(parts[0]))
                case "hard link" if files:
                    path.hardlink_to(files[size % len(files)])
                case _:
                    with path.open("xb") as new:
                        new.write(random.Random(size).randbytes(size))
                    files.append(path)
                    made.append((path, mode | 0o600, size))
        except (FileExistsError, NotADirectoryError):
            continue
    for path, mode, size in reversed(made):
        path.chmod(mode)
        os.utime(path, (TIME, TIME - size))


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """All that an archive keeps of a tree, by relative path."""
    found: dict[str, tuple[object, ...]] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        kind, mode, content = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), b""
        if path.is_symlink():
            mode, content = 0, os.fsencode(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[name] = (kind, mode, int(status.st_mtime), content, first.setdefault(status.st_ino, name))
    return found
