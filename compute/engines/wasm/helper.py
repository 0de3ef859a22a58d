"""The helper of the wasm engine: a process that has the runtime loaded, and forks another one for each order.

To load the runtime takes longer than most modules run, and to fork takes next to nothing. The helper itself touches no
module. It ends when the node does, however that ends, and what it has forked ends with it.
"""

import gc
import os
import selectors
import socket
import traceback
from typing import NamedTuple

from compute.engines.wasm import walls
from compute.engines.wasm.forked import compile_module, run_module
from compute.engines.wasm.orders import (
    MAX_DESCRIPTORS,
    RUN,
    ProcessForked,
    ProcessNotForked,
    ProcessReaped,
    Report,
    encoder,
)
from compute.engines.wasm.runtime import Runtime

CONTROL = 3
"""The descriptor at which orders come."""
_ENDS = (0, 1, 2)
_KIND_BYTES = 16


class _Child(NamedTuple):
    pid: int
    end: int
    """A descriptor of the process."""
    channel: socket.socket


class Helper:
    """Takes orders until nobody can give any."""

    def __init__(self, control: socket.socket, runtime: Runtime) -> None:
        self._control = control
        self._runtime = runtime
        self._waiting = selectors.DefaultSelector()

    def __repr__(self) -> str:
        return f"<Helper {os.getpid()}>"

    def serve(self) -> None:
        self._waiting.register(self._control, selectors.EVENT_READ)
        while True:
            for key, _ in self._waiting.select():
                if isinstance(key.data, _Child):
                    self._reap(key.data)
                elif not self._take_order():
                    return

    def _take_order(self) -> bool:
        kind, descriptors, _, _ = socket.recv_fds(self._control, _KIND_BYTES, MAX_DESCRIPTORS)
        if not kind:
            return False
        channel = socket.socket(fileno=descriptors[0])
        try:
            self._fork(kind, channel, descriptors[1:])
        except OSError as error:
            _tell(channel, ProcessNotForked(error=error.errno or 0))
            channel.close()
        finally:
            for each in descriptors[1:]:
                os.close(each)
        return True

    def _fork(self, kind: bytes, channel: socket.socket, descriptors: list[int]) -> None:
        helper = os.getpid()
        pid = os.fork()
        if not pid:
            _be_forked(helper, kind, channel, descriptors, self._runtime)
        child = _Child(pid, os.pidfd_open(pid), channel)
        _tell(channel, ProcessForked(pid=pid), child.end)
        self._waiting.register(child.end, selectors.EVENT_READ, child)

    def _reap(self, child: _Child) -> None:
        self._waiting.unregister(child.end)
        os.close(child.end)
        _, status, used = os.wait4(child.pid, 0)
        ended = ProcessReaped(exit_code=os.waitstatus_to_exitcode(status), peak_bytes=used.ru_maxrss * 1024)
        _tell(child.channel, ended)
        child.channel.close()


def _be_forked(helper: int, kind: bytes, channel: socket.socket, descriptors: list[int], runtime: Runtime) -> None:
    """Never returns."""
    code = 1
    try:
        os.setsid()  # by which what is left of it would be found
        walls.die_with_parent(helper)
        _close_but(channel.fileno(), *descriptors)
        carry_out = run_module if kind == RUN else compile_module
        _tell(channel, carry_out(runtime, descriptors))
        code = 0
    except BaseException:  # noqa: BLE001  # the process ends in any case, and this is all that tells why
        traceback.print_exc()
    finally:
        os._exit(code)


def _close_but(*kept: int) -> None:
    first = 0
    for each in (*sorted({*kept, *_ENDS}), os.sysconf("SC_OPEN_MAX")):
        if first < each:  # an empty range that begins at 0 would be everything
            os.closerange(first, each)
        first = each + 1


def _tell(channel: socket.socket, report: Report, *descriptors: int) -> None:
    """Whoever does not listen any more needs to know nothing."""
    try:
        socket.send_fds(channel, [encoder.encode(report)], descriptors)
    except OSError:
        return


def main() -> None:
    control = socket.socket(fileno=CONTROL)
    runtime = Runtime()
    runtime.warm_up()
    walls.prepare()
    gc.collect()
    gc.freeze()  # so that what is forked copies none of it
    gc.disable()
    Helper(control, runtime).serve()


if __name__ == "__main__":
    main()
