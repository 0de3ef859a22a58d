"""What a task writes while it runs, as the orchestrator hands it on from the task's node."""

from collections.abc import AsyncGenerator, Mapping

import aiohttp
import msgspec

from shared.errors import MessagingUnavailable, OrchestratorUnreachable
from shared.rest import BASE_PATH, LogFrame, LogLine
from tarpon.calls import Calls

MAX_FRAME_BYTES = 4 << 20

_frames = msgspec.json.Decoder(LogFrame)


async def live_logs(calls: Calls, path: str, query: Mapping[str, str]) -> AsyncGenerator[LogLine, None]:
    """Ends when there is no more. Raises MessagingUnavailable with what the orchestrator says went wrong."""
    url = f"{calls.url}{BASE_PATH}{path}"
    try:
        async with calls.session.ws_connect(url, params=query, max_msg_size=MAX_FRAME_BYTES) as socket:
            async for message in socket:
                frame = _frames.decode(message.data)
                if frame.error:
                    raise MessagingUnavailable(frame.error, hint="Try again, or wait until the job has ended.")
                if frame.value is not None:
                    yield frame.value
    except aiohttp.ClientError as error:
        raise OrchestratorUnreachable(calls.url) from error
