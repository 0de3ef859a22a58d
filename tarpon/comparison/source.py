"""A result that is compared: its entries, each file with the digest of its content, and parts of its files."""

import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import IO, Protocol

from shared.errors import InvalidInput
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.rest import ResultParams
from tarpon.archive.contents import Contents, opened, walk
from tarpon.archive.manifest import members_with_digests
from tarpon.archive.plain import PlainContents
from tarpon.comparison.entries import ComparedEntry, of_member
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.offered import renewer, url_giver
from tarpon.transfer.download import Download, Spool, in_thread, manifest_of
from tarpon.transfer.stored_object import object_session

MOST_WITHOUT_MANIFEST = 100_000
"""Of the files of a result that has none all are read, and their places are in memory meanwhile."""
IN_MEMORY_BYTES = 4 << 20
"""Of a manifest or of digests; what is more goes to a temporary file."""
_DIGEST_BYTES = 32


class TooManyFilesToRead(InvalidInput):
    """A result without a manifest has too many files to be compared."""

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"The result of execution {execution} has no manifest of its content, and more than"
            f" {MOST_WITHOUT_MANIFEST:,} files.",
            hint="Nodes of this version make one: run the job again. Or get both results, and compare the folders.",
        )


class ComparedSource(Protocol):
    @property
    def contents(self) -> Contents: ...

    def entries(self) -> Iterator[ComparedEntry]:
        """In the order of the result. May be called again; blocks. Raises Damaged."""


@asynccontextmanager
async def opened_source(
    client: OrchestratorCalls, job: str, params: ResultParams, *, namespace: str
) -> AsyncIterator[ComparedSource]:
    """Raises DownloadFailed, Damaged and TooManyFilesToRead."""
    renew = renewer(client, job, params, namespace=namespace)
    give_urls = url_giver(client, job, params, namespace=namespace)
    async with (
        object_session(client.trust) as session,
        opened(session, params, renew=renew, give_urls=give_urls) as contents,
    ):
        if isinstance(contents, PlainContents):
            yield _Plain(contents)
        elif params.manifest_url and params.manifest_size:
            with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as manifest:
                source = manifest_of(session, params, renew=renew)
                await Download(source, sha256=params.manifest_sha256).into(Spool(manifest))
                yield _WithManifest(contents, manifest, params)
        else:
            with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as digests:
                await _digest(contents, digests, params.execution_id)
                yield _Read(contents, digests)


class _WithManifest:
    """An archive, and the manifest beside it."""

    def __init__(self, contents: Contents, manifest: IO[bytes], params: ResultParams) -> None:
        self.contents = contents
        self._manifest = manifest
        self._params = params

    def __repr__(self) -> str:
        return f"<_WithManifest {self.contents!r}>"

    def entries(self) -> Iterator[ComparedEntry]:
        for member, sha256 in members_with_digests(self._manifest, self._params):
            yield of_member(member, sha256)


class _Plain:
    def __init__(self, contents: PlainContents) -> None:
        self.contents = contents

    def __repr__(self) -> str:
        return f"<_Plain {self.contents!r}>"

    def entries(self) -> Iterator[ComparedEntry]:
        for member, sha256 in self.contents.entries_with_digests():
            yield of_member(member, sha256)


class _Read:
    """All its files were read; `digests` are those of their contents, in their order."""

    def __init__(self, contents: Contents, digests: IO[bytes]) -> None:
        self.contents = contents
        self._digests = digests

    def __repr__(self) -> str:
        return f"<_Read {self.contents!r}>"

    def entries(self) -> Iterator[ComparedEntry]:
        self._digests.seek(0)
        for member in self.contents.entries():
            is_file = member.kind is MemberKind.FILE
            yield of_member(member, self._digests.read(_DIGEST_BYTES) if is_file else b"")


async def _digest(contents: Contents, digests: IO[bytes], execution: str) -> None:
    files: list[Member] = []

    def look(member: Member) -> None:
        if member.kind is MemberKind.FILE:
            files.append(member)
            if len(files) > MOST_WITHOUT_MANIFEST:
                raise TooManyFilesToRead(execution)

    await walk(contents, look)
    if files:
        content = _Digesting(digests)
        await contents.read(files, content.take, lambda _done, _total: None)
        await in_thread(content.end)


class _Digesting:
    """Writes the digest of each file that it is given, one after the other."""

    def __init__(self, digests: IO[bytes]) -> None:
        self._digests = digests
        self._digest = hashlib.sha256()
        self._has_begun = False

    def take(self, event: Member | memoryview) -> None:
        if isinstance(event, Member):
            if self._has_begun:
                self.end()
            self._has_begun, self._digest = True, hashlib.sha256()
        else:
            self._digest.update(event)

    def end(self) -> None:
        self._digests.write(self._digest.digest())
