"""Data that people send: over the HTTP API of a real orchestrator, to a real S3 server."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.running import Running, running_orchestrator
from tests.integration.sent_trees import SentTree, fetched
from tests.servers import REGION, S3Server

TREE = {"a.txt": b"one", "sub/b.bin": bytes(range(256)) * 40, "sub/empty": b"", "z.txt": b"one"}


@pytest.fixture
async def small(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """With room for 20 kB in a namespace, and 15 kB in a file."""
    sets = ("Orchestrator.SentData.Quota=20kB", "Orchestrator.SentData.MaxFileSize=15kB")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running:
        yield running


def told(answer: Any) -> tuple[str, str]:
    return answer["Details"].get("TarponCode", answer["Code"]), answer["Message"]


async def test_a_tree_is_sent_found_and_read_as_it_was(running: Running) -> None:
    tree = SentTree(running, TREE)
    data = await tree.send_all("train-1")
    assert (data["Digest"], data["Names"], data["Ready"]) == (f"sha256:{tree.digest}", ["train-1"], True)
    assert (data["Files"], data["SizeBytes"]) == (4, 3 + 10240 + 0 + 3)
    for name in ("train-1", tree.digest, f"sha256:{tree.digest}", tree.digest[:8]):
        assert (await running.api(f"/data/{name}"))["Data"] == data
    files = (await running.api("/data/train-1/files"))["Files"]
    read = {each["File"]["Path"]: await fetched(running, each["URL"]) for each in files}
    assert read == {path: (200, content) for path, content in TREE.items()}
    listed = await running.api("/data")
    assert (listed["Data"], listed["SizeBytes"], listed["QuotaBytes"]) == ([data], 10246, 10**12)


async def test_the_same_content_is_sent_once_in_a_namespace_and_again_in_another(running: Running) -> None:
    first = SentTree(running, TREE)
    await first.send_all()
    changed = SentTree(running, TREE | {"a.txt": b"two"})
    await changed.send_all()
    assert changed.sent == len(changed.manifest) + 3
    again = SentTree(running, TREE)
    await again.send_all("named")
    assert again.sent == 0
    elsewhere = SentTree(running, TREE, namespace="other")
    await elsewhere.send_all()
    assert elsewhere.sent == first.sent


async def test_an_upload_that_was_broken_off_goes_on_with_what_is_missing(running: Running) -> None:
    tree = SentTree(running, TREE)
    begun = await tree.begin()
    await tree.send(begun["Manifest"], tree.manifest)
    page = await tree.missing()
    large = next(each for each in page["Missing"] if each["Size"] > 1000)
    await tree.send(large["Put"], tree.contents[large["SHA256"]])
    unfinished = await tree.finish()
    assert (unfinished["Data"]["Ready"], unfinished["Missing"]) == (False, 2)
    code, _ = told(await running.api(f"/data/{tree.digest}/files"))
    assert code == "DataNotWhole"
    later = SentTree(running, TREE)
    await later.send_all()
    assert later.sent == 3


async def test_other_bytes_under_a_digest_are_refused_by_s3(running: Running) -> None:
    tree = SentTree(running, {"a": b"right"})
    begun = await tree.begin()
    assert await tree.send(begun["Manifest"], b"x" * len(tree.manifest)) == 400
    assert await tree.send(begun["Manifest"], tree.manifest) == 200
    put = (await tree.missing())["Missing"][0]["Put"]
    assert await tree.send(put, b"wrong") == 400
    other_length = {"URL": put["URL"], "Headers": put["Headers"] | {"content-length": "8"}}
    assert await tree.send(other_length, b"too long") == 403
    assert (await tree.finish())["Missing"] == 1
    assert await tree.send(put, b"right") == 200
    assert await tree.send(put, b"right") == 412, "a content is written once"
    assert (await tree.finish())["Data"]["Ready"]


async def test_what_is_there_with_another_size_is_missing_and_replaced(running: Running, s3_server: S3Server) -> None:
    tree = SentTree(running, {"a": b"right"})
    begun = await tree.begin()
    await tree.send(begun["Manifest"], tree.manifest)
    bucket = running.config.publishers.types.s3managed.bucket
    key = f"results/inputs/default/{hashlib.sha256(b'right').hexdigest()}"
    s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"half")
    assert (await tree.finish())["Missing"] == 1
    put = (await tree.missing())["Missing"][0]["Put"]
    assert await tree.send(put, b"right") == 200
    assert (await tree.finish())["Data"]["Ready"]


async def test_a_name_means_what_was_called_so_last(running: Running) -> None:
    old, new = SentTree(running, {"a": b"old"}), SentTree(running, {"a": b"new"})
    await old.send_all("n")
    await new.begin("n")
    assert (await running.api("/data/n"))["Data"]["Digest"].endswith(old.digest), "it is not whole yet"
    await new.send_all("n")
    assert (await running.api("/data/n"))["Data"]["Digest"].endswith(new.digest)
    assert (await running.api(f"/data/{old.digest}"))["Data"]["Ready"]


async def test_a_name_is_deleted_alone_while_there_are_others(running: Running) -> None:
    tree = SentTree(running, {"a": b"x"})
    await tree.send_all("one")
    await tree.send_all("two")
    first = await running.api("/data/one", method="DELETE")
    assert (first["Deleted"], first["Digest"]) == (False, f"sha256:{tree.digest}")
    assert (await running.api("/data/two"))["Data"]["Names"] == ["two"]
    assert (await running.api("/data/two", method="DELETE"))["Deleted"]
    assert (await running.api("/data"))["Data"] == []
    code, message = told(await running.api("/data/twoo"))
    assert (code, message) == ("DataNotFound", "Namespace default has no data 'twoo'.")
    again = SentTree(running, {"a": b"x"})
    await again.send_all("three")
    assert again.sent == 0, "it had not been swept yet"


async def test_what_was_deleted_and_is_there_still_is_not_without_bounds(small: Running) -> None:
    for name in ("x", "y"):
        await SentTree(small, {"a": name.encode() * 12_000}).send_all(name)
        await small.api(f"/data/{name}", method="DELETE")
    code, message = told(await SentTree(small, {"a": b"z" * 17_000}).begin())
    assert code == "DeletedDataStays"
    assert message == (
        "Namespace default has no room for 16.6 KiB of data yet: 23.4 KiB that was deleted is in the bucket still."
    )
    await SentTree(small, {"a": b"x" * 12_000}).send_all("again")


async def test_what_a_namespace_has_no_room_for_is_refused_with_what_is_left(small: Running) -> None:
    await SentTree(small, {"a": b"x" * 12_000}).send_all()
    code, message = told(await SentTree(small, {"a": b"y" * 9_000}).begin())
    assert code == "DataQuotaExceeded"
    assert message == (
        "Namespace default has no room for 8.8 KiB of data: it has 11.7 KiB of the 19.5 KiB that it may have, so that"
        " 7.8 KiB are left."
    )
    await SentTree(small, {"a": b"y" * 9_000}, namespace="other").send_all()
    small_lie = SentTree(small, {"a": b"z" * 9_000})
    begun = await small_lie.begin(SizeBytes=10)
    await small_lie.send(begun["Manifest"], small_lie.manifest)
    code, _ = told(await small_lie.missing())
    assert code == "ManifestInvalid"


async def test_a_file_beyond_the_bound_is_refused(small: Running) -> None:
    tree = SentTree(small, {"big.bin": b"x" * 15_001})
    begun = await tree.begin()
    await tree.send(begun["Manifest"], tree.manifest)
    code, message = told(await tree.missing())
    assert (code, message) == (
        "DataFileTooLarge",
        "The file 'big.bin' has 15,001 bytes; one file of sent data may have 15,000.",
    )


@pytest.mark.parametrize(
    ("name", "digest", "wanted", "code"),
    [
        ("a/b", "", {}, "DataNameInvalid"),
        ("-a", "", {}, "DataNameInvalid"),
        ("f" * 64, "", {}, "DataNameInvalid"),
        ("", "sha256:12", {}, "DataDigestInvalid"),
        ("", "", {"Files": 0}, "ManifestInvalid"),
        ("", "", {"Files": 100_001}, "DataTooManyFiles"),
        ("", "", {"ManifestBytes": 1 << 30}, "DataTooManyFiles"),
    ],
)
async def test_what_cannot_be_data_is_refused(
    running: Running, name: str, digest: str, wanted: dict[str, int], code: str
) -> None:
    tree = SentTree(running, {"a": b"x"})
    tree.digest = digest or tree.digest
    assert told(await tree.begin(name, **wanted))[0] == code


async def test_without_a_bucket_no_data_is_kept(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        assert told(await SentTree(running, {"a": b"x"}).begin())[0] == "DataBucketMissing"


async def test_while_the_bucket_cannot_be_used_nobody_is_told_to_send(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"Bucket": "absent", "Region": REGION, "Endpoint": s3_server.endpoint}
    sets = tuple(f"Publishers.Types.S3Managed.{key}={value}" for key, value in away.items())
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        code, message = told(await SentTree(running, {"a": b"x"}).begin())
        assert (code, "Nothing can be sent at present" in message) == ("StorageUnavailable", True)
