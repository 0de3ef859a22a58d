"""What a task has written so far, read for somebody who watches it while it runs."""

import os
from pathlib import Path

from compute.result_contents import STDERR, STDOUT
from compute.workspace import Workspace
from shared.messages import MAX_OUTPUT_CHUNK_BYTES, OutputRead, ReadOutput

TAIL_BYTES = MAX_OUTPUT_CHUNK_BYTES
"""How far from the end the last lines are looked for."""


def read_output(workspace: Workspace, order: ReadOutput, *, is_over: bool) -> OutputRead:
    """Blocks on the disk. What is not there (yet, or any more) is empty."""
    stdout, stdout_next = _read(workspace.result / STDOUT, order.stdout_from, order.tail_lines)
    stderr, stderr_next = _read(workspace.result / STDERR, order.stderr_from, order.tail_lines)
    return OutputRead(stdout=stdout, stderr=stderr, stdout_next=stdout_next, stderr_next=stderr_next, is_over=is_over)


def _read(path: Path, start: int, tail_lines: int | None) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            if tail_lines is not None:
                return _tail(file.fileno(), tail_lines)
            content = os.pread(file.fileno(), MAX_OUTPUT_CHUNK_BYTES, max(0, start))
    except FileNotFoundError:
        return b"", start
    return content, start + len(content)


def _tail(descriptor: int, lines: int) -> tuple[bytes, int]:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, TAIL_BYTES, max(0, size - TAIL_BYTES))
    end = max(size, len(content))
    kept = content.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept), end
