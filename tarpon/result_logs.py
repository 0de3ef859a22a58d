"""How what a task wrote is read out of the archive of its result, as it arrives and without extracting anything."""

from collections.abc import Callable

from shared.rest import ResultParams
from tarpon.client import Client
from tarpon.download import Download, object_session
from tarpon.gunzip import Gunzip
from tarpon.results import renewed
from tarpon.tar_reader import Member, TarReader

STDOUT = "stdout"
STDERR = "stderr"

_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}

Write = Callable[[str, bytes], None]
"""Takes the name of the stream, STDOUT or STDERR, and what comes next in it. It is called in a thread."""


async def stream_output(client: Client, job: str, params: ResultParams, write: Write, *, namespace: str = "") -> None:
    """Hand what the task wrote to `write`. Raises as tarpon.download.Download.into does, possibly after the last byte.

    The archive's digest is known at its end only, so a damaged one is noticed when its text has been handed on.
    """
    async with object_session() as session:
        download = Download(
            session,
            params,
            renew=lambda: renewed(client, job, namespace, params.execution_id),
            on_progress=lambda _: None,
        )
        await download.into(OutputSink(write))


class OutputSink:
    """Fed with the compressed bytes of an archive; hands on the files `stdout` and `stderr`, skips all others."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._gunzip = Gunzip()
        self._reader = TarReader()
        self._stream: str | None = None

    def __repr__(self) -> str:
        return f"<OutputSink in={self._stream or 'other files'}>"

    def feed(self, data: bytes) -> None:
        for tar in self._gunzip.feed(data):
            for event in self._reader.feed(tar):
                if isinstance(event, Member):
                    self._stream = _STREAMS.get(event.name.removeprefix(b"./"))
                elif self._stream is not None:
                    self._write(self._stream, bytes(event))

    def close(self) -> None:
        self._gunzip.close()
        self._reader.close()

    def abort(self) -> None:
        self._stream = None
