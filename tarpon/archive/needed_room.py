"""Room that is needed for what is to be fetched, asked before any of its content comes.

How large files are is known, and from an index how much of them is no hole. A result that is not known so well is
fetched, and its disk may turn out to be too small.
"""

from collections.abc import Sequence

from shared.extraction.room import Room
from shared.extraction.tar_reader import Member
from tarpon.archive.contents import Contents, walk
from tarpon.transfer.download import in_thread


async def claim_all(contents: Contents, room: Room, total_bytes: int) -> int:
    """How much was claimed. Raise NoSpaceForResult where all files, of `total_bytes` with their holes, do not fit."""
    needed_bytes = min(total_bytes, await _needed(contents, room, None))
    room.claim(needed_bytes)
    return needed_bytes


async def claim_files(contents: Contents, room: Room, members: Sequence[Member]) -> None:
    """Raise NoSpaceForResult where these entries do not fit; their files are in the order of their contents."""
    total_bytes = sum(member.size_bytes for member in members)
    if not room.has(total_bytes):
        total_bytes = min(total_bytes, await _needed(contents, room, members))
    room.claim(total_bytes)


async def _needed(contents: Contents, room: Room, members: Sequence[Member] | None) -> int:
    if await in_thread(room.keeps_holes):
        files = None if members is None else [member for member in members if member.size_bytes]
        return await contents.data_bytes(files)
    needed_bytes = 0

    def add(member: Member) -> None:
        nonlocal needed_bytes
        if member.size_bytes <= room.free_bytes:  # others are left out, and told
            needed_bytes += member.size_bytes

    if members is None:
        await walk(contents, add)
    else:
        for member in members:
            add(member)
    return needed_bytes
