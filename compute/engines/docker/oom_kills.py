"""Kills for want of memory in a container, where the engine does not tell all of them.

Podman before 5.0 never tells: its monitor notes the kill where nobody looks. Docker now and then misses the kill of a
container that ends by it, and may not tell whether the container or the machine had no memory left. The kernel's own
log names the control groups of both. Root may read that log, and others where the machine lets them.
"""

import asyncio
import os
import re
from pathlib import Path

from msgspec.structs import replace

from compute.engines.docker.api import ContainerState
from compute.engines.docker.facts import EngineFacts

KILLED = 128 + 9
KERNEL_LOG = Path("/dev/kmsg")
_RECORD_BYTES = 8192
_KILL = re.compile(rb"oom-kill:.*?,(?:oom_memcg=(?P<full>[^,]*)|global_oom),task_memcg=(?P<killed>[^,]*),")
"""Before that it has the control group of whoever asked for memory, which may be another one."""


async def with_kernel_s_word(state: ContainerState, facts: EngineFacts) -> ContainerState:
    """The state of a container that has ended; `oom_killed` is None where nobody can tell."""
    is_odd = state.exit_code == KILLED or (state.exit_code != 0 and (state.oom_killed or not facts.tells_kills))
    if not is_odd:
        return state
    kills = await asyncio.to_thread(_kills_of, state.id)
    if not kills and state.oom_killed:  # the log has forgotten it
        return state
    return replace(state, oom_killed=None if kills is None else bool(kills), is_starved=kills == {False})


def _kills_of(container_id: str) -> set[bool] | None:
    """Of each kill whether it was for the container's own limit. None where the log cannot be read.

    Blocks for some milliseconds.
    """
    wanted, kills = container_id.encode(), set[bool]()
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
                return kills
            found = _KILL.search(record)
            if found and wanted in found["killed"]:
                kills.add(wanted in (found["full"] or b""))
            if not record:
                return kills
    except OSError:
        return None
    finally:
        os.close(log)
