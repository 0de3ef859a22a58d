"""The files of the page, as they come with the package: read once, and told apart by what is in them."""

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""Others are no files of the page."""
START = "index.html"


class PageFile(NamedTuple):
    """`packed` is the content as gzip; `tag` is the same for the same content."""

    content: bytes
    packed: bytes
    media: str
    tag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """By their path below the page, as in `views/job.js`. Some 400 KB."""
    return dict(_below(files(__package__) / "static", ""))


def _below(folder: Traversable, place: str) -> list[tuple[str, PageFile]]:
    found: list[tuple[str, PageFile]] = []
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = f"{place}{each.name}"
        if each.is_dir():
            found += _below(each, f"{path}/")
        elif (media := TYPES.get(f".{each.name.rpartition('.')[2]}")) is not None:
            content = each.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found.append((path, PageFile(content, gzip.compress(content, 6, mtime=0), media, tag)))
    return found
