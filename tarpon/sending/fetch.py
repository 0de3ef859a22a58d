"""The way back of sent data: into files, each of which is there only when its digest is right."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from shared.errors import Damaged, DigestMismatch
from shared.jobs.inputs.manifest import DataFile, name_problem
from shared.protocol.namespaces.rest_data import DataFilesResponse, DataView, FileOfData
from shared.runtime.aio import pipelined
from tarpon.http.trust import ClientTrust
from tarpon.sending.problems import TargetInTheWay
from tarpon.transfer.stored_object import StoredObject, object_session

AT_ONCE = 8
SLICE_BYTES = 1 << 20
PART = ".tarpon-part"
"""What the name of a file ends with that is on its way."""


class FileCalls(Protocol):
    trust: ClientTrust

    async def data(self, data: str, *, namespace: str = "") -> DataView: ...
    async def data_files(self, data: str, *, first: int = 0, namespace: str = "") -> DataFilesResponse: ...


class FetchedData(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where the data is now, and how much had to be fetched: files that were there already, and right, were not."""

    data: DataView
    path: str
    fetched_files: int = 0
    fetched_bytes: int = 0


async def fetch_data(
    client: FileCalls,
    data: str,
    *,
    output_dir: str | os.PathLike[str] = "",
    namespace: str = "",
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> FetchedData:
    """A tree goes into `output_dir`, or a folder of the data's name; a single file into the one, or under that name.

    Raises TargetInTheWay where something else is in the place of a file, DownloadFailed, Damaged.
    """
    known = await client.data(data, namespace=namespace)
    called = data if data in known.names else f"sha256-{known.digest.removeprefix('sha256:')[:12]}"
    place = Path(os.path.abspath(output_dir)) if output_dir else Path.cwd()  # noqa: PTH100  # links stay as they are
    fetching = Fetching(client, known, place if output_dir else place / called, place / called, on_progress)
    await fetching.run(namespace or known.namespace)
    return FetchedData(
        data=known,
        path=str(fetching.path),
        fetched_files=fetching.fetched_files,
        fetched_bytes=fetching.fetched_bytes,
    )


class Fetching:
    """Into the folder `tree`, or, where the data is a single file, to `single`; `path` is which it was."""

    def __init__(
        self, client: FileCalls, known: DataView, tree: Path, single: Path, on_progress: Callable[[int, int], None]
    ) -> None:
        self.fetched_files = self.fetched_bytes = 0
        self.path = tree
        self._client = client
        self._known = known
        self._single = single
        self._on_progress = on_progress
        self._done_bytes = 0

    def __repr__(self) -> str:
        return f"<Fetching of {self._known.digest} to {self.path}>"

    async def run(self, namespace: str) -> None:
        first = 0
        async with object_session(self._client.trust) as session:
            while True:
                page = await self._client.data_files(self._known.digest, first=first, namespace=namespace)
                numbered = list(enumerate(page.files, first))
                await pipelined(numbered, lambda each: self._fetch(session, namespace, *each), at_once=AT_ONCE)
                if not page.next:
                    return
                first = page.next

    async def _fetch(self, session: aiohttp.ClientSession, namespace: str, number: int, given: FileOfData) -> None:
        file = given.file
        if file.path and (problem := name_problem(file.path)):
            raise Damaged(f"The data has a file {file.path[:80]!r} that {problem}")
        if not file.path:
            self.path = self._single
        target = self.path / file.path if file.path else self._single
        if not await asyncio.to_thread(_is_there, self.path, target, file):

            async def renewed() -> str:
                again = await self._client.data_files(self._known.digest, first=number, namespace=namespace)
                return again.files[0].url

            what = f"The file {file.path!r} of the data" if file.path else "The data"
            source = StoredObject(session, given.url, size_bytes=file.size, what=what, renew=renewed)
            await self._write(source, target, file)
            self.fetched_files += 1
            self.fetched_bytes += file.size
        self._done_bytes += file.size
        self._on_progress(self._done_bytes, self._known.size_bytes)

    async def _write(self, source: StoredObject, target: Path, file: DataFile) -> None:
        part = target.with_name(f"{target.name[:200]}{PART}")
        digest = hashlib.sha256()
        descriptor = await asyncio.to_thread(_made, part, 0o777 if file.executable else 0o666)
        try:
            if file.size:
                async with aclosing(source.read(0, file.size)) as portions:
                    async for portion in portions:
                        await asyncio.to_thread(_append, descriptor, digest, portion)
            _check(source, file, digest.hexdigest())
            await asyncio.to_thread(os.replace, part, target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(descriptor)


def _is_there(root: Path, target: Path, file: DataFile) -> bool:
    """Whether it is, by its bytes. Makes the folders on its way, none of which may be a link. Raises TargetInTheWay."""
    above = root if root != target else root.parent
    above.mkdir(parents=True, exist_ok=True)
    for part in target.relative_to(above).parent.parts:
        above /= part
        above.mkdir(exist_ok=True) if not above.is_symlink() else None
        if above.is_symlink() or not above.is_dir():
            raise TargetInTheWay(str(above))
    if not target.exists() and not target.is_symlink():
        return False
    if target.is_symlink() or not target.is_file() or target.stat().st_size != file.size:
        raise TargetInTheWay(str(target))
    with target.open("rb") as found:
        if hashlib.file_digest(found, "sha256").hexdigest() != file.sha256:
            raise TargetInTheWay(str(target))
    return True


def _check(source: StoredObject, file: DataFile, digest: str) -> None:
    if digest != file.sha256:
        raise DigestMismatch(source.what, file.sha256, digest)


def _made(path: Path, mode: int) -> int:
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def _append(descriptor: int, digest: "hashlib._Hash", portion: bytes) -> None:
    digest.update(portion)
    view = memoryview(portion)
    while view:
        view = view[os.write(descriptor, view) :]
