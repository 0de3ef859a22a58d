"""Files of a job's result: which there are, and how one is read without fetching the rest."""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice

import msgspec

from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.contents import ENTRIES_AT_ONCE, Contents, opened
from tarpon.archive.links import file_at
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.offered import chosen_version, offered, only, renewer, url_giver
from tarpon.transfer.download import in_thread
from tarpon.transfer.stored_object import object_session

_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, beyond which Python knows no dates."""

_TYPES = {
    MemberKind.FILE: "file",
    MemberKind.DIRECTORY: "directory",
    MemberKind.SYMLINK: "symlink",
    MemberKind.HARD_LINK: "hardlink",
}


class ResultEntry(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One entry of a result. `type` is file, directory, symlink, hardlink or other; `mode` is octal.

    A name that is no UTF-8 is in `path_base64` too, because `path` cannot show it.
    """

    path: str
    path_base64: str = ""
    type: str
    size: int = 0
    mode: str
    modified: datetime
    target: str = ""


async def list_files(
    client: OrchestratorCalls,
    job: str,
    *,
    partition: int | None = None,
    execution_id: str = "",
    job_version: int = 0,
    namespace: str = "",
) -> AsyncGenerator[ResultEntry, None]:
    """The entries of the result of `job`, in the order of the archive, as they are read.

    Only the index beside the archive is fetched, where there is one. Version 0 is the newest, or that of the execution.
    Raises InvalidInput where the job has several results and none is chosen, NoResults, JobNotEnded, NotFound,
    DownloadFailed and Damaged.
    """
    chosen = contents_of(
        client, job, partition=partition, execution=execution_id, version=job_version, namespace=namespace
    )
    async with chosen as contents:
        entries = contents.entries()
        while some := await in_thread(lambda: [_entry(each) for each in islice(entries, ENTRIES_AT_ONCE)]):
            for entry in some:
                yield entry


async def read_file(
    client: OrchestratorCalls,
    job: str,
    path: str,
    write: Callable[[memoryview], object],
    *,
    partition: int | None = None,
    execution_id: str = "",
    job_version: int = 0,
    namespace: str = "",
) -> None:
    """Give the content of one file of a result to `write`, piece by piece, in a thread.

    Links within the result are followed. Each piece is checked before it is given; with an index beside the archive
    only the blocks that hold the file are fetched. Raises FileNotInResult, NotAFile, what list_files raises, and what
    `write` raises.
    """

    def take(event: Member | memoryview) -> None:
        if not isinstance(event, Member):
            write(event)

    chosen = contents_of(
        client, job, partition=partition, execution=execution_id, version=job_version, namespace=namespace
    )
    async with chosen as contents:
        await contents.read([await file_at(contents, path, job)], take, lambda _done, _total: None)


@asynccontextmanager
async def contents_of(
    client: OrchestratorCalls, job: str, *, partition: int | None, execution: str, version: int, namespace: str
) -> AsyncIterator[Contents]:
    """What one result of `job` has in it. Raises what list_files raises, but not while it is listed."""
    view = await chosen_version(client, job, namespace=namespace, version=version, execution=execution)
    found = await offered(client, job, view, namespace=namespace, partition=partition, execution=execution)
    params = only(found, job)
    async with (
        object_session(client.trust) as session,
        opened(
            session,
            params,
            renew=renewer(client, job, params, namespace=namespace),
            give_urls=url_giver(client, job, params, namespace=namespace),
        ) as contents,
    ):
        yield contents


def _entry(member: Member) -> ResultEntry:
    path, path_base64 = _spelled(member.name)
    return ResultEntry(
        path=path,
        path_base64=path_base64,
        type=_TYPES.get(member.kind, "other"),
        size=member.size_bytes,
        mode=f"{member.mode:04o}",
        modified=_moment(member.mtime_ns),
        target=_spelled(member.link_target)[0],
    )


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(nanoseconds // 10**9, _MIN_SECONDS), _MAX_SECONDS), UTC)


def _spelled(name: bytes) -> tuple[str, str]:
    try:
        return name.decode(), ""
    except UnicodeDecodeError:
        return name.decode(errors="replace"), base64.b64encode(name).decode("ascii")
