"""Tasks that want what is the node's, the machine's or a neighbour's: in a sandbox none of them gains anything."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from compute.processes.strays import Strays
from shared.jobs.capacity import Capacity
from shared.jobs.spec import ResultPath
from tests.integration.compute.engines.process.attempts import NUMBERS, TaskAttempt, task_attempts
from tests.integration.process_bench import Bench

ATTEMPTS = list(task_attempts())
SEEN = [each for each in ATTEMPTS if each.is_seen]
CONNECT = """/usr/bin/python3 -c '
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1].replace("@", chr(0)))
print(connection.recv(99))
'"""
MISTAKES = ("SyntaxError", "NameError", "TypeError", "ArgumentError", "struct.error", "ModuleNotFound", "Syntax error")
"""With these an attempt has not been made."""


@dataclass
class Outside:
    """What is none of a task's business: `words` are what none may get to know, each of one place."""

    root: Path
    words: dict[str, str]
    name: str
    """Of what cannot be in a folder of the tests."""
    node_pid: int
    port: int
    segment: int

    @property
    def folder(self) -> Path:
        return self.root / "machine"

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    def script(self, attempt: TaskAttempt, neighbour: Bench, neighbour_pid: int) -> str:
        return attempt.script.format(
            file=self.folder / "hush",
            folder=self.folder,
            home=self.root / "home",
            data_dir=self.data_dir,
            neighbour_folder=neighbour.workspace.root,
            neighbour_pid=neighbour_pid,
            node_pid=self.node_pid,
            port=self.port,
            socket=self.root / "socket",
            abstract=self.name,
            segment=self.segment,
            temporary=f"{tempfile.gettempdir()}/{self.name}",
            shared=f"/dev/shm/{self.name}",
            connect=CONNECT,
            gain=self.words["gain"],
        )

    def gained(self, text: str) -> list[str]:
        return [place for place, word in self.words.items() if word in text]


class _Tells(socketserver.BaseRequestHandler):
    word = b""

    def handle(self) -> None:
        self.request.sendall(self.word)


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def _serving(word: str, *addresses: str) -> Iterator[int]:
    """Services that tell a word to whoever asks; the port of one of them."""
    tells = type("Tells", (_Tells,), {"word": word.encode()})
    tcp = _TcpServer(("127.0.0.1", 0), tells)
    servers = [tcp, *(_UnixServer(address, tells) for address in addresses)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield int(tcp.server_address[1])
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def _segment() -> Iterator[int]:
    """Memory of System V that is the machine's."""
    libc = ctypes.CDLL(None)
    number = libc.shmget(0, 4096, 0o1600)
    try:
        yield number
    finally:
        libc.shmctl(number, 0, None)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    places = ("file", "key", "journal", "home", "environment", "command", "service", "result", "tmp", "gain")
    words = {place: f"hush-{secrets.token_hex(8)}" for place in places}
    root, name = tmp_path_factory.mktemp("outside"), f"tarpon-{secrets.token_hex(8)}"
    files = {
        root / "machine" / "hush": words["file"],
        root / "home" / ".ssh" / "id_ed25519": words["home"],
        root / "data" / "compute" / "node.nkey": words["key"],
        root / "data" / "compute" / "journal.jsonl": words["journal"],
        Path(tempfile.gettempdir(), name): words["tmp"],
        Path("/dev/shm", name): words["tmp"],
    }
    for path, word in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(word)
    sockets = (str(root / "socket"), f"\0{name}")
    command = ["sh", "-c", "while :; do sleep 60; done", words["command"]]
    with (
        _serving(words["service"], *sockets) as port,
        _segment() as segment,
        subprocess.Popen(command, env={"HUSH": words["environment"], "PATH": os.defpath}) as node,
    ):
        yield Outside(root, words, name, node.pid, port, segment)
        assert node.poll() is None, "a task has ended the node"
        node.kill()
    for path in list(files)[-2:]:
        path.unlink()


@contextlib.asynccontextmanager
async def _neighbour(outside: Outside, strays: Strays, *, sandboxed: bool) -> AsyncIterator[tuple[Bench, int]]:
    """Another task of the node, and the machine's number of a process of it."""
    executions = outside.data_dir / "compute" / "executions"
    executions.mkdir(exist_ok=True)
    bench = Bench(executions, strays, sandboxed=sandboxed, hidden=outside.data_dir)
    (bench.workspace.folder / "hush").write_text(outside.words["result"])
    script = f"export HUSH={outside.words['result']}; sleep 1000 & wait"
    async with bench.running(f"exec env HUSH={outside.words['result']} sleep 1000" if not sandboxed else script):
        mark = bench.marks[0]
        assert mark is not None
        yield bench, mark.pid
        os.kill(mark.pid, 0)


async def _tried(attempt: TaskAttempt, outside: Outside, strays: Strays, *, sandboxed: bool) -> list[str]:
    """What it gained."""
    async with _neighbour(outside, strays, sandboxed=sandboxed) as (neighbour, pid):
        bench = Bench(neighbour.workspace.root.parent, strays, sandboxed=sandboxed, hidden=outside.data_dir)
        module = NUMBERS.replace("GAIN", f'"{outside.words["gain"][::-1]}"[::-1]')
        (bench.workspace.folder / "call.py").write_text(module)
        script = outside.script(attempt, neighbour, pid)
        limits = Capacity(memory=200 << 20, disk=100 << 20)
        async with asyncio.timeout(60):
            network = "None" if sandboxed else ""
            await bench.run({"Entrypoint": ["/bin/sh", "-c", script]}, resources=limits, network=network)
        await asyncio.to_thread(bench.workspace.gather, [ResultPath(name="outputs", path="/outputs")])
        found = [path for path in bench.workspace.result.rglob("*") if path.is_file() and not path.is_symlink()]
        told = "\n".join(path.read_text(errors="replace") for path in found)
        await asyncio.to_thread(bench.workspace.discard)
        assert not [mistake for mistake in MISTAKES if mistake in told], told
        return outside.gained(told.replace(script, ""))


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[each.name for each in ATTEMPTS])
async def test_nothing_is_gained_in_a_sandbox(attempt: TaskAttempt, outside: Outside, strays: Strays) -> None:
    hostname = socket.gethostname()
    assert await _tried(attempt, outside, strays, sandboxed=True) == []
    assert [path.name for path in outside.folder.iterdir()] == ["hush"]
    assert socket.gethostname() == hostname


@pytest.mark.parametrize("attempt", SEEN, ids=[each.name for each in SEEN])
async def test_without_a_sandbox_the_same_is_a_gain(attempt: TaskAttempt, outside: Outside, strays: Strays) -> None:
    try:
        assert await _tried(attempt, outside, strays, sandboxed=False) != []
    finally:
        (outside.folder / "was-here").unlink(missing_ok=True)


def test_there_are_a_hundred_attempts_each_of_a_name_of_its_own() -> None:
    names = Counter(each.name for each in ATTEMPTS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= 100
