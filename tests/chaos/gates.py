"""Ways between processes that can be cut, or fall silent, for one process alone (no tests in here).

A gate listens on a port of its own and passes on to another. Whoever comes is known by the gate, where each process has
its own, or is looked up in /proc by the port from which it comes, where all know the same address.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

from shared.runtime.aio import begin
from tests.servers import HOST, free_ports

PIECE_BYTES = 1 << 18


class Mode(Enum):
    OPEN = "open"
    STALLED = "stalled"
    """Nothing is said, and nothing passes until it is open again; then what was under way arrives."""
    CUT = "cut"
    """Connections are reset, and so is whoever comes."""


class _Way:
    """One connection through a gate. Whose it is, is looked up when it is first asked."""

    def __init__(self, port: int, who: Callable[[int], str]) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._port = port
        self._who = who
        self._name = ""

    @property
    def name(self) -> str:
        self._name = self._name or self._who(self._port)
        return self._name

    def abort(self) -> None:
        for each in self.writers:
            each.transport.abort()


class Gate:
    """`who` tells, of the port from which somebody comes, who that is."""

    def __init__(self, target_port: int, who: Callable[[int], str]) -> None:
        (self.port,) = free_ports(1)
        self._target_port = target_port
        self._who = who
        self._modes: defaultdict[str, Mode] = defaultdict(lambda: Mode.OPEN)
        self._changed = asyncio.Condition()
        self._ways: set[_Way] = set()

    def __repr__(self) -> str:
        shut = {name: mode.value for name, mode in self._modes.items() if mode is not Mode.OPEN}
        return f"<Gate {self.port} to {self._target_port}, {len(self._ways)} ways, {shut or 'open'}>"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Gate"]:
        server = await asyncio.start_server(self._serve, HOST, self.port)
        try:
            yield self
        finally:
            server.close()
            for way in tuple(self._ways):
                way.abort()

    async def turn(self, name: str, mode: Mode) -> None:
        """From now on, for who has this name."""
        self._modes[name] = mode
        if mode is Mode.CUT:
            for way in [each for each in self._ways if each.name == name]:
                way.abort()
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = _Way(writer.get_extra_info("peername")[1], self._who)
        way.writers.append(writer)
        self._ways.add(way)
        try:
            if await self._passable(way):
                target_reader, target = await asyncio.open_connection(HOST, self._target_port)
                way.writers.append(target)
                async with asyncio.TaskGroup() as group:
                    begin(group, self._pass(way, reader, target), name="there")
                    begin(group, self._pass(way, target_reader, writer), name="back")
        except OSError:
            pass
        finally:
            self._ways.discard(way)
            way.abort()

    async def _pass(self, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE_BYTES):
                if not await self._passable(way):
                    break
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            way.abort()

    async def _passable(self, way: _Way) -> bool:
        """Wait while it is stalled; False where it is cut. Nobody is looked up while the gate is open for all."""
        if all(mode is Mode.OPEN for mode in self._modes.values()):
            return True
        name = way.name
        async with self._changed:
            await self._changed.wait_for(lambda: self._modes[name] is not Mode.STALLED)
        return self._modes[name] is Mode.OPEN


def owner_of(port: int, pids: Mapping[str, int]) -> str:
    """Whose process has the socket with this port of loopback; empty where none has it any more."""
    inode = _inode(port)
    if inode:
        for name, pid in pids.items():
            with contextlib.suppress(OSError):
                if any(_names(link, inode) for link in Path(f"/proc/{pid}/fd").iterdir()):
                    return name
    return ""


def _inode(port: int) -> str:
    """See proc(5), /proc/net/tcp: the address is in the second column, the inode in the tenth."""
    wanted = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[9] != "0":
            return fields[9]
    return ""


def _names(link: Path, inode: str) -> bool:
    try:
        return str(link.readlink()) == f"socket:[{inode}]"
    except OSError:
        return False
