"""A manifest that is not that of its result is refused where a comparison has to read what it tells of."""

from collections.abc import Iterator, Sequence

import pytest

from shared.extraction.manifest_reading import ManifestDamaged
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.plain import OnBytes, Take
from tarpon.comparison.compare import compare_sources
from tarpon.comparison.entries import ComparedEntry
from tarpon.comparison.views import ComparedResult, ResultComparison

TOLD = ComparedResult(execution_id="e-1")


class InMemory:
    """The contents of a result."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def entries(self) -> Iterator[Member]:
        for name, content in self._files.items():
            yield Member(
                kind=MemberKind.FILE,
                name=name.encode(),
                link_target=b"",
                size_bytes=len(content),
                mode=0o644,
                mtime_ns=0,
            )

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        raise NotImplementedError

    async def data_bytes(self, files: Sequence[Member] | None) -> int:
        raise NotImplementedError

    async def part_readers(self, files: Sequence[Member]) -> "list[Part]":
        return [Part(self._files[each.name.decode()]) for each in files]


class Part:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, start: int, end: int) -> bytes:
        return self._content[start:end]

    def close(self) -> None:
        pass


class ToldOf:
    """Contents of which a manifest says what their digests are."""

    def __init__(self, files: dict[str, bytes], digests: dict[str, str]) -> None:
        self.contents = InMemory(files)
        self._digests = digests

    def entries(self) -> Iterator[ComparedEntry]:
        for name, digest in self._digests.items():
            yield ComparedEntry(name.encode(), MemberKind.FILE, 0o644, 4, b"", digest.encode())


async def compared(first: ToldOf, second: ToldOf) -> ResultComparison:
    return await compare_sources((TOLD, TOLD), first, second, 20)


async def test_what_a_manifest_tells_is_looked_at_where_it_differs() -> None:
    found = await compared(ToldOf({"a": b"1234"}, {"a": "one"}), ToldOf({"a": b"1334"}, {"a": "other"}))
    (difference,) = found.differences
    assert difference.bytes is not None
    assert (difference.path, difference.bytes.at, found.paths, found.differing) == ("a", 1, 1, 1)


async def test_a_manifest_that_tells_of_other_bytes_is_refused() -> None:
    with pytest.raises(ManifestDamaged, match="whose bytes are the same in both results"):
        await compared(ToldOf({"a": b"1234"}, {"a": "one"}), ToldOf({"a": b"1234"}, {"a": "other"}))


async def test_a_manifest_that_tells_of_a_file_which_is_not_there_is_refused() -> None:
    with pytest.raises(ManifestDamaged, match="which the result has not got"):
        await compared(ToldOf({"a": b"1234"}, {"a": "one"}), ToldOf({}, {"a": "other"}))
