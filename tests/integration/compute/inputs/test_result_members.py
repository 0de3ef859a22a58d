"""Of a result of which a task reads some files, little else than those travels to its node."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.disk.input_files import MountedInput
from compute.inputs.failures import InputFailed
from compute.inputs.objects.unpacking import unpack_result
from shared.protocol.nodes.inputs import InputFile, InputIndex
from shared.protocol.objects import index_key
from shared.protocol.signed_url import SignedUrl
from tests.archives import Packed, packed
from tests.faulty_s3 import EXPIRED, INTERNAL, PASS, TRUNCATE, Kind
from tests.integration.fetching import Fetching, fetching
from tests.servers import S3Server

FILES = {f"outputs/{number}": random.Random(number).randbytes(1 << 20) for number in range(12)}
FEW = ("outputs/3", "outputs/9")
LEAST, MOST = 2 << 20, 6 << 20
"""Bytes of blocks in which two files are."""


@pytest.fixture
async def bench(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Fetching]:
    async with fetching(s3_server, tmp_path, unpack=unpack_result) as made:
        yield made


@pytest.fixture
async def made(tmp_path: Path) -> Packed:
    for path, content in FILES.items():
        file = tmp_path / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return await packed(tmp_path / "source")


async def publish(bench: Fetching, made: Packed, *members: str, sha256: str = "", index: bytes = b"") -> InputFile:
    """As a node published it, and that the task reads these members."""
    key = f"{bench.desk.prefix}/{index_key('result.tar.gz')}"
    await bench.desk.store(key, index or made.index)
    told = InputIndex(
        size=len(made.index),
        sha256=sha256 or made.index_sha256,
        url=SignedUrl(method="GET", url=key, lifetime_seconds=0),
    )
    return await bench.desk.add(
        "", made.archive, key="result.tar.gz", is_hashed=True, archive=True, members=members, index=told
    )


def read(mounted: MountedInput) -> dict[str, bytes]:
    found = [path for path in mounted.path.rglob("*") if path.is_file()]
    return {str(path.relative_to(mounted.path)): path.read_bytes() for path in found}


def of(*members: str) -> dict[str, bytes]:
    return {member: FILES[member] for member in members}


def travelled(bench: Fetching, made: Packed) -> int:
    """Bytes of the archive that were asked for and given."""
    ranges = [
        each.headers.get("range", f"bytes=0-{len(made.archive) - 1}")
        for each in bench.s3.seen
        if "result.tar.gz" in each.url and each.status in {200, 206}
    ]
    bounds = [each.removeprefix("bytes=").split("-") for each in ranges]
    return sum(int(last) - int(first) + 1 for first, last in bounds)


@pytest.mark.parametrize("engine", ["docker", "process"])
async def test_the_blocks_alone_travel_of_what_is_read_and_once(bench: Fetching, made: Packed, engine: str) -> None:
    await publish(bench, made, *FEW)
    (mounted,) = await bench.fetch(engine=engine)
    assert await asyncio.to_thread(read, mounted) == of(*FEW)
    (again,) = await bench.fetch("e-2", engine=engine)
    assert await asyncio.to_thread(read, again) == of(*FEW)
    assert LEAST <= travelled(bench, made) <= MOST
    assert bench.cache.total_bytes <= LEAST + MOST


async def test_who_reads_most_of_it_takes_all_of_it(bench: Fetching, made: Packed) -> None:
    await publish(bench, made, "outputs")
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(read, mounted) == FILES
    assert travelled(bench, made) == len(made.archive)


async def test_of_an_archive_that_is_there_nothing_travels_again(bench: Fetching, made: Packed) -> None:
    file = await publish(bench, made, *FEW)
    bench.desk.files = [replace(file, members=(), index=None)]
    await bench.fetch()
    seen = len(bench.s3.seen)
    bench.desk.files = [file]
    (mounted,) = await bench.fetch("e-2")
    assert await asyncio.to_thread(read, mounted) == of(*FEW)
    assert len(bench.s3.seen) == seen


async def test_all_of_it_travels_where_the_index_is_not_what_was_recorded(bench: Fetching, made: Packed) -> None:
    await publish(bench, made, *FEW, sha256="0" * 64)
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(read, mounted) == of(*FEW)
    assert travelled(bench, made) == len(made.archive)


async def test_all_of_it_travels_where_the_index_is_gone(bench: Fetching, made: Packed) -> None:
    file = await publish(bench, made, *FEW)
    assert file.index is not None
    key = file.index.url.url
    await asyncio.to_thread(bench.desk.server.client().delete_object, Bucket=bench.desk.bucket, Key=key)
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(read, mounted) == of(*FEW)


async def test_what_s3_refuses_or_cuts_off_is_asked_for_again(bench: Fetching, made: Packed) -> None:
    await publish(bench, made, *FEW)
    bench.s3.plan(Kind.OTHER, INTERNAL, PASS, INTERNAL, EXPIRED, TRUNCATE)  # the index first
    (mounted,) = await bench.fetch()
    assert await asyncio.to_thread(read, mounted) == of(*FEW)
    assert travelled(bench, made) <= 2 * MOST


async def test_a_result_that_was_replaced_is_told(bench: Fetching, made: Packed) -> None:
    await publish(bench, made, *FEW)
    await bench.desk.store(f"{bench.desk.prefix}/result.tar.gz", made.archive[::-1])
    with pytest.raises(InputFailed, match="has changed since the job was submitted"):
        await bench.fetch()


async def test_a_path_that_is_not_in_the_result_is_told(bench: Fetching, made: Packed) -> None:
    await publish(bench, made, "outputs/3", "nothing")
    with pytest.raises(InputFailed, match="The result that the task reads has no nothing"):
        await bench.fetch()
