"""The page at the API's address: its files, which know nothing that the API does not tell."""

from collections.abc import Callable, Mapping

from aiohttp import web

from orchestrator.api.page.files import START, PageFile, page_files
from orchestrator.api.routes import Route
from shared.errors import NotFound
from shared.protocol.capabilities import OPEN

FILES = ("/page/{name}", "/page/{folder}/{name}")


class PageRoutes:
    """`headers` tells what goes with the page's files, which depends on where the bucket is."""

    def __init__(self, headers: Callable[[], Mapping[str, str]]) -> None:
        self._headers = headers

    def routes(self) -> tuple[Route, ...]:
        """Not part of the API, and so not of its description."""
        return (
            Route("GET", "/", self.get_page, "The page.", media="text/html", needs=OPEN),
            *(Route("GET", path, self.get_page_file, "A file of the page.", media="*/*", needs=OPEN) for path in FILES),
        )

    async def get_page(self, request: web.Request) -> web.Response:
        return self._sent(request, page_files()[START])

    async def get_page_file(self, request: web.Request) -> web.Response:
        path = "/".join(request.match_info.values())
        found = page_files().get(path)
        if found is None:
            raise NotFound(f"The page has no file {path[:100]!r}.")
        return self._sent(request, found)

    def _sent(self, request: web.Request, file: PageFile) -> web.Response:
        """A browser asks each time whether what it has is still right, so that a new release shows at once."""
        headers = {**self._headers(), "Cache-Control": "no-cache", "ETag": file.tag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        content = file.content
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            content, headers["Content-Encoding"] = file.packed, "gzip"
        return web.Response(body=content, content_type=file.media, charset="utf-8", headers=headers)
