"""Reading of results in a browser: archives as nodes make them, and archives that nobody should trust."""

import asyncio
import base64
import gzip
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from orchestrator.api.page.files import page_files
from tests.archives import Packed, packed
from tests.e2e.page.browser import page_in

ORIGIN = "http://page.test"
READ = """
async ({archive, index}) => {
  const stored = (text) => new Blob([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))]);
  const text = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const [whole, lines] = [stored(archive), stored(index)];
  const { Offer } = await import("/page/results/offer.js");
  const { openResult } = await import("/page/results/contents.js");
  const { treeOf } = await import("/page/results/tree.js");
  const urls = { PreSignedURL: URL.createObjectURL(whole), IndexURL: URL.createObjectURL(lines) };
  const params = { ...urls, Size: whole.size, IndexSize: lines.size };
  try {
    const contents = await openResult(new Offer(params, () => params));
    const found = { files: [], others: [], sum: treeOf(contents.entries).size };
    for (const entry of contents.entries) {
      const file = contents.fileOf(entry);
      if (!file) found.others.push([entry.path, entry.kind, entry.target]);
      else found.files.push([entry.path, text(await contents.read(file, 0, file.size))]);
    }
    return found;
  } catch (error) {
    return { code: error.code ?? String(error), message: error.message };
  }
}
"""
Read = Callable[[bytes, bytes], dict[str, Any]]


@pytest.fixture(scope="module")
def read(browser: Browser) -> Iterator[Read]:
    """Reads an archive by the index, or as a whole where that is empty; a failure has a code."""

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix(f"{ORIGIN}/")
        file = page_files().get(path.removeprefix("page/"))
        route.fulfill(body=file.content if file else b"", content_type=file.media if file else "text/html")

    with page_in(browser, ORIGIN, {ORIGIN}) as (page, _):
        page.route(f"{ORIGIN}/**", serve)
        page.goto("/")

        def read(archive: bytes, index: bytes) -> dict[str, Any]:
            given = {"archive": base64.b64encode(archive).decode(), "index": base64.b64encode(index).decode()}
            found: dict[str, Any] = page.evaluate(READ, given)
            return found

        yield read


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Of several blocks, with names of all kinds; one file is in two of the blocks."""
    root = tmp_path_factory.mktemp("made")
    (root / "outputs" / ("long" * 30)).mkdir(parents=True)
    (root / "outputs" / ("long" * 30) / ("name" * 30)).write_text("deep")
    (root / "outputs" / "large").write_bytes(random.Random(20).randbytes(1_200_000))
    (root / "outputs" / "grün").write_text("green")
    Path(os.fsdecode(os.fsencode(root) + b"/outputs/\xff")).write_text("no text")
    (root / "outputs" / "link").symlink_to("large")
    os.link(root / "outputs" / "grün", root / "outputs" / "twin")
    (root / "empty").touch()
    with ThreadPoolExecutor(1) as thread:  # the browser's own loop is in this one
        return thread.submit(lambda: asyncio.run(packed(root))).result()


@pytest.mark.parametrize("how", ["by its index", "as a whole"])
def test_every_file_is_read_as_it_was(read: Read, made: Packed, how: str) -> None:
    found = read(made.archive, made.index if how == "by its index" else b"")
    files = dict(found["files"])
    assert files.pop("outputs/large").encode("latin1") == random.Random(20).randbytes(1_200_000)
    assert files == {
        f"outputs/{'long' * 30}/{'name' * 30}": "deep",
        "outputs/grün": "green",
        "outputs/twin": "green",
        r"outputs/\xff": "no text",
        "empty": "",
    }
    assert ["outputs/link", "symlink", "large"] in found["others"]
    assert found["sum"] == 1_200_000 + len("deepgreenno text")


def lines_of(made: Packed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(made.index).splitlines()]


def index_of(lines: list[dict[str, Any]]) -> bytes:
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def changed(made: Packed, kind: str, **values: Any) -> bytes:
    """The index with other values in the first line of this kind that has them."""
    lines = lines_of(made)
    next(line for line in lines if line["kind"] == kind and values.keys() & line.keys()).update(values)
    return index_of(lines)


DAMAGE: dict[str, Callable[[Packed], tuple[bytes, bytes]]] = {
    "an archive with another byte": lambda made: (made.archive[:900_000] + b"?" + made.archive[900_001:], made.index),
    "an archive that is cut": lambda made: (made.archive[:-500_000], made.index),
    "an index that is cut": lambda made: (made.archive, made.index[:-20]),
    "an index without its end": lambda made: (made.archive, index_of(lines_of(made)[:-1])),
    "an index of a later version": lambda made: (made.archive, changed(made, "index", version=2)),
    "a block of another checksum": lambda made: (made.archive, changed(made, "block", crc32=1)),
    "a block that unpacks to less": lambda made: (made.archive, changed(made, "block", tar_bytes=2 << 20)),
    "a block larger than any": lambda made: (made.archive, changed(made, "block", tar_bytes=1 << 40)),
    "a file behind the end": lambda made: (made.archive, changed(made, "file", at=1 << 40, size=1)),
    "a file of a size below zero": lambda made: (made.archive, changed(made, "file", size=-1)),
    "an archive that is no tar": lambda made: (gzip.compress(b"no tar" * 1000), b""),
    "an archive that is no gzip": lambda made: (b"no gzip" * 100, b""),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_told_as_that(read: Read, made: Packed, kind: str) -> None:
    assert read(*DAMAGE[kind](made)).get("code") == "ArchiveDamaged"


def test_what_is_too_much_for_a_page_is_told_as_that(read: Read, made: Packed) -> None:
    head, *_ = lines_of(made)
    end = {"kind": "end", "entries": 200, "blocks": 0, "tar_bytes": 0, "bytes": 10}
    many = [{"kind": "directory", "path": "d"}] * 300_001
    deep = [{"kind": "directory", "path": f"{number}/" + "d/" * 3000} for number in range(200)]
    assert read(made.archive, index_of([head, *many]))["code"] == "TooLargeForPage"
    assert read(made.archive, index_of([head, *deep, end]))["code"] == "TooLargeForPage"
    assert read(gzip.compress(bytes(257 << 20), 1), b"")["code"] == "TooLargeForPage"
