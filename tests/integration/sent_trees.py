"""Trees of sent data as a client of the HTTP API sends them, step by step (no tests in here)."""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from shared.jobs.inputs.manifest import DataFile, encode_manifest
from tests.integration.running import Running

DATA = "/data"


class SentTree:
    """Files by their paths, in memory. `sent` are the bytes of all bodies that went to S3."""

    def __init__(self, running: Running, files: Mapping[str, bytes], *, namespace: str = "default") -> None:
        self._running = running
        self.contents = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
        self.files = [
            DataFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            for path, content in files.items()
        ]
        self.manifest = encode_manifest(self.files)
        self.digest = hashlib.sha256(self.manifest).hexdigest()
        self.namespace = namespace
        self.sent = 0

    async def api(self, path: str = "", body: Any = None, method: str = "PUT") -> Any:
        return await self._running.api(f"{DATA}/{self.digest}{path}?namespace={self.namespace}", body, method)

    async def begin(self, name: str = "", **more: Any) -> Any:
        told = {"Name": name, "ManifestBytes": len(self.manifest), "Files": len(self.files)}
        told["SizeBytes"] = sum(each.size for each in self.files)
        return await self.api("", told | more)

    async def missing(self, first: int = 0) -> Any:
        return await self.api("/missing", {"First": first})

    async def finish(self) -> Any:
        return await self.api("/finish")

    async def send(self, put: Any, body: bytes) -> int:
        """The status; nothing of a client's own but what is signed, and a Content-Type as half of them send it."""
        self.sent += len(body)
        async with self._running.http.put(
            URL(put["URL"], encoded=True), data=body, headers=put["Headers"] | {"Content-Type": "text/plain"}
        ) as answer:
            return answer.status

    async def send_all(self, name: str = "") -> Any:
        """All that has to be, as a client does; what is known of it then."""
        begun = await self.begin(name)
        if begun["Data"]["Ready"]:
            return begun["Data"]
        if begun["Manifest"] is not None:
            assert await self.send(begun["Manifest"], self.manifest) == 200
        first = 0
        while True:
            page = await self.missing(first)
            for each in page["Missing"]:
                assert await self.send(each["Put"], self.contents[each["SHA256"]]) == 200
            first = page["Next"]
            if not first:
                break
        return await self._finished()

    async def _finished(self) -> Any:
        async with asyncio.timeout(30):
            while not (found := await self.finish())["Data"]["Ready"]:
                assert found["Missing"] == 0, found
        return found["Data"]


async def fetched(running: Running, url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as answer:
        return answer.status, await answer.read()
