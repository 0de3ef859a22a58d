"""A node that lies, with a valid identity: `lying_node.py LIE PYTHON -m tarpon serve ...` (no tests in here).

`digest` tells a digest that nobody has, `other=DIGEST` that of another result, `entries=NUMBER` another number of
entries, `late=FILE` tells everything once the file is there, and `bytes` sends the manifest of what a task that writes
"right" would have written, and "wrong" in its place.
"""

import asyncio
import hashlib
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from compute.archive import entry_pieces
from compute.executions import supervisor

POLL_SECONDS = 0.05


class RightSha256:
    """Of what should have been written."""

    def __init__(self, content: bytes = b"") -> None:
        self._digest = hashlib.sha256()
        self.update(content)

    def update(self, content: bytes) -> None:
        self._digest.update(bytes(content).replace(b"wrong", b"right"))

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def lie(how: str, about: str) -> None:
    published, publish = supervisor._published, supervisor.Supervisor._publish

    def told(*arguments: Any) -> Any:
        name, value = ("entries", int(about)) if how == "entries" else ("content_digest", about)
        return replace(published(*arguments), **{name: value})

    async def publish_late(self: Any, execution: Any) -> None:
        while not Path(about).exists():  # noqa: ASYNC110  # whatever it is asked to do meanwhile
            await asyncio.sleep(POLL_SECONDS)
        await publish(self, execution)

    match how:
        case "digest" | "other" | "entries":
            setattr(supervisor, "_published", told)  # noqa: B010  # another shape, as it lies
        case "late":
            supervisor.Supervisor._publish = publish_late  # type: ignore[method-assign]
        case "bytes":
            setattr(entry_pieces, "hashlib", SimpleNamespace(sha256=RightSha256))  # noqa: B010  # as above
        case _:
            raise SystemExit(f"{how!r} is no lie")


if __name__ == "__main__":
    how, _, about = sys.argv[1].partition("=")
    lie(how, about or "0" * 64)
    sys.argv = ["tarpon", *sys.argv[5:]]
    runpy.run_module("tarpon", run_name="__main__")
