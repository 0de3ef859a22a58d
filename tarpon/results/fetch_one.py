"""One result, fetched into a place of its own: all of it, chosen paths of it, or its archive."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import aiohttp
import msgspec

from shared.errors import Damaged, DigestMismatch, DownloadFailed
from shared.extraction.announced import announced
from shared.extraction.content_check import ContentCheck
from shared.extraction.extract import Extracted, Extraction
from shared.extraction.member_placing import MemberPlacing
from shared.extraction.oddities import Oddities
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.room import Room
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.rest import ResultParams
from tarpon.archive.contents import (
    ENTRIES_AT_ONCE,
    Contents,
    opened,
    walk,
)
from tarpon.archive.links import files_behind, names_behind
from tarpon.archive.needed_room import claim_all, claim_files
from tarpon.archive.plain import GiveUrls, OnBytes
from tarpon.archive.selection import Chosen, Selection, missing_targets, standing_alone
from tarpon.results.staging import remove
from tarpon.transfer.byte_ranges import CONNECTIONS
from tarpon.transfer.download import Renew, archive_download, in_thread, made_in_thread
from tarpon.transfer.partial_file import PartialFile


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One result, and what is needed to fetch it. `on_bytes` is told how many bytes have arrived, and of how many."""

    session: aiohttp.ClientSession
    params: ResultParams
    renew: Renew
    give_urls: GiveUrls | None = None
    on_bytes: OnBytes
    connections: int = CONNECTIONS
    rules: PlacementRules = msgspec.field(default_factory=PlacementRules)

    def opened(self, *, with_xattrs: bool = False) -> AbstractAsyncContextManager[Contents]:
        """Its contents, as tarpon.archive.contents.opened."""
        return opened(self.session, self.params, renew=self.renew, give_urls=self.give_urls, with_xattrs=with_xattrs)


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken of a result by its paths."""

    files: int = 0
    raw_bytes: int = 0
    oddities: Oddities = msgspec.field(default_factory=Oddities)


async def fetch_whole(source: Source, target: Path, room: Room) -> Extracted:
    """Extract the result as it arrives. Raises NoSpaceForResult, and as Download.into and Extraction do.

    Of an archive that is damaged, or that cannot be fetched, nothing stays, and its room is free for another one.
    """
    params = source.params
    if params.is_plain:
        return await _fetch_plain(source, target, room)
    claimed_bytes = await _claim_whole(source, room) if params.entries else 0
    try:
        return await _extract(source, target)
    except (Damaged, DownloadFailed):
        await remove(target)
        room.give_back(claimed_bytes)
        raise


async def _extract(source: Source, target: Path) -> Extracted:
    params = source.params
    bounds = announced(params)
    what = f"the result of execution {params.execution_id}"
    check = ContentCheck(params.content_digest, what) if params.content_digest else None
    sink = await made_in_thread(
        lambda: Extraction(
            target, max_bytes=bounds.max_bytes, max_entries=bounds.max_entries, rules=source.rules, check=check
        ),
        Extraction.abort,
    )
    download = archive_download(
        source.session,
        params,
        renew=source.renew,
        on_progress=lambda done_bytes: source.on_bytes(done_bytes, params.size),
        connections=source.connections,
    )
    await download.into(sink)
    return sink.extracted


async def _fetch_plain(source: Source, target: Path, room: Room) -> Extracted:
    """Its entries are in memory, of which there are no more than the operator allows."""
    async with source.opened() as contents:
        members: list[Member] = []
        await walk(contents, members.append)
        members = await in_thread(lambda: sorted(members, key=_placed_when))
        await claim_files(contents, room, members)
        placement = await _place_all(source, contents, members, target)
    return Extracted(
        entries=placement.announced.entries,
        raw_bytes=placement.announced.raw_bytes,
        files=placement.files,
        oddities=placement.oddities,
    )


def _placed_when(member: Member) -> int:
    """Folders, then files, then links to them."""
    return {MemberKind.DIRECTORY: 0, MemberKind.FILE: 1}.get(member.kind, 2)


async def _claim_whole(source: Source, room: Room) -> int:
    """How much was claimed. The index is fetched only where it is in doubt that the result fits."""
    params = source.params
    if room.has(params.raw_size):
        room.claim(params.raw_size)
        return params.raw_size
    if params.index_url and params.index_size:
        async with source.opened() as contents:
            return await claim_all(contents, room, params.raw_size)
    return 0


async def fetch_archive(source: Source, file: PartialFile) -> None:
    """Bring the archive into `file`, which goes on where it ended. What is damaged is discarded there."""
    await in_thread(file.open)
    while await in_thread(file.read_on):
        pass
    try:
        if file.done_bytes:
            try:
                await _fill(source, file)
            except DigestMismatch:
                await in_thread(file.restart)  # whatever ended the earlier try may have damaged what it left
            else:
                return
        await _fill(source, file)
    except Damaged:
        await in_thread(file.discard)
        raise


async def _fill(source: Source, file: PartialFile) -> None:
    params = source.params
    download = archive_download(
        source.session,
        params,
        renew=source.renew,
        on_progress=lambda done_bytes: source.on_bytes(done_bytes, params.size),
        connections=source.connections,
        done_bytes=file.done_bytes,
        digest=file.digest,
    )
    await download.into(file)


async def fetch_paths(
    source: Source, selection: Selection, target: Path, check: Callable[[Sequence[Member]], None], room: Room
) -> Picked:
    """Extract what `selection` takes, and the folders that it is in.

    Before any content is fetched, `check` gets what there will be, in a thread; it may raise. Nothing is made where
    nothing is taken. Raises NoSpaceForResult.
    """
    with_xattrs = source.rules.xattrs or source.rules.capabilities
    async with source.opened(with_xattrs=with_xattrs) as contents:
        chosen = await _chosen(contents, selection)
        targets = await files_behind(contents, missing_targets(chosen.members))
        members = await in_thread(lambda: standing_alone(chosen.members, targets))
        await in_thread(lambda: check(members))
        if not members:
            return Picked()
        await claim_files(contents, room, members)
        placement = await _place_all(source, contents, members, target)
    return Picked(files=placement.files, raw_bytes=placement.announced.raw_bytes, oddities=placement.oddities)


async def _place_all(source: Source, contents: Contents, members: Sequence[Member], target: Path) -> MemberPlacing:
    bounds = announced(source.params)
    placement = await made_in_thread(
        lambda: MemberPlacing(target, max_bytes=bounds.max_bytes, max_entries=bounds.max_entries, rules=source.rules),
        MemberPlacing.abort,
    )
    try:
        await _place(contents, members, placement, source.on_bytes)
    finally:
        await in_thread(placement.abort)
    return placement


async def _chosen(contents: Contents, selection: Selection) -> Chosen:
    chosen = Chosen(selection)
    await walk(contents, chosen.add)
    if behind := await names_behind(contents, selection, chosen.members):
        chosen = Chosen(selection, also=behind)
        await walk(contents, chosen.add)
    return chosen


async def _place(contents: Contents, members: Sequence[Member], placement: MemberPlacing, on_bytes: OnBytes) -> None:
    """Folders, then files in the order of their contents, then links, as standing_alone gives them."""

    def take(event: Member | memoryview) -> None:
        if isinstance(event, Member):
            placement.begin(event)
        else:
            placement.write(event)

    def begin_all(some: Sequence[Member]) -> None:
        for member in some:
            placement.begin(member)

    async def begin(some: Sequence[Member]) -> None:
        for at in range(0, len(some), ENTRIES_AT_ONCE):
            await in_thread(partial(begin_all, some[at : at + ENTRIES_AT_ONCE]))

    kinds = [member.kind for member in members]
    first = next((at for at, kind in enumerate(kinds) if kind is not MemberKind.DIRECTORY), len(kinds))
    after = next((at for at in range(first, len(kinds)) if kinds[at] is not MemberKind.FILE), len(kinds))
    await begin(members[:first])
    await contents.read(members[first:after], take, on_bytes)
    await begin(members[after:])
    await in_thread(placement.finish)
