"""What `tarpon.Client` sends of a tree, and gets back, with a real orchestrator and a proxy before a real S3 server."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import tarpon
from shared.errors import DigestMismatch, RemoteError
from shared.runtime.aio import background
from tarpon.sending.local_tree import LocalFile, opened
from tarpon.sending.problems import FileChanged, TargetInTheWay, UploadFailed
from tests.faulty_s3 import INTERNAL, SLOW_DOWN, Fault, FaultyS3, Kind, answer
from tests.integration.running import Running, running_orchestrator
from tests.servers import HOST, S3Server
from tests.waiting import eventually

PART = 5 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarpon.http.calls.FIRST_BACKOFF_SECONDS", 0.02)


@pytest.fixture
async def s3(s3_server: S3Server) -> AsyncIterator[FaultyS3]:
    """Before the real one, for clients alone: it sees all that they send."""
    async with FaultyS3(s3_server.endpoint).serving() as faulty:
        yield faulty


@pytest.fixture
async def running(
    tmp_path: Path, s3_server: S3Server, s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    public = f"Publishers.Types.S3Managed.PublicEndpoint={s3.endpoint}"
    async with running_orchestrator(tmp_path / "o", s3_server, monkeypatch, sets=(public,)) as running:
        yield running


@pytest.fixture
async def client(running: Running) -> AsyncIterator[tarpon.Client]:
    async with tarpon.Client(HOST, running.config.api.port) as client:
        yield client


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A thousand files of 4 to 12 kB, two of which are the same."""
    root, chance = tmp_path / "tree", random.Random(7)
    for number in range(999):
        folder = root / f"d{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(chance.randbytes(chance.randrange(4000, 12000)))
    (root / "again").write_bytes((root / "d0" / "f0").read_bytes())
    (root / "d1" / "f1").chmod(0o755)
    return root


def sent_bytes(s3: FaultyS3) -> int:
    return s3.body_bytes(Kind.OTHER) + s3.body_bytes(Kind.PART)


def contents(root: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), os.access(path, os.X_OK))
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_of_a_thousand_files_one_that_changed_travels_alone(
    client: tarpon.Client, s3: FaultyS3, tree: Path
) -> None:
    first = await client.put_data(tree, name="n")
    whole = sent_bytes(s3)
    unique = sum(len(content) for content in {content for content, _ in contents(tree).values()})
    assert (first.sent_files, first.sent_bytes) == (999, whole)
    assert whole - unique < 200_000, "that is the list of the files"
    s3.seen.clear()
    again = await client.put_data(tree, name="n")
    assert (s3.seen, again.sent_bytes, again.data.digest) == ([], 0, first.data.digest)
    (tree / "d3" / "f3").write_bytes(b"changed")
    second = await client.put_data(tree, name="n")
    assert (second.sent_files, second.data.names) == (1, ("n",))
    assert sent_bytes(s3) == second.sent_bytes
    assert second.sent_bytes - 7 < 200_000, "the list again"
    assert sent_bytes(s3) < 0.02 * whole + 200_000


async def test_a_tree_comes_back_as_it_was_and_only_what_is_not_there(
    client: tarpon.Client, tree: Path, tmp_path: Path
) -> None:
    await client.put_data(tree, name="n")
    target = tmp_path / "back"
    got = await client.get_data("n", output_dir=target)
    assert contents(target) == contents(tree)
    assert got.fetched_files == 1000
    (target / "d3" / "f3").unlink()
    assert (await client.get_data("n", output_dir=target)).fetched_files == 1
    (target / "d3" / "f3").write_bytes(b"mine")
    with pytest.raises(TargetInTheWay):
        await client.get_data("n", output_dir=target)
    assert (target / "d3" / "f3").read_bytes() == b"mine"
    (target / "d3" / "f3").unlink()
    (target / "d3" / "f3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetInTheWay):
        await client.get_data("n", output_dir=target)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_single_file_is_data_too(client: tarpon.Client, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"w" * 100)
    sent = await client.put_data(tmp_path / "weights.bin", name="weights.v1")
    got = await client.get_data("weights.v1", output_dir=tmp_path / "out")
    assert Path(got.path) == tmp_path / "out" / "weights.v1"
    assert Path(got.path).read_bytes() == b"w" * 100
    assert sent.data.files == 1


async def test_bytes_that_are_not_those_that_were_sent_are_no_file(
    client: tarpon.Client, running: Running, s3_server: S3Server, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"right")
    await client.put_data(tmp_path / "a", name="n")
    bucket, objects = running.config.publishers.types.s3managed.bucket, s3_server.client()
    listed = objects.list_objects_v2(Bucket=bucket, Prefix="results/inputs/default/")["Contents"]
    (key,) = [each["Key"] for each in listed if "manifests" not in each["Key"]]
    objects.put_object(Bucket=bucket, Key=key, Body=b"wrong")
    with pytest.raises(DigestMismatch):
        await client.get_data("n", output_dir=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


# ---- interrupted ----------------------------------------------------------------------------------------------------


async def test_what_was_sent_before_a_cancellation_is_not_sent_again(
    client: tarpon.Client, s3: FaultyS3, tree: Path
) -> None:
    half = asyncio.Event()

    def on_progress(what: str, done: int, total: int) -> None:
        if what == "Sending" and done * 2 > total:
            half.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        sending = group.create_task(client.put_data(tree, on_progress=on_progress), name="sending")
        await half.wait()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    stored = sum(each.status == 200 for each in s3.of(Kind.OTHER))
    assert 400 < stored < 999
    rest = await client.put_data(tree)
    assert rest.sent_files <= 1000 - stored
    assert rest.data.ready


async def test_faults_of_the_network_and_of_s3_are_passed_over(client: tarpon.Client, s3: FaultyS3, tree: Path) -> None:
    s3.plan(Kind.OTHER, INTERNAL, SLOW_DOWN, Fault(cut_after=100), Fault(lose_answer=True), Fault(cut_after=0))
    assert (await client.put_data(tree)).data.ready
    assert s3.planned == 0


async def test_urls_that_have_expired_are_asked_for_again(client: tarpon.Client, s3: FaultyS3, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for number in range(3):
        (tmp_path / "t" / str(number)).write_bytes(b"%d" % number)
    expired = answer(403, "AccessDenied", "Request has expired", "<ServerTime>2026-11-22T00:00:00Z</ServerTime>")
    s3.plan(Kind.OTHER, Fault(), expired, expired)
    sent = await client.put_data(tmp_path / "t")
    assert (sent.data.ready, sent.sent_files) == (True, 3)


async def test_what_s3_refuses_for_good_is_told_with_its_words(
    client: tarpon.Client, s3: FaultyS3, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    s3.plan(Kind.OTHER, Fault(), answer(400, "EntityTooLarge", "Your proposed upload exceeds the maximum"))
    with pytest.raises(UploadFailed, match="EntityTooLarge") as caught:
        await client.put_data(tmp_path / "a")
    assert "X-Amz-Signature" not in str(caught.value)


# ---- changed --------------------------------------------------------------------------------------------------------


async def test_a_file_that_changes_while_it_is_sent_is_told_and_nothing_of_it_is_kept(
    client: tarpon.Client, s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time and size are put back, so that its bytes alone tell."""
    file = tmp_path / "a"
    file.write_bytes(b"a" * 3_000_000)
    before = file.stat()

    def opened_after(found: LocalFile) -> int:
        with file.open("r+b") as writing:
            writing.seek(2_500_000)
            writing.write(b"b")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return opened(found)

    monkeypatch.setattr("tarpon.sending.bodies.opened", opened_after)
    with pytest.raises(FileChanged, match="changed while it was read"):
        await client.put_data(file)
    assert [each.status for each in s3.of(Kind.OTHER)] == [200, 0], "the list, and a body that broke off"


async def test_a_file_that_goes_while_it_is_sent_is_told(
    client: tarpon.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"a" * 100)

    def opened_after(found: LocalFile) -> int:
        file.unlink()
        return opened(found)

    monkeypatch.setattr("tarpon.sending.bodies.opened", opened_after)
    with pytest.raises(FileChanged):
        await client.put_data(file)


# ---- large files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data_contents.ONE_PUT_BYTES", "data_parts.ONE_PUT_BYTES", "data_parts.LEAST_PART_BYTES"):
        monkeypatch.setattr(f"orchestrator.inputs.{name}", PART)
    (tmp_path / "large").write_bytes(random.Random(1).randbytes(4 * PART + 17))
    return tmp_path / "large"


async def test_a_large_file_goes_in_parts_and_comes_back(
    client: tarpon.Client, s3: FaultyS3, large: Path, tmp_path: Path
) -> None:
    s3.plan(Kind.PART, INTERNAL, Fault(cut_after=PART // 2))
    sent = await client.put_data(large, name="large")
    assert (sent.sent_files, len({each.part for each in s3.of(Kind.PART)})) == (1, 5)
    got = await client.get_data("large", output_dir=tmp_path / "out")
    assert Path(got.path).read_bytes() == large.read_bytes()


async def _set_when(event: asyncio.Event, is_so: Callable[[], bool]) -> None:
    await eventually(is_so, within=60, what="the other parts are there")
    event.set()


def allow_listing(s3_server: S3Server, bucket: str) -> None:
    """Of parts, which the documented policy does not."""
    policy = json.loads(s3_server.client().get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"] = [each for each in policy["Statement"] if each["Effect"] == "Allow"]
    policy["Statement"][0]["Action"].append("s3:ListMultipartUploadParts")
    s3_server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


async def test_of_a_large_file_the_parts_are_not_sent_again_that_are_there(
    client: tarpon.Client, s3: FaultyS3, s3_server: S3Server, running: Running, large: Path
) -> None:
    allow_listing(s3_server, running.config.publishers.types.s3managed.bucket)
    others_are_there = asyncio.Event()
    s3.plan(Kind.PART, replace(answer(400, "EntityTooLarge"), hold=others_are_there), part=4)

    def stored() -> set[int]:
        return {each.part for each in s3.of(Kind.PART) if each.status == 200}

    async with background(waiting=_set_when(others_are_there, lambda: len(stored()) >= 3)):
        with pytest.raises(UploadFailed):
            await client.put_data(large)
    before = stored()
    s3.seen.clear()
    assert (await client.put_data(large)).data.ready
    assert not before & {each.part for each in s3.of(Kind.PART)}, before


async def test_an_upload_that_is_gone_is_begun_again(client: tarpon.Client, s3: FaultyS3, large: Path) -> None:
    s3.plan(Kind.PART, answer(404, "NoSuchUpload"), part=2)
    assert (await client.put_data(large)).data.ready


# ---- refused --------------------------------------------------------------------------------------------------------


async def test_what_the_orchestrator_refuses_is_told_in_its_words(client: tarpon.Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(RemoteError) as caught:
        await client.put_data(tmp_path / "a", name="no/name")
    assert caught.value.remote_code == "DataNameInvalid"
    with pytest.raises(RemoteError) as caught:
        await client.get_data("nothing")
    assert caught.value.remote_code == "DataNotFound"
