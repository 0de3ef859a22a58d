"""The output of a task so far, read for somebody who watches it while it runs."""

import os
import stat
from pathlib import Path

from compute.disk.result_contents import STDERR, STDOUT
from compute.disk.workspace import Workspace
from shared.protocol.messages import MAX_OUTPUT_CHUNK_BYTES, MAX_OUTPUT_PLACE, OutputRead, ReadOutput

TAIL_BYTES = MAX_OUTPUT_CHUNK_BYTES
"""How far from the end the last lines are looked for."""


def read_output(workspace: Workspace, order: ReadOutput, *, is_over: bool) -> OutputRead:
    """Blocks on the disk. What is not there (yet, or any more) is empty."""
    stdout, stdout_next = _read(workspace.result / STDOUT, order.stdout_from, order.tail_lines)
    stderr, stderr_next = _read(workspace.result / STDERR, order.stderr_from, order.tail_lines)
    return OutputRead(stdout=stdout, stderr=stderr, stdout_next=stdout_next, stderr_next=stderr_next, is_over=is_over)


def _read(path: Path, start: int, tail_lines: int | None) -> tuple[bytes, int]:
    """Of a file alone: a task may have put something in its place that would be waited for, or lead elsewhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # the task has removed or replaced it
        return b"", start
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b"", start
        if tail_lines is not None:
            return _tail(descriptor, tail_lines)
        content = os.pread(descriptor, MAX_OUTPUT_CHUNK_BYTES, min(max(0, start), MAX_OUTPUT_PLACE))
    finally:
        os.close(descriptor)
    return content, start + len(content)


def _tail(descriptor: int, lines: int) -> tuple[bytes, int]:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    end = max(size, len(content))
    kept = content.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept), end
