"""The manifest of a result's content, as a node writes it and as a reader who trusts nobody reads it."""

import gzip
import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compute.archive.content_stream import KEPT_BYTES, ContentStream
from compute.archive.manifest import ContentManifest
from shared.extraction.manifest_reading import ManifestDamaged, manifest_entries
from shared.protocol.results.content_manifest import ContentDigest, ManifestFile


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    root = tmp_path / "root"
    (root / "b" / "empty").mkdir(parents=True)
    (root / "b" / "a").write_bytes(b"hello")
    (root / "b" / "b").hardlink_to(root / "b" / "a")
    (root / "b" / "c").symlink_to("a")
    (root / "large").write_bytes(bytes(KEPT_BYTES + 1))
    (root / "nothing").touch()
    return manifest_of(root, tmp_path)


def manifest_of(root: Path, scratch: Path) -> bytes:
    with closing(ContentManifest(scratch)) as manifest:
        manifest.add([each.entry for each in ContentStream(root).entries()])
        manifest.finish()
        with manifest.content() as content:
            return bytes(content)


def lines(manifest: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(manifest).splitlines()]


def packed(told: list[dict[str, Any]]) -> io.BytesIO:
    return io.BytesIO(gzip.compress(b"".join(json.dumps(each).encode() + b"\n" for each in told)))


def test_it_has_each_entry_in_its_order_with_the_digest_of_its_content(written: bytes) -> None:
    entries = list(manifest_entries(io.BytesIO(written)))
    assert [each.name for each in entries] == [b"b", b"b/a", b"b/b", b"b/c", b"b/empty", b"large", b"nothing"]
    (hello,) = [each for each in entries if each.name == b"b/a" and isinstance(each, ManifestFile)]
    assert (hello.size, hello.md5) == (5, "5d41402abc4b2a76b9719d911017c592")
    assert hello.sha256.startswith("2cf24dba5fb0a30e")


def test_its_digest_is_of_the_content_and_not_of_times(written: bytes, tmp_path: Path) -> None:
    before = lines(written)[-1]["digest"]
    (tmp_path / "root" / "nothing").touch()
    later = lines(manifest_of(tmp_path / "root", tmp_path))
    later[-1]["mtime"] = 0
    assert later[-1]["digest"] == before
    (tmp_path / "root" / "nothing").chmod(0o600)
    assert lines(manifest_of(tmp_path / "root", tmp_path))[-1]["digest"] != before


def test_its_digest_is_the_one_that_it_always_was() -> None:
    """What is compared with it may have been made by an earlier version."""
    digest = ContentDigest()
    digest.add(ManifestFile(path="a", mode=0o644, mtime=1, size=5, sha256="ab" * 32))
    assert digest.hexdigest() == "4a61abad2b288be3f1adc0fc3015687cf14dd3942107d935b0cff1a80b127e9d"


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told[1:],
        lambda told: told[:-1],
        lambda told: [told[0], *told],
        lambda told: [*told, told[-1]],
        lambda told: [told[0], *told[2:]],
        lambda told: [{**told[0], "version": 2}, *told[1:]],
        lambda told: [told[0], {**told[1], "mode": 0o777}, *told[2:]],
        lambda told: [told[0], told[1], {**told[2], "size": 6}, *told[3:]],
        lambda told: [told[0], told[1], {**told[2], "sha256": "zz" * 32}, *told[3:]],
        lambda told: [told[0], told[1], {**told[2], "sha256": "00" * 32}, *told[3:]],
        lambda told: [told[0], {**told[1], "path_base64": "!"}, *told[2:]],
        lambda told: [told[0], {**told[1], "mode": 10**30}, *told[2:]],
        lambda told: [told[0], {**told[1], "mode": -(10**30)}, *told[2:]],
        lambda told: [told[0], told[1], {**told[2], "size": 10**30}, *told[3:]],
        lambda told: [told[0], *[{"kind": "new"}] * 10_001, *told[1:]],
    ],
)
def test_one_that_makes_no_sense_is_not_used(written: bytes, change: Any) -> None:
    with pytest.raises(ManifestDamaged):
        list(manifest_entries(packed(change(lines(written)))))


@pytest.mark.parametrize("kind", [b"new", b"file"])
def test_one_that_is_nested_without_end_is_not_used(kind: bytes) -> None:
    deep = b'{"kind":"%b","more":%b%b}' % (kind, b"[" * 10_000, b"]" * 10_000)
    with pytest.raises(ManifestDamaged):
        list(manifest_entries(io.BytesIO(gzip.compress(b'{"kind":"manifest","version":1}\n%b\n' % deep))))


def test_lines_and_keys_of_a_later_version_are_skipped(written: bytes) -> None:
    told = lines(written)
    told[2]["new"] = 1
    told.insert(3, {"kind": "new"})
    assert len(list(manifest_entries(packed(told)))) == 7


@pytest.mark.parametrize("cut", [10, 100, -1])
def test_one_that_is_cut_is_not_used(written: bytes, cut: int) -> None:
    with pytest.raises(ManifestDamaged):
        list(manifest_entries(io.BytesIO(written[:cut])))
