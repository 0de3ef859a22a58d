"""The contents of a plain result: its entries by the manifest, and its files by signed GETs, many at once.

Each file is held to the digest that the manifest has of it. URLs are asked for some hundred at a time.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import IO, NamedTuple

import aiohttp

from shared.errors import Damaged, DigestMismatch
from shared.extraction.manifest_reading import ManifestDamaged, manifest_entries
from shared.extraction.tar_reader import Member
from shared.protocol.rest import ResultParams
from shared.protocol.results.content_manifest import ManifestFile
from shared.protocol.results.object_names import object_name
from shared.runtime.aio import pipelined
from tarpon.archive.manifest import members_with_digests
from tarpon.transfer.download import Download, in_thread
from tarpon.transfer.stored_object import StoredObject

BATCH_FILES = 256
SMALL_BYTES = 1 << 20
"""A file up to this size comes whole into memory; a larger one is handed on as it comes."""
BATCH_BYTES = 8 << 20
"""Of small files that are in memory together; as many are on their way meanwhile."""
AT_ONCE = 32

Take = Callable[[Member | memoryview], None]
"""Takes a file and then its content, piece by piece. It is called in a thread."""
OnBytes = Callable[[int, int], None]
"""Told how many bytes have arrived, and how many there will be."""

GiveUrls = Callable[[Sequence[str], bool], Awaitable[Sequence[str]]]
"""Gives a signed GET for each of these names of objects. The second one is whether S3 has refused the last ones."""


class _Wanted(NamedTuple):
    member: Member
    entry: ManifestFile

    @property
    def is_small(self) -> bool:
        return self.entry.size <= SMALL_BYTES


class _Batch(NamedTuple):
    """`contents` is None of one large file."""

    wanted: list[_Wanted]
    contents: list[bytes] | None

    def give(self, take: Take) -> None:
        for each, content in zip(self.wanted, self.contents or (), strict=True):
            take(each.member)
            if content:
                take(memoryview(content))


class PlainContents:
    """Of the result that `params` tell of, whose `manifest` has been fetched and checked."""

    def __init__(
        self, manifest: IO[bytes], session: aiohttp.ClientSession, params: ResultParams, give_urls: GiveUrls
    ) -> None:
        self._manifest = manifest
        self._session = session
        self._params = params
        self._give_urls = give_urls

    def __repr__(self) -> str:
        return f"<PlainContents of execution {self._params.execution_id}>"

    def entries(self) -> Iterator[Member]:
        for member, _ in self.entries_with_digests():
            yield member

    def entries_with_digests(self) -> Iterator[tuple[Member, bytes]]:
        """Each with the SHA-256 of its content, which is empty of what is no file."""
        return members_with_digests(self._manifest, self._params)

    async def data_bytes(self, files: Sequence[Member] | None) -> int:  # noqa: ARG002  # the protocol's
        return 0

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        total_bytes, done_bytes = sum(file.size_bytes for file in files), 0
        batches, ready = self._batches(files), asyncio.Queue[_Batch | None](1)

        async def fetch() -> None:
            """A batch while the one before is placed."""
            while (wanted := await in_thread(lambda: next(batches, None))) is not None:
                await ready.put(_Batch(wanted, await self.whole(wanted) if wanted[0].is_small else None))
            await ready.put(None)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fetch(), name="files of a result")
                while (batch := await ready.get()) is not None:
                    if batch.contents is None:
                        await self._hand_on(batch.wanted[0], take)
                    else:
                        await in_thread(partial(batch.give, take))
                    done_bytes += sum(each.entry.size for each in batch.wanted)
                    on_bytes(done_bytes, total_bytes)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason is enough

    async def part_readers(self, files: Sequence[Member]) -> "list[_PartOfObject]":
        found = await in_thread(lambda: list(self._found(files)))
        return [_PartOfObject(self, each) for each in found]

    async def whole(self, wanted: Sequence[_Wanted]) -> list[bytes]:
        """The contents of small files. Raises DownloadFailed, Damaged."""
        urls = await self._urls([each for each in wanted if each.entry.size])
        contents = [b""] * len(wanted)

        async def get(number: int) -> None:
            each = wanted[number]
            if each.entry.size:
                source = self._object(each, urls[each.member.content_at])
                async with aclosing(source.read(0, each.entry.size)) as portions:
                    contents[number] = b"".join([portion async for portion in portions])
            found = hashlib.sha256(contents[number]).hexdigest()
            if found != each.entry.sha256:
                raise DigestMismatch(_what(self._params, each), each.entry.sha256, found)

        await pipelined(range(len(wanted)), get, at_once=AT_ONCE)
        return contents

    async def object_of(self, wanted: _Wanted) -> StoredObject:
        return self._object(wanted, (await self._urls([wanted]))[wanted.member.content_at])

    def _batches(self, files: Sequence[Member]) -> Iterator[list[_Wanted]]:
        batch, size_bytes = list[_Wanted](), 0
        for wanted in self._found(files):
            if not wanted.is_small:
                if batch:
                    yield batch
                yield [wanted]
                batch, size_bytes = [], 0
                continue
            batch.append(wanted)
            size_bytes += wanted.entry.size
            if len(batch) == BATCH_FILES or size_bytes >= BATCH_BYTES:
                yield batch
                batch, size_bytes = [], 0
        if batch:
            yield batch

    def _found(self, files: Sequence[Member]) -> Iterator[_Wanted]:
        """What the manifest says of these files, which are in its order."""
        self._manifest.seek(0)
        entries = enumerate(manifest_entries(self._manifest))
        for member in files:
            entry = next((entry for number, entry in entries if number == member.content_at), None)
            if not isinstance(entry, ManifestFile):
                raise ManifestDamaged("a link in it leads to what is no file")
            yield _Wanted(member, entry)

    async def _hand_on(self, large: _Wanted, take: Take) -> None:
        await in_thread(partial(take, large.member))
        source = await self.object_of(large)
        await Download(source, sha256=large.entry.sha256).into(_Taking(take))

    async def _urls(self, wanted: Sequence[_Wanted]) -> dict[int, str]:
        """By the numbers of the entries."""
        names = [object_name(each.entry.name) for each in wanted]
        urls = await self._give_urls(names, False) if names else ()  # a Callable names nothing
        return {each.member.content_at: url for each, url in zip(wanted, urls, strict=True)}

    def _object(self, wanted: _Wanted, url: str) -> StoredObject:
        async def renewed() -> str:
            return (await self._give_urls([object_name(wanted.entry.name)], True))[0]  # as above

        return StoredObject(
            self._session, url, size_bytes=wanted.entry.size, what=_what(self._params, wanted), renew=renewed
        )


class _PartOfObject:
    """A small file is fetched once and checked; of a large one only what is asked for is, which nothing can check."""

    def __init__(self, contents: PlainContents, wanted: _Wanted) -> None:
        self._contents = contents
        self._wanted = wanted
        self._whole: bytes | None = None
        self._object: StoredObject | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<_PartOfObject of {self._contents!r}>"

    async def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        async with self._opening:
            if self._wanted.is_small and self._whole is None:
                (self._whole,) = await self._contents.whole([self._wanted])
            elif not self._wanted.is_small and self._object is None:
                self._object = await self._contents.object_of(self._wanted)
        if self._object is None:
            return (self._whole or b"")[start:end]
        async with aclosing(self._object.read(start, end)) as portions:
            content = b"".join([portion async for portion in portions])
        if len(content) != end - start:
            raise Damaged(f"{self._object.what} is shorter than its manifest says.")
        return content

    def close(self) -> None:
        self._whole = None


class _Taking:
    """A sink of one file."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def __repr__(self) -> str:
        return "<_Taking>"

    def feed(self, data: bytes) -> None:
        self._take(memoryview(data))

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _what(params: ResultParams, wanted: _Wanted) -> str:
    return f"{wanted.entry.shown[:200]!r} of the result of execution {params.execution_id}"
