import hashlib

import pytest

from shared.jobs.inputs.manifest import DataFile, ManifestInvalid, decode_manifest, digest_in, encode_manifest

ONE = "ab" * 32


def file(path: str, **more: object) -> DataFile:
    return DataFile(**{"path": path, "sha256": ONE, "size": 1} | more)  # type: ignore[arg-type]


def read(content: bytes) -> object:
    return decode_manifest(content, hashlib.sha256(content).hexdigest())


def test_the_same_tree_has_the_same_manifest_in_whichever_order_it_was_found() -> None:
    files = [file("b"), file("a/x", executable=True), file("a.txt")]
    content = encode_manifest(files)
    assert content == encode_manifest(reversed(files))
    assert (
        content
        == (
            f'{{"Files":[{{"Path":"a.txt","SHA256":"{ONE}","Size":1}},'
            f'{{"Path":"a/x","SHA256":"{ONE}","Size":1,"Executable":true}},'
            f'{{"Path":"b","SHA256":"{ONE}","Size":1}}]}}'
        ).encode()
    )
    assert [each.path for each in decode_manifest(content, hashlib.sha256(content).hexdigest()).files] == [
        "a.txt",
        "a/x",
        "b",
    ]


def test_a_manifest_is_believed_by_its_digest_alone() -> None:
    content = encode_manifest([file("a")])
    with pytest.raises(ManifestInvalid, match="another SHA-256"):
        decode_manifest(content, ONE)


@pytest.mark.parametrize(
    "files",
    [
        [],
        [file("a"), file("a")],
        [file("../a")],
        [file("/a")],
        [file("a//b")],
        [file("a/./b")],
        [file("a\0b")],
        [file("x" * 256)],
        [file("/".join(["x" * 200] * 6))],
        [file("a"), file("a/b")],
        [file("a"), file("a-b"), file("a/b/c")],
        [file(""), file("a")],
        [file("a", sha256="AB" * 32)],
        [file("a", sha256="../" + "a" * 61)],
        [file("a", size=-1)],
        [file("a", size=1 << 60)],
    ],
    ids=str,
)
def test_what_no_tree_can_be_is_refused(files: list[DataFile]) -> None:
    with pytest.raises(ManifestInvalid):
        read(encode_manifest(files))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"Files":{}}', b"\xff", b'{"Format":2,"Files":[]}'])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        read(content)


def test_a_single_file_has_no_path() -> None:
    content = encode_manifest([file("", size=0)])
    assert read(content) is not None


def test_a_digest_is_known_with_and_without_its_kind() -> None:
    assert digest_in(ONE) == digest_in(f"sha256:{ONE}") == ONE
    assert digest_in(ONE[:-1]) == digest_in(ONE.upper()) == digest_in(f"{ONE}\n") == digest_in("name") == ""
