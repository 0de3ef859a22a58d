"""The engine's own log of a container, from which output is read again that the node has not heard."""

import asyncio
import contextlib
from collections.abc import Mapping

from compute.engines.docker.api import DockerApi
from compute.engines.docker.ends import LOG_INCOMPLETE, LOG_UNSURE
from compute.engines.docker.newlines import LostNewlines
from compute.engines.docker.output import Outputs
from compute.engines.docker.spec import LOG_FILE_BYTES
from compute.engines.engine import Broken


async def read_log(
    api: DockerApi, name: str, outputs: Outputs, *, loses_newlines: bool, heard: Mapping[str, int]
) -> Broken | None:
    """What is wrong with it, if it cannot be whole: it may not have less than was heard of each file already."""
    with contextlib.closing(outputs):
        await asyncio.to_thread(outputs.open, newlines=LostNewlines() if loses_newlines else None)
        async with api.logged(name, with_times=loses_newlines) as chunks:
            async for chunk in chunks:
                await asyncio.to_thread(outputs.feed, chunk)
        is_sure = outputs.is_known_to_its_end or await asyncio.to_thread(outputs.end_as, heard)
    if outputs.over:
        return None
    if not is_sure:
        return LOG_UNSURE
    # Whenever the engine has thrown a part of its log away, at least one whole file is left.
    is_whole = outputs.logged_bytes < LOG_FILE_BYTES and all(
        outputs.written[name] >= size for name, size in heard.items()
    )
    return None if is_whole else LOG_INCOMPLETE
