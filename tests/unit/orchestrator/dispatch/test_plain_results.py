"""What the orchestrator does with the manifests of plain results, which may be large."""

import asyncio
import hashlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.dispatch import plain_results
from orchestrator.dispatch.plain_results import AT_ONCE, PlainResults
from orchestrator.rules.location import Location
from orchestrator.s3.verification import Verdict
from shared.protocol.messages import OutputPublished
from tests.builders import new_execution

MANIFEST = b"none"
TOLD = OutputPublished(
    size_bytes=len(MANIFEST), sha256=hashlib.sha256(MANIFEST).hexdigest(), md5="", entries=0, raw_bytes=0
)
WHERE = Location(bucket="b", key="j/e.manifest.json.gz", region="r")


class Slow:
    """A bucket that gives one object once it may go on."""

    def __init__(self, go_on: asyncio.Event) -> None:
        self.asked = asyncio.Event()
        self._go_on = go_on

    async def read(self, key: str, *, most_bytes: int) -> bytes:
        self.asked.set()
        await self._go_on.wait()
        return MANIFEST


async def verdict(results: PlainResults, node: str, bucket: Any) -> Verdict:
    return await results.verdict(new_execution(on=node, location=WHERE), bucket, TOLD, has_digests=True)


def ready() -> Slow:
    go_on = asyncio.Event()
    go_on.set()
    return Slow(go_on)


async def test_results_of_one_node_do_not_hold_up_those_of_another() -> None:
    results, go_on = PlainResults(), asyncio.Event()
    slow = Slow(go_on)
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(verdict(results, "busy", slow), name="busy")
        await slow.asked.wait()
        assert await verdict(results, "other", ready()) is Verdict.MISMATCH
        go_on.set()


async def test_manifests_are_hashed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def sha256(content: bytes) -> Any:
        threads.append(threading.current_thread())
        return hashlib.sha256(content)

    monkeypatch.setattr(plain_results, "hashlib", SimpleNamespace(sha256=sha256))
    await verdict(PlainResults(), "node", ready())
    assert len(threads) == 1
    assert threading.main_thread() not in threads
