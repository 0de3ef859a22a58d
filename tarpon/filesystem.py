"""Results as a file system of fsspec: `tarpon://JOB/PATH`, for pandas, pyarrow, DuckDB, zarr and others.

    pandas.read_parquet("tarpon://my-job/outputs/table.parquet", columns=["x"])

Files are read by ranges straight from the bucket; of a file only those blocks are fetched that hold what is asked for.
Nothing can be written. It needs fsspec, which finds this module by the name `tarpon`.
"""

import asyncio
import os
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from errno import EISDIR, EROFS
from functools import partial
from http import HTTPStatus
from typing import IO, Any

from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.spec import AbstractBufferedFile

from shared.errors import NotFound, RemoteError
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.contents import Contents, PartReader, walk
from tarpon.archive.links import NotAFile, file_at
from tarpon.archive.selection import FileNotInResult, normal_path
from tarpon.client import Client
from tarpon.http.trust import ClientTrust
from tarpon.results.files import contents_of

MOST_RESULTS = 16
"""So many are open at a time, each with its index on disk; the one that was not used for longest is closed."""
MOST_FILES = 256
"""Of so many it is remembered where they are."""
BLOCK_BYTES = 1 << 20
"""Read ahead by whoever reads a file bit by bit: as much as an archive is packed in."""
CLOSE_SECONDS = 10.0

Info = dict[str, Any]
"""`name`, `size`, `type`, and where they are known `mode`, `mtime` (seconds) and `islink`, as fsspec has them."""


class TarponFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """Options are those of `tarpon.Client`, and which result of a job is meant, where it has several.

    A result is looked up when something of it is asked for first, and stays the same one for this file system;
    `invalidate_cache` forgets it, so that the newest version of a job is looked up again. What is not there raises
    FileNotFoundError; else errors are those of `tarpon.errors`.
    """

    protocol = "tarpon"
    root_marker = ""
    mirror_sync_methods = True

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        api_key: str | None = None,
        trust: ClientTrust | None = None,
        namespace: str = "",
        partition: int | None = None,
        execution_id: str = "",
        job_version: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._client = Client(host, port, api_key=api_key, trust=trust)
        find = partial(
            contents_of,
            self._client,
            namespace=namespace,
            partition=partition,
            execution=execution_id,
            version=job_version,
        )
        self._results = _Results(self._client, find)
        if not self.asynchronous:
            weakref.finalize(self, _close, self.loop, self._results)

    @property
    def fsid(self) -> str:
        return f"tarpon-{self._client.url}"

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget results: that of the job of `path`, or all."""
        job = None if path is None else _split(self._strip_protocol(path))[0]
        if self.asynchronous:
            raise RuntimeError("Of an asynchronous one it is `await forget(path)`.")
        sync(self.loop, self._results.forget, job)
        super().invalidate_cache(path)

    async def forget(self, path: str | None = None) -> None:
        """As `invalidate_cache`, for an `asynchronous` one."""
        await self._results.forget(None if path is None else _split(self._strip_protocol(path))[0])

    async def aclose(self) -> None:
        """For an `asynchronous` one, whose loop its caller has."""
        await self._results.close()

    async def _info(self, path: str, **_: Any) -> Info:
        job, inner = _split(self._strip_protocol(path))
        async with self._results.opened(job) as result:
            return await result.info(inner, job)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Info] | list[str]:  # noqa: FBT001, FBT002
        job, inner = _split(self._strip_protocol(path))
        async with self._results.opened(job) as result:
            found = await result.below(inner, job, depth=1)
        return found if detail else sorted(each["name"] for each in found)

    async def _find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,  # noqa: FBT001, FBT002  # fsspec's
        **options: Any,
    ) -> list[str] | dict[str, Info]:
        """In one look through the index, where fsspec itself would list folder after folder."""
        job, inner = _split(self._strip_protocol(path))
        async with self._results.opened(job) as result:
            found = await result.below(inner, job, depth=maxdepth)
        chosen = {each["name"]: each for each in found if withdirs or each["type"] != "directory"}
        ordered = dict(sorted(chosen.items()))
        return ordered if options.get("detail") else list(ordered)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        job, inner = _split(self._strip_protocol(path))
        async with self._results.opened(job) as result:
            file, reader = await result.reader(inner, job)
            first, last = _limits(file.size_bytes, start, end)
            return await reader.read(first, last)

    async def _get_file(
        self, rpath: str, lpath: str | IO[bytes], callback: Callback = DEFAULT_CALLBACK, **_: Any
    ) -> None:
        job, inner = _split(self._strip_protocol(rpath))
        async with self._results.opened(job) as result:
            if (await result.info(inner, job))["type"] == "directory":
                if isinstance(lpath, str):
                    await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
                return
            file, reader = await result.reader(inner, job)
            callback.set_size(file.size_bytes)
            target = await asyncio.to_thread(open, lpath, "wb") if isinstance(lpath, str) else lpath
            try:
                for at in range(0, file.size_bytes, 8 * BLOCK_BYTES):
                    content = await reader.read(at, min(at + 8 * BLOCK_BYTES, file.size_bytes))
                    await asyncio.to_thread(target.write, content)
                    callback.relative_update(len(content))
            finally:
                if isinstance(lpath, str):
                    target.close()

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,  # noqa: FBT001, FBT002, ARG002  # fsspec's
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> "ResultFile":
        if mode != "rb":
            raise OSError(EROFS, "Results cannot be written", path)
        return ResultFile(self, path, mode, block_size or BLOCK_BYTES, cache_options=cache_options, **options)

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def ukey(self, path: str) -> str:
        """The same as long as the file is."""
        info = self.info(path)
        return f"{self.fsid}:{info['name']}:{info['size']}:{info.get('mtime')}"


class ResultFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec publishes no types
    """One file of a result, read by ranges. Its size comes from the index: a signed GET allows no HEAD."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        content: bytes = self.fs.cat_file(self.path, start, end)
        return content


class _Results:
    """Those that are open; `find` opens that of a job. All of it happens in one loop."""

    def __init__(self, client: Client, find: Callable[[str], AbstractAsyncContextManager[Contents]]) -> None:
        self._client = client
        self._find = find
        self._is_open = False
        self._opening = asyncio.Lock()
        self._open: OrderedDict[str, _Result] = OrderedDict()

    @asynccontextmanager
    async def opened(self, job: str) -> AsyncIterator["_Result"]:
        """Raises FileNotFoundError where there is no such job, and what list_files raises."""
        if not job:
            raise FileNotFoundError("A path begins with a job: tarpon://JOB/path")
        async with self._opening:
            result = self._open.get(job)
            if result is None:
                result = self._open[job] = await self._opened_now(job)
            self._open.move_to_end(job)
            result.users += 1
            await self._keep_few()
        try:
            yield result
        finally:
            result.users -= 1
            await self._close_if_left(result)

    async def _opened_now(self, job: str) -> "_Result":
        if not self._is_open:
            await self._client.__aenter__()
            self._is_open = True
        stack = AsyncExitStack()
        try:
            contents = await stack.enter_async_context(self._find(job))
        except (NotFound, RemoteError) as error:
            if isinstance(error, RemoteError) and error.status != HTTPStatus.NOT_FOUND:
                raise
            raise FileNotFoundError(error.message) from error
        return _Result(contents, stack)

    async def _keep_few(self) -> None:
        if len(self._open) > MOST_RESULTS:
            _, oldest = self._open.popitem(last=False)
            await self._close_if_left(oldest)

    async def _close_if_left(self, result: "_Result") -> None:
        if not result.users and result not in self._open.values():
            await result.close()

    async def forget(self, job: str | None) -> None:
        async with self._opening:
            for name in [name for name in self._open if job in {None, name}]:
                await self._close_if_left(self._open.pop(name))

    async def close(self) -> None:
        while self._open:
            _, result = self._open.popitem()
            await result.close()
        if self._is_open:
            self._is_open = False
            await self._client.__aexit__(None, None, None)


class _Result:
    """One result, its entries looked through one at a time."""

    def __init__(self, contents: Contents, stack: AsyncExitStack) -> None:
        self.users = 0
        self._contents = contents
        self._stack = stack
        self._looking = asyncio.Lock()
        self._readers: OrderedDict[str, tuple[Member, PartReader]] = OrderedDict()

    async def reader(self, path: str, job: str) -> tuple[Member, PartReader]:
        """Raises FileNotFoundError and IsADirectoryError."""
        async with self._looking:
            found = self._readers.get(path)
            if found is None:
                member = await self._file(path, job)
                found = member, (await self._contents.part_readers([member]))[0]
                self._readers[path] = found
                if len(self._readers) > MOST_FILES and self.users == 1:  # nobody else reads one
                    _, (_, unused) = self._readers.popitem(last=False)
                    unused.close()
            self._readers.move_to_end(path)
            return found

    async def _file(self, path: str, job: str) -> Member:
        try:
            return await file_at(self._contents, path, job)
        except FileNotInResult as error:
            raise FileNotFoundError(error.message) from error
        except NotAFile as error:
            raise IsADirectoryError(EISDIR, error.message, path) from error

    async def info(self, path: str, job: str) -> Info:
        if not path:
            return {"name": job, "size": 0, "type": "directory"}
        look = _Look(os.fsencode(path))
        async with self._looking:
            await walk(self._contents, look.at)
            member = look.found
            if member is None and not look.is_folder:
                raise FileNotFoundError(f"{path[:160]!r} is not in the result of job {job}.")
            info = _info(f"{job}/{path}", member)
            if member is not None and member.kind in {MemberKind.SYMLINK, MemberKind.HARD_LINK}:
                info |= await self._behind(path, job)
        return info

    async def _behind(self, path: str, job: str) -> Info:
        """What a link leads to, as far as it is a file."""
        try:
            file = await file_at(self._contents, path, job)
        except (FileNotInResult, NotAFile):
            return {"type": "other"}
        return {"type": "file", "size": file.size_bytes}

    async def below(self, path: str, job: str, *, depth: int | None) -> list[Info]:
        """A file is below itself, as fsspec has it."""
        info = await self.info(path, job)
        if info["type"] != "directory":
            return [info]
        listing = _Listing(job, os.fsencode(path), depth)
        async with self._looking:
            await walk(self._contents, listing.at)
        return list(listing.found.values())

    async def close(self) -> None:
        for _, reader in self._readers.values():
            reader.close()
        await self._stack.aclose()


class _Look:
    """For one entry; a folder may be there by what is in it alone."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.found: Member | None = None
        self.is_folder = False

    def at(self, member: Member) -> None:
        if member.name == self._name:
            self.found = member
        elif member.name.startswith(self._name + b"/"):
            self.is_folder = True


class _Listing:
    def __init__(self, job: str, folder: bytes, depth: int | None) -> None:
        self._job = job
        self._prefix = folder + b"/" if folder else b""
        self._depth = depth
        self.found: dict[bytes, Info] = {}

    def at(self, member: Member) -> None:
        if not member.name.startswith(self._prefix):
            return
        parts = member.name[len(self._prefix) :].split(b"/")
        for depth in range(1, min(len(parts), self._depth or len(parts)) + 1):
            name = self._prefix + b"/".join(parts[:depth])
            is_it = depth == len(parts)
            if is_it or name not in self.found:
                path = f"{self._job}/{os.fsdecode(name)}"
                self.found[name] = _info(path, member if is_it else None)


def _info(path: str, member: Member | None) -> Info:
    """Of a folder that is no entry itself, nothing but its name is known."""
    if member is None or member.kind is MemberKind.DIRECTORY:
        return {"name": path, "size": 0, "type": "directory"} | ({"mode": member.mode} if member else {})
    kinds = {MemberKind.FILE: "file", MemberKind.HARD_LINK: "file", MemberKind.SYMLINK: "link"}
    return {
        "name": path,
        "size": member.size_bytes,
        "type": kinds.get(member.kind, "other"),
        "mode": member.mode,
        "mtime": member.mtime_ns / 1e9,
        "islink": member.kind is MemberKind.SYMLINK,
    }


def _split(path: str) -> tuple[str, str]:
    """The job, and the path in its result."""
    job, _, inner = path.strip("/").partition("/")
    return job, normal_path(inner) if inner else ""


def _limits(size_bytes: int, start: int | None, end: int | None) -> tuple[int, int]:
    """As a slice of Python has them."""
    first, last, _ = slice(start, end).indices(size_bytes)
    return first, max(first, last)


def _close(loop: Any, results: _Results) -> None:
    """At the end of the program, or of the file system."""
    if loop is not None and loop.is_running():
        sync(loop, results.close, timeout=CLOSE_SECONDS)
