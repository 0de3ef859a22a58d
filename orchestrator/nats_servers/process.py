"""The process of our nats-server: which it is, whether it is well, and how it is ended.

A pid may have been given to another process since it was written down. So a process counts as ours only if its
command line is exactly the one with which we start the server, the path of our configuration included, and if it
runs the program that its command line names. Signals go through a pidfd that is opened before that is checked.
"""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from shared.errors import Unavailable
from shared.runtime.aio import process_ended

TERMINATE_SECONDS = 10.0
KILL_SECONDS = 5.0
INFO_SECONDS = 2.0
_DELETED = " (deleted)"  # what Linux appends to the link of a program that was replaced, see proc(5)


class ServerStuck(Unavailable):
    def __init__(self, pid: int) -> None:
        super().__init__(
            f"The NATS server (pid {pid}) does not end, not even by SIGKILL.",
            hint="It waits for its disk in the kernel (`ps -o stat,wchan` shows it): look at the disk under DataDir.",
        )


class ServerInfo(msgspec.Struct):
    """What the server says of itself at the beginning of each connection."""

    server_name: str
    version: str = ""
    jetstream: bool = False


def command(binary: str, config_file: Path) -> list[str]:
    return [binary, "-c", str(config_file)]


def is_ours(pid: int, config_file: Path) -> bool:
    folder = Path("/proc", str(pid))
    try:
        binary, *arguments = folder.joinpath("cmdline").read_bytes().decode(errors="surrogateescape").split("\0")[:-1]
        program = str(folder.joinpath("exe").readlink()).removesuffix(_DELETED)
    except (OSError, ValueError):
        return False
    return program == binary and [binary, *arguments] == command(binary, config_file)


def left_over(pid_file: Path, config_file: Path) -> int | None:
    """The pid of a server of ours that an earlier orchestrator left behind."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return None
    return pid if is_ours(pid, config_file) else None


def runs_program(pid: int, binary: str) -> bool:
    """Whether the process runs the very file that `binary` is now, and not one that was there before an upgrade."""
    try:
        return Path("/proc", str(pid), "exe").samefile(binary)
    except OSError:
        return False


async def end(pid: int, still_ours: Callable[[], bool]) -> None:
    """Stop the server, by force if it does not stop in time. Does nothing where the pid is not `still_ours`."""
    for number, within in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        if not await asyncio.to_thread(_send, pid, number, still_ours):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await process_ended(pid)
                return
    raise ServerStuck(pid)


def _send(pid: int, number: signal.Signals, still_ours: Callable[[], bool]) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not still_ours():
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def reload(pid: int, still_ours: Callable[[], bool]) -> None:
    """Have the server read its files again. It ends the connections of all whom an orchestrator has let in."""
    await asyncio.to_thread(_send, pid, signal.SIGHUP, still_ours)


async def read_info(host: str, port: int, trust: ssl.SSLContext | None = None) -> ServerInfo | None:
    """What answers there says, None if no NATS server answers in time, or none that `trust` takes."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(INFO_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=trust)
            line = await reader.readline()
    except (OSError, TimeoutError, ValueError):
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    try:
        return msgspec.json.decode(line.removeprefix(b"INFO "), type=ServerInfo)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
