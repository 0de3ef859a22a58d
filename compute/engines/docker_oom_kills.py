"""Whether the kernel has killed something of a container for want of memory, where the engine does not tell.

Podman before 5.0 never tells: its monitor notes the kill where nobody looks. Docker now and then misses the kill of a
container that ends by it. The kernel's own log names the container by its control group. Root may read that log, and
others where the machine lets them.
"""

import asyncio
import os
from pathlib import Path

from msgspec.structs import replace

from compute.engines.docker_api import ContainerState
from compute.engines.docker_facts import EngineFacts

KILLED = 128 + 9
KERNEL_LOG = Path("/dev/kmsg")
_RECORD_BYTES = 8192
_KILL = b"oom-kill:"


async def with_kernel_s_word(state: ContainerState, facts: EngineFacts) -> ContainerState:
    """The state of a container that has ended; `oom_killed` is None where nobody can tell."""
    is_odd = state.exit_code == KILLED or (state.exit_code != 0 and not facts.tells_kills)
    if state.oom_killed or not is_odd:
        return state
    return replace(state, oom_killed=await asyncio.to_thread(_was_killed_for_memory, state.id))


def _was_killed_for_memory(container_id: str) -> bool | None:
    """None where the log cannot be read. Blocks for some milliseconds."""
    wanted = container_id.encode()
    assert wanted
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
