"""The tools that publish: a compute node's own code, and its rivals."""

import asyncio
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from benchmarks.desks import serve
from benchmarks.figures import TARPON
from benchmarks.publishing import FIXED
from benchmarks.rivals import PUBLISHERS, Rival, environment
from benchmarks.running import Cost, run_command, run_module
from benchmarks.sinks import Sink


class Tool(ABC):
    name: str

    @abstractmethod
    def publish(self, folder: Path, sink: Sink, key: str, scratch: Path) -> Cost:
        """Blocks. Raises ToolFailed. Leaves nothing behind but the object."""


class TarponTool(Tool):
    """Publishing in a process of its own that does what a compute node does."""

    def __init__(self, name: str = TARPON, *options: str) -> None:
        self.name = name
        self._options = options

    def publish(self, folder: Path, sink: Sink, key: str, scratch: Path) -> Cost:
        with tempfile.TemporaryDirectory(dir=scratch) as own:
            return asyncio.run(self._publish(folder, sink, key, Path(own)))

    async def _publish(self, folder: Path, sink: Sink, key: str, own: Path) -> Cost:
        socket = own / "desk.sock"
        async with sink.desk(key) as desk, await serve(desk, socket):
            return await run_module("benchmarks.publishing", str(folder), str(own), str(socket), *self._options)


class RivalTool(Tool):
    def __init__(self, rival: Rival) -> None:
        self.name = rival.name
        self._rival = rival

    def publish(self, folder: Path, sink: Sink, key: str, scratch: Path) -> Cost:
        temporary = scratch / "result.tar.gz"
        variables = environment(folder, scratch) | {"TEMPORARY": str(temporary)} | sink.variables(key)
        try:
            return run_command(self._rival.command, variables)
        finally:
            temporary.unlink(missing_ok=True)


def tools() -> dict[str, Tool]:
    """All that can run here, in the order in which they are shown."""
    rivals = [RivalTool(rival) for rival in PUBLISHERS if not rival.absent]
    return {tool.name: tool for tool in [TarponTool(), *rivals, TarponTool(f"{TARPON}-fixed", FIXED)]}
