"""A compute node's publishing alone, for benchmarks.publish: `python -m benchmarks.publishing FOLDER SCRATCH SOCKET`.

Packs and uploads FOLDER once, as a node does, and prints one JSON object. With `--fixed` as a last argument all blocks
are compressed at the fastest level. What a node writes down of an upload goes
into the folder SCRATCH; its questions for URLs go to SOCKET. Imported is what a node imports, so that the memory is a
node's as well.
"""

import asyncio
import json
import sys
from contextlib import closing
from pathlib import Path

import uvloop

from benchmarks.meter import OwnCost
from compute.upload.grants import ExecutionGrants
from compute.upload.put import upload_session
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import NotSent, Upload
from shared.ids import ExecutionId
from shared.protocol.messages import NodeRequestAnswer, UploadRequest, decode, encode, node_request_answers
from shared.runtime.allocator import keep_freed_memory

EXECUTION = ExecutionId("e-benchmark")
FIXED = "--fixed"
MAX_ANSWER_BYTES = 4 << 20


class Questions:
    """Asks whoever listens on the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, request: UploadRequest) -> NodeRequestAnswer:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_ANSWER_BYTES)
        try:
            writer.write(encode(request) + b"\n")
            return decode(node_request_answers, await reader.readline())
        finally:
            writer.close()


async def publish(folder: Path, scratch: Path, questions: Questions, *, adapts: bool) -> dict[str, float]:
    grants = ExecutionGrants(EXECUTION, questions.ask)
    await grants.renew()  # the first one comes with the assignment
    async with upload_session() as http:
        with closing(SharedLimits(http, adapts=adapts)) as uploading:
            cost = OwnCost()
            ended = await Upload(EXECUTION, folder, scratch, grants, uploading).run()
            measured = cost.so_far()
    if isinstance(ended, NotSent):
        sys.exit(f"{ended.reason}: {ended.detail}")
    return measured


def main(folder: str, scratch: str, socket: str, *options: str) -> None:
    keep_freed_memory()  # as a node does at its start
    adapts = FIXED not in options
    print(json.dumps(uvloop.run(publish(Path(folder), Path(scratch), Questions(Path(socket)), adapts=adapts))))


if __name__ == "__main__":
    main(*sys.argv[1:])
