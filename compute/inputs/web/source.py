"""URLs as a source of inputs: what all downloads of a node share."""

import asyncio
import shutil
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
from yarl import URL

from compute.inputs.disk_left import left_bytes
from compute.inputs.objects.progress import FetchProgress
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace, told_of
from compute.inputs.read_inputs import url_read
from compute.inputs.web.answers import address_refused, shown
from compute.inputs.web.download import DownloadBounds, FetchedFile, OnBytes, UrlDownload
from shared.data.addresses import NO_ADDRESS, AllowedAddresses, allowed_networks
from shared.jobs.inputs.kinds import UrlInputParams, read_params
from shared.jobs.quantities import parse_bytes
from shared.settings.inputs import InputSettings
from shared.web.guarded_http import guarded_session

PART = ".part"
"""What is not complete yet is called so."""


class UrlInputs:
    """Of a node. Each download has connections of its own."""

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings

    def __repr__(self) -> str:
        return f"<UrlInputs {self._settings}>"

    async def provide(self, place: InputPlace, order: InputOrder) -> Path:
        """A folder with the file. Raises InputFailed, OSError."""
        url = read_params(place.source.source, UrlInputParams).url
        progress = UrlProgress(order.on_progress)
        with told_of(place.target):
            place.path.mkdir(0o700)
        part = place.path / PART
        async with url_source(self._settings) as source:
            fetched = await source.fetch(url, part, task_bytes=await left_bytes(order), on_bytes=progress.on_bytes)
        with told_of(place.target):
            part.rename(place.path / fetched.name)
        told = shown(_parsed(url))
        order.on_known(
            (url_read(place.number, fetched.name, told, size_bytes=fetched.size_bytes, sha256=fetched.sha256),)
        )
        return place.path


class UrlProgress:
    """Tells of one download in the words of all fetching."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._progress: FetchProgress | None = None
        self._done = 0

    def on_bytes(self, done: int, total: int | None) -> None:
        if self._progress is None or done < self._done:
            self._progress = FetchProgress(1, total or 0, self._tell)
            self._done = 0
        self._progress.came(done - self._done)
        self._done = done


class UrlSource:
    """`by_proxy` is used for what the node's environment names a proxy for; None uses none."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        allowed: AllowedAddresses,
        bounds: DownloadBounds,
        *,
        by_proxy: aiohttp.ClientSession | None = None,
    ) -> None:
        self._http = http
        self._allowed = allowed
        self._bounds = bounds
        self._by_proxy = by_proxy

    def __repr__(self) -> str:
        return f"<UrlSource at {self._allowed!r}>"

    async def fetch(
        self, url: str, to: Path, *, task_bytes: int = 0, on_bytes: OnBytes = lambda _done, _of: None
    ) -> FetchedFile:
        """Write the file to the path `to`, where nothing is yet. What has come of it is left there when it fails.

        `task_bytes` is what the task may still fill of the disk; 0 is no limit. Raises InputFailed, and OSError of the
        disk.
        """
        disk = await asyncio.to_thread(shutil.disk_usage, to.parent)
        bounds = replace(self._bounds, task_bytes=task_bytes, free_bytes=disk.free)
        return await UrlDownload(self._requested, _parsed(url), to, bounds, on_bytes).run()

    @asynccontextmanager
    async def _requested(self, url: URL, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever it is. Raises what aiohttp does, and NotServed."""
        http, proxy = self._http, None
        if self._by_proxy is not None and (proxy := proxy_of(url)):
            http = self._by_proxy
            why = self._allowed.why_refused(url.host or "")
            if why not in {"", NO_ADDRESS}:  # a name is for the proxy to judge
                raise address_refused(why)
        async with http.get(url, headers=headers, allow_redirects=False, proxy=proxy) as response:
            yield response


@asynccontextmanager
async def url_source(settings: InputSettings) -> AsyncIterator[UrlSource]:
    allowed = AllowedAddresses(allowed_networks(settings.allowed_addresses))
    bounds = DownloadBounds(size_bytes=parse_bytes(settings.url_download.size_limit))
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(guarded_session(allowed))
        by_proxy = await opened.enter_async_context(guarded_session(None)) if settings.url_download.use_proxy else None
        yield UrlSource(http, allowed, bounds, by_proxy=by_proxy)


def _parsed(url: str) -> URL:
    return URL(url, encoded=url.isascii())


def proxy_of(url: URL) -> str | None:
    """By the environment of this process."""
    if urllib.request.proxy_bypass(url.host_port_subcomponent or ""):
        return None
    return urllib.request.getproxies().get(url.scheme)
