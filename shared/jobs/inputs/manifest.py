"""Manifests: which files a tree of sent data has, by the digests of their bytes. The tree is known by its manifest's.

A manifest is JSON, its files in the order of their paths, so that the same tree has the same manifest wherever it lies
and whoever sends it. Neither times nor owners are in it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated

import msgspec

from shared.errors import InvalidInput
from shared.jobs.paths import MAX_PART_BYTES, MAX_PATH_BYTES

MAX_FILES = 100_000
MAX_MANIFEST_BYTES = 32 << 20
MAX_FILE_BYTES = 5 << 40
"""Of an object of S3 (Amazon S3 user guide, "Uploading objects")."""
PREFIX = "sha256:"
"""What a digest may begin with where a name could stand too."""

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class ManifestInvalid(InvalidInput):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"The list of the files is not right: {why}", hint="`tarpon data put` makes one; its format is in the docs."
        )


class DataFile(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One file. `path` is below the tree, and empty where the data is a single file. `sha256` is in hex."""

    path: str = ""
    sha256: str = msgspec.field(name="SHA256")
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE_BYTES)]
    executable: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    format: int = 1
    files: tuple[DataFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(each.size for each in self.files)


_decoder = msgspec.json.Decoder(Manifest)


def digest_in(text: str) -> str:
    """The digest that is written so, in hex; empty where it is none."""
    found = _DIGEST.match(text)
    return found[1] if found else ""


def encode_manifest(files: Iterable[DataFile]) -> bytes:
    return msgspec.json.encode(Manifest(files=tuple(sorted(files, key=attrgetter("path")))))


def decode_manifest(content: bytes, digest: str) -> Manifest:
    """The manifest that has this digest. Raises ManifestInvalid."""
    if hashlib.sha256(content).hexdigest() != digest:
        raise ManifestInvalid("its bytes have another SHA-256.")
    try:
        manifest = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestInvalid(f"{error}.") from None
    if problem := next(_problems(manifest), ""):
        raise ManifestInvalid(problem)
    return manifest


def _problems(manifest: Manifest) -> Iterator[str]:
    files = manifest.files
    if manifest.format != 1:
        yield f"its format is {manifest.format}, and 1 alone is known."
    if not 0 < len(files) <= MAX_FILES:
        yield f"it has {len(files):,} files; 1 to {MAX_FILES:,} are possible."
    if wrong := next((each for each in files if not _SHA256.match(each.sha256)), None):
        yield f"{wrong.sha256[:80]!r} is no SHA-256 in hex."
    if len(files) == 1 and not files[0].path:
        return
    for each in files:
        if problem := name_problem(each.path):
            yield f"{each.path[:80]!r} {problem}"
    yield from _order_problems([each.path for each in files])


def _order_problems(paths: Sequence[str]) -> Iterator[str]:
    taken: set[str] = set()
    last = ""
    for path in paths:
        if path <= last:
            yield f"{path[:80]!r} is there twice, or not in the order of the paths."
        last = path
        taken.add(path)
    for path in paths:
        above = path
        while above := above.rpartition("/")[0]:
            if above in taken:
                yield f"{above[:80]!r} is a file, and the folder of another one."


def name_problem(path: str) -> str:
    """Of a path below a tree, to go on with after it; empty where nothing is wrong."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not a name in UTF-8."
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        return "is not the path of a file below a folder."
    if size > MAX_PATH_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"is too long; {MAX_PATH_BYTES:,} bytes are possible, and {MAX_PART_BYTES} for each folder in it."
    return ""
