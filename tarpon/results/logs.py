"""Logs out of a result: what a task wrote, as it arrives and without extracting anything."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from shared.extraction.announced import AnnouncedSize, announced
from shared.extraction.gunzip import Gunzip
from shared.extraction.tar_reader import Member, MemberKind, TarReader
from shared.protocol.rest import ResultParams
from tarpon.archive.contents import Contents, opened, walk
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.offered import renewer, url_giver
from tarpon.transfer.download import archive_download
from tarpon.transfer.stored_object import object_session

STDOUT = "stdout"
STDERR = "stderr"

_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}

Write = Callable[[str, bytes], None]
"""Takes the name of the stream, STDOUT or STDERR, and what comes next in it. It is called in a thread."""


async def stream_output(
    client: OrchestratorCalls, job: str, params: ResultParams, write: Write, *, namespace: str = ""
) -> None:
    """Hand what the task wrote to `write`. With an index beside the archive nothing else is fetched of it.

    Raises as tarpon.transfer.download.Download.into does, maybe after the last byte: without an index only the digest
    of the whole archive tells whether it is damaged.
    """
    renew = renewer(client, job, params, namespace=namespace)
    async with object_session(client.trust) as session:
        if params.index_url or params.is_plain:
            give_urls = url_giver(client, job, params, namespace=namespace)
            await _by_entries(opened(session, params, renew=renew, give_urls=give_urls), write)
        else:
            sink = OutputSink(write, announced(params))
            await archive_download(session, params, renew=renew).into(sink)


async def _by_entries(opening: AbstractAsyncContextManager[Contents], write: Write) -> None:
    streams: list[Member] = []

    def look(member: Member) -> None:
        if member.name in _STREAMS and member.kind is MemberKind.FILE and len(streams) < len(_STREAMS):
            streams.append(member)

    output = _Output(write)
    async with opening as contents:
        await walk(contents, look)
        await contents.read(streams, output.take, lambda _done, _total: None)


class _Output:
    """Takes the members of an archive with their content; hands on `stdout` and `stderr`, skips all others."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.stream: str | None = None

    def __repr__(self) -> str:
        return f"<_Output in={self.stream or 'other files'}>"

    def take(self, event: Member | memoryview) -> None:
        if isinstance(event, Member):
            self.stream = _STREAMS.get(event.name.removeprefix(b"./"))
        elif self.stream is not None:
            self._write(self.stream, bytes(event))


class OutputSink:
    """Fed with the compressed bytes of an archive; hands on the files `stdout` and `stderr`, skips all others."""

    def __init__(self, write: Write, bounds: AnnouncedSize) -> None:
        self._output = _Output(write)
        self._bounds = bounds
        self._gunzip = Gunzip()
        self._reader = TarReader()

    def __repr__(self) -> str:
        return f"<OutputSink {self._output!r}>"

    def feed(self, data: bytes) -> None:
        for tar in self._gunzip.feed(data):
            for event in self._reader.feed(tar):
                if isinstance(event, Member):
                    self._bounds.count(event)
                self._output.take(event)

    def close(self) -> None:
        self._gunzip.close()
        self._reader.close()

    def abort(self) -> None:
        self._output.stream = None
