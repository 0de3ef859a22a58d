"""Whether the kernel has killed something of a container for want of memory, where the engine does not tell.

Podman before 5.0 never tells: its monitor notes the kill where nobody looks. Docker now and then misses the kill of a
container that ends by it. The kernel's own log names the container by its control group. Root may read that log, and
others where the machine lets them.
"""

import os
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
_RECORD_BYTES = 8192
_KILL = b"oom-kill:"


def was_killed_for_memory(container_id: str) -> bool | None:
    """None where the log cannot be read. Blocks for some milliseconds."""
    wanted = container_id.encode()
    try:
        log = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        while True:
            try:
                record = os.read(log, _RECORD_BYTES)
            except BrokenPipeError:  # it was overwritten before it could be read; the next one is read next
                continue
            except BlockingIOError:
                return False
            if _KILL in record and wanted in record:
                return True
            if not record:
                return False
    except OSError:
        return None
    finally:
        os.close(log)
