"""The takeover of a container's result folders by the node when it ends, whoever its users were."""

import asyncio
import logging
import os
from functools import partial
from pathlib import PurePosixPath

from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.facts import EngineFacts
from compute.engines.docker.handover import Handover, NotATar, folder_alone, is_closed, is_own
from compute.engines.engine import Run

_log = logging.getLogger(__name__)

HANDOVER_SECONDS = 3600.0
"""For the files of other users, whatever their size."""


async def take_over(
    api: DockerApi,
    container: str,
    run: Run,
    facts: EngineFacts,
    *,
    folders_only: bool,
    within: float = HANDOVER_SECONDS,
) -> None:
    """Have the engine give to the node what other users wrote; of what is not a result, what it needs to remove it.

    What cannot be had so is left out of the result, and counted.
    """
    try:
        async with asyncio.timeout(within):
            for each in sorted(run.task.result_paths, key=lambda each: each.path):  # the outer ones first
                if await asyncio.to_thread(is_closed, run.workspace.place(each.path)):
                    await _handed_over(api, container, run, facts, each.path, folders_only=folders_only)
    except (EngineAway, EngineRefusal, NotATar, TimeoutError) as error:
        _log.warning("Files of other users in container %s are not handed over: %s", container, error)


async def _handed_over(
    api: DockerApi, container: str, run: Run, facts: EngineFacts, path: str, *, folders_only: bool
) -> None:
    is_root = facts.rootless or os.geteuid() == 0
    uid, gid = (0, 0) if is_root else (os.geteuid(), os.getegid())
    place = run.workspace.place(path)
    for where, name in ((path, "."), (str(PurePosixPath(path).parent), place.name)):
        # Podman hears the first; Docker does not, but the second, which for Podman is another folder.
        if not await asyncio.to_thread(is_own, place, b""):
            await api.extract(container, where, folder_alone(place, name, uid, gid))
    handover = Handover(uid, gid, partial(is_own, place), folders_only=folders_only)
    async with api.archived(container, path) as archive:
        await api.extract(container, path, handover.rewritten(archive))
    _log.info("The engine has handed over %d entries of %s in %s.", handover.entries, path, container)
