"""What replicas are compared by comes from their manifests, which are not trusted, and is told where it differs."""

import asyncio
import hashlib
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from compute.archive.content_stream import ContentStream
from compute.archive.manifest import ContentManifest
from orchestrator.dispatch import answers
from orchestrator.dispatch.answers import (
    LARGE_AT_ONCE,
    MOST_PATHS,
    SMALL_BYTES,
    ReplicaAnswers,
    _answer,
    _differing,
    why_not_comparable,
)
from orchestrator.rules.location import Location
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import Absent
from shared.errors import StorageUnavailable
from shared.jobs.replicas.verification import PATHS, RESULT, STDOUT
from shared.protocol.messages import OutputPublished
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES, MOST_ENTRIES
from tests.builders import new_execution

FILES = {"exitCode": "0", "outputs/a": "one", "outputs/b/c": "two", "stderr": "", "stdout": "hello"}


class Made:
    """The manifest of these files."""

    def __init__(self, scratch: Path, files: dict[str, str], *, mode: int = 0o644) -> None:
        root = scratch / f"root-{len(list(scratch.iterdir()))}"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(mode)
        with closing(ContentManifest(scratch)) as written:
            written.add([each.entry for each in ContentStream(root).entries()])
            written.finish()
            with written.content() as manifest:
                self.manifest = bytes(manifest)
            self.told = PublishedFacts(
                size_bytes=1,
                sha256="",
                entries=written.entries,
                raw_bytes=written.content_bytes,
                content_digest=written.content_digest,
                manifest_bytes=len(self.manifest),
                manifest_sha256=hashlib.sha256(self.manifest).hexdigest(),
            )

    def answer(self, of: str) -> str:
        return _answer(self.manifest, self.told, of)


@pytest.mark.parametrize(
    ("of", "changed"),
    [
        (RESULT, {"outputs/a", "outputs/b/c", "stdout", "stderr", "exitCode"}),
        (PATHS, {"outputs/a", "outputs/b/c"}),
        (STDOUT, {"stdout"}),
    ],
)
def test_what_is_not_compared_makes_no_difference(tmp_path: Path, of: str, changed: set[str]) -> None:
    own = Made(tmp_path, FILES).answer(of)
    assert own
    assert own == Made(tmp_path, FILES).answer(of)
    assert {name for name in FILES if Made(tmp_path, FILES | {name: "else"}).answer(of) != own} == changed


def test_modes_and_names_are_compared_too(tmp_path: Path) -> None:
    own = Made(tmp_path, FILES).answer(PATHS)
    assert own != Made(tmp_path, FILES, mode=0o600).answer(PATHS)
    assert own != Made(tmp_path, FILES | {"outputs/d": ""}).answer(PATHS)


def test_a_node_that_told_another_digest_than_its_manifest_has_gives_no_answer(tmp_path: Path) -> None:
    own, other = Made(tmp_path, FILES), Made(tmp_path, FILES | {"stdout": "else"})
    assert not _answer(own.manifest, other.told, RESULT)
    assert not _answer(own.manifest[:-9], own.told, RESULT)
    assert not _answer(b"nonsense", own.told, RESULT)


@pytest.mark.parametrize("name", ["entries", "raw_bytes"])
@pytest.mark.parametrize("more", [-1, 1, 10**15])
def test_a_node_that_told_other_numbers_gives_no_answer(tmp_path: Path, name: str, more: int) -> None:
    """Nobody could fetch a result of which it says that it needs more room than there is."""
    own = Made(tmp_path, FILES)
    assert not _answer(own.manifest, replace(own.told, **{name: getattr(own.told, name) + more}), RESULT)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"entries": MOST_ENTRIES}, ""),
        ({"entries": MOST_ENTRIES + 1}, "500,001 files, folders and links, of which 500,000 can be compared."),
        ({"manifest_bytes": MAX_MANIFEST_BYTES + 1}, "a manifest of more than 64 MiB."),
        ({"manifest_bytes": 0}, "a manifest of more than 64 MiB."),
    ],
)
def test_what_is_too_large_is_no_answer(tmp_path: Path, changed: dict[str, int], why: str) -> None:
    told = why_not_comparable(replace(Made(tmp_path, FILES).told, **changed))
    assert told == (why and f"Its result is too large to be compared with those of other replicas: it has {why}")


@pytest.mark.parametrize(
    ("other", "of", "paths"),
    [
        ({"stdout": "else"}, RESULT, ["stdout"]),
        ({"stdout": "else"}, PATHS, []),
        ({"outputs/a": "else", "outputs/b/d": "", "stdout": "x"}, RESULT, ["outputs/a", "outputs/b/d", "stdout"]),
        ({f"outputs/b/{number}": "" for number in range(9)}, PATHS, [f"outputs/b/{n}" for n in range(MOST_PATHS)]),
    ],
)
def test_the_first_paths_that_differ_are_told(tmp_path: Path, other: dict[str, Any], of: str, paths: list[str]) -> None:
    one, two = Made(tmp_path, FILES).manifest, Made(tmp_path, FILES | other).manifest
    assert _differing(one, two, of) == _differing(two, one, of) == paths


def test_a_path_is_told_as_it_may_be_printed(tmp_path: Path) -> None:
    one, two = Made(tmp_path, FILES).manifest, Made(tmp_path, FILES | {"outputs/\x1b[2J": ""}).manifest
    (told,) = _differing(one, two, PATHS)
    assert told.isprintable()


class Stored(Locations):
    """A bucket that gives this for an object, whatever is asked for."""

    def __init__(self, content: bytes | Absent) -> None:
        super().__init__(None)
        self.content = content

    async def bucket_of(self, location: Location) -> Any:
        return self

    async def read(self, key: str, *, most_bytes: int) -> bytes | Absent:
        return self.content


async def test_no_more_large_manifests_are_read_at_once_than_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, going, most = Made(tmp_path, FILES), [0], [0]
    told = OutputPublished(**made.told.told() | {"manifest_bytes": SMALL_BYTES + 1})
    lock = threading.Lock()

    def slow(*_: object) -> str:
        with lock:
            going[0] += 1
            most[0] = max(most[0], going[0])
        time.sleep(0.05)
        with lock:
            going[0] -= 1
        return "a"

    monkeypatch.setattr(answers, "_answer", slow)
    looking = ReplicaAnswers(Stored(made.manifest))
    where = Location(bucket="b", key="k.tar.gz", region="r")
    records = [new_execution(on=f"n-{number % 2}", location=where) for number in range(8)]
    async with asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(looking.of(record, told, RESULT), name="answer")
    assert most == [LARGE_AT_ONCE]


async def test_large_answers_of_one_node_do_not_hold_up_those_of_another(tmp_path: Path) -> None:
    made, begun, go_on = Made(tmp_path, FILES), asyncio.Event(), asyncio.Event()
    told = OutputPublished(**made.told.told() | {"manifest_bytes": SMALL_BYTES + 1})
    where = Location(bucket="b", key="k.tar.gz", region="r")

    class Slow(Stored):
        """For all but one key."""

        async def bucket_of(self, location: Location) -> Any:
            if location == where:
                begun.set()
                await go_on.wait()
            return self

    looking = ReplicaAnswers(Slow(made.manifest))
    async with asyncio.TaskGroup() as group:
        for _ in range(LARGE_AT_ONCE):
            group.create_task(looking.of(new_execution(on="busy", location=where), told, RESULT), name="busy")
        await begun.wait()
        other = new_execution(on="other", location=replace(where, key="other.tar.gz"))
        assert await looking.of(other, told, RESULT)
        go_on.set()


async def test_a_node_is_not_held_to_a_manifest_that_the_orchestrator_may_not_read(tmp_path: Path) -> None:
    told = OutputPublished(**Made(tmp_path, FILES).told.told())
    record = new_execution(location=Location(bucket="b", key="k.tar.gz", region="r"))
    with pytest.raises(StorageUnavailable):
        await ReplicaAnswers(Stored(Absent())).of(record, told, RESULT)


def test_where_results_differ_is_not_looked_for_any_longer_than_somebody_waits(tmp_path: Path) -> None:
    one, two = Made(tmp_path, FILES).manifest, Made(tmp_path, FILES | {"stdout": "else"}).manifest
    assert _differing(one, two, RESULT, time.monotonic() - 1) == []
