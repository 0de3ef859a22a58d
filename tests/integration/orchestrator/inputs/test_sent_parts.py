"""Large files of sent data, which go in parts."""

from io import BytesIO
from typing import Any

import pytest

from tests.integration.running import Running
from tests.integration.sent_trees import SentTree, fetched
from tests.servers import S3Server

PART = 5 << 20
LARGE = bytes(range(256)) * 4096 * 12 + b"end"
"""Of 12 MiB and a bit: three parts."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.inputs.data_contents.ONE_PUT_BYTES", PART)
    monkeypatch.setattr("orchestrator.inputs.data_parts.ONE_PUT_BYTES", PART)
    monkeypatch.setattr("orchestrator.inputs.data_parts.LEAST_PART_BYTES", PART)


async def begun(running: Running, **files: bytes) -> tuple[SentTree, str]:
    """With its manifest sent; and the large file's digest."""
    tree = SentTree(running, files or {"large": LARGE})
    answer = await tree.begin("big")
    if answer["Manifest"] is not None:
        await tree.send(answer["Manifest"], tree.manifest)
    (large,) = [each for each in (await tree.missing())["Missing"] if each["Size"] > PART]
    assert large["Put"] is None
    return tree, large["SHA256"]


async def send_parts(tree: SentTree, parts: Any, numbers: tuple[int, ...]) -> dict[int, str]:
    """The ETags of some parts, sent now."""
    found = {}
    for number in numbers:
        put, body = parts["Parts"][number - 1], LARGE[(number - 1) * PART : number * PART]
        async with tree._running.http.put(put["URL"], data=BytesIO(body), headers=put["Headers"]) as answer:
            assert answer.status == 200
            found[number] = answer.headers["ETag"].strip('"')
    return found


def open_uploads(running: Running, s3_server: S3Server) -> list[str]:
    bucket = running.config.publishers.types.s3managed.bucket
    listed = s3_server.client().list_multipart_uploads(Bucket=bucket)
    return [each["UploadId"] for each in listed.get("Uploads", []) if "/inputs/" in each["Key"]]


async def test_a_large_file_is_sent_in_parts_of_which_none_is_too_long(running: Running, s3_server: S3Server) -> None:
    tree, sha256 = await begun(running)
    parts = await tree.api("/parts", {"SHA256": sha256})
    assert (parts["PartBytes"], len(parts["Parts"])) == (PART, 3)
    put = parts["Parts"][2]
    headers = put["Headers"] | {"content-length": str(PART)}
    async with running.http.put(put["URL"], data=BytesIO(LARGE[:PART]), headers=headers) as answer:
        assert answer.status == 403
    etags = await send_parts(tree, parts, (1, 2, 3))
    body = {"SHA256": sha256, "UploadID": parts["UploadID"], "ETags": [etags[each] for each in (1, 2, 3)]}
    assert (await tree.api("/complete", body))["Lost"] == ""
    assert (await tree.api("/complete", body))["Lost"] == "", "asked again it is complete"
    assert (await tree.finish())["Data"]["Ready"]
    (file,) = (await running.api("/data/big/files"))["Files"]
    assert await fetched(running, file["URL"]) == (200, LARGE)
    assert open_uploads(running, s3_server) == []


async def test_who_sends_it_again_goes_on_with_the_same_upload(running: Running, s3_server: S3Server) -> None:
    tree, sha256 = await begun(running)
    first = await tree.api("/parts", {"SHA256": sha256})
    await send_parts(tree, first, (1, 3))
    again = await tree.api("/parts", {"SHA256": sha256})
    assert again["UploadID"] == first["UploadID"]
    assert len(open_uploads(running, s3_server)) == 1
    there = {each["Number"]: each["ETag"] for each in again["There"]}
    etags = there | await send_parts(tree, again, tuple({1, 2, 3} - there.keys()))
    body = {"SHA256": sha256, "UploadID": again["UploadID"], "ETags": [etags[each] for each in (1, 2, 3)]}
    assert (await tree.api("/complete", body))["Lost"] == ""
    assert (await tree.finish())["Data"]["Ready"]


async def test_an_upload_that_s3_has_lost_is_replaced(running: Running, s3_server: S3Server) -> None:
    tree, sha256 = await begun(running)
    first = await tree.api("/parts", {"SHA256": sha256})
    bucket = running.config.publishers.types.s3managed.bucket
    key = f"results/inputs/default/{sha256}"
    s3_server.client().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=first["UploadID"])
    body = {"SHA256": sha256, "UploadID": first["UploadID"], "ETags": ["a", "b", "c"]}
    assert "NoSuchUpload" in (await tree.api("/complete", body))["Lost"]
    second = await tree.api("/parts", {"SHA256": sha256, "Lost": first["UploadID"]})
    assert second["UploadID"] != first["UploadID"]
    third = await tree.api("/parts", {"SHA256": sha256, "Lost": first["UploadID"]})
    assert third["UploadID"] == second["UploadID"], "asked again it is not lost again"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/parts", {"SHA256": "ab" * 32}, "DataContentUnknown"),
        ("/parts", {"First": 4}, "PartsMakeNoSense"),
        ("/parts", {"First": 0}, "PartsMakeNoSense"),
        ("/complete", {"UploadID": "x", "ETags": ["a"]}, "PartsMakeNoSense"),
        ("/complete", {"UploadID": "x", "ETags": ["a", "b", "c" * 101]}, "PartsMakeNoSense"),
    ],
)
async def test_parts_that_there_are_not_are_refused(
    running: Running, path: str, body: dict[str, Any], code: str
) -> None:
    tree, sha256 = await begun(running)
    answer = await tree.api(path, {"SHA256": sha256} | body)
    assert answer["Details"].get("TarponCode", answer["Code"]) == code
