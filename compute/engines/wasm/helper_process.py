"""The helper as the node has it: started when it is first needed, and again where it has ended."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from compute.engines.wasm.forked_process import ForkedProcess
from compute.engines.wasm.orders import COMPILE, RUN, CompileOrder, RunOrder, encoder, in_memory
from compute.processes import child
from compute.processes.child import Child
from compute.processes.strays import Strays

_COMMAND = (sys.executable, "-s", "-P", "-m", "compute.engines.wasm.helper")
_STDERR = 2
_ROOT = Path("/")


class HelperProcess:
    """May be used by any thread; methods block for as long as it takes to start a program."""

    def __init__(self, strays: Strays) -> None:
        self._strays = strays
        self._lock = threading.Lock()
        self._process: Child | None = None
        self._control: socket.socket | None = None

    def __repr__(self) -> str:
        return f"<HelperProcess {self._process.pid if self._process else 'not started'}>"

    @property
    def pid(self) -> int:
        """0 where none was ever needed."""
        return self._process.pid if self._process else 0

    def run(self, order: RunOrder, *, stdout: int, stderr: int, modules: Sequence[int]) -> ForkedProcess:
        """Raises OSError."""
        return self._fork(RUN, encoder.encode(order), stdout, stderr, *modules)

    def compile(self, order: CompileOrder, *, source: int, compiled: int) -> ForkedProcess:
        """Raises OSError."""
        return self._fork(COMPILE, encoder.encode(order), source, compiled)

    def close(self) -> None:
        """All that it has forked ends with it."""
        with self._lock:
            self._end()

    def _fork(self, kind: bytes, order: bytes, *descriptors: int) -> ForkedProcess:
        told = in_memory("order", order)
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                try:
                    self._send(kind, theirs.fileno(), told, *descriptors)
                except BaseException:
                    ours.close()
                    raise
            return ForkedProcess(ours)
        finally:
            os.close(told)

    def _send(self, kind: bytes, *descriptors: int) -> None:
        with self._lock:
            if self._control is not None:
                try:
                    socket.send_fds(self._control, [kind], descriptors)
                except (BrokenPipeError, ConnectionResetError):
                    self._end()
                else:
                    return
            socket.send_fds(self._started(), [kind], descriptors)

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open("r+b", buffering=0) as nothing:
            try:
                self._process = child.start(
                    _COMMAND,
                    cwd=_ROOT,
                    env={"PYTHONPATH": os.pathsep.join(sys.path), "LANG": "C.UTF-8"},
                    descriptors=(nothing.fileno(), nothing.fileno(), _STDERR, theirs.fileno()),
                )
            except BaseException:
                ours.close()
                raise
        self._strays.spare(self._process.pid)
        self._control = ours
        return ours

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, 9)
            self._process.wait()
