"""Whoever fetches an archive finds that its content is another one than its node told."""

import os
from pathlib import Path

import pytest

from shared.errors import DigestMismatch
from shared.extraction.content_check import ContentCheck
from shared.extraction.extract import Extraction
from tests.archives import packed, tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "sub" / ("long" * 50)).mkdir(parents=True)
    (made / "sub" / os.fsdecode(b"no text \xff")).write_bytes(b"hello")
    (made / "sub" / "empty").touch(mode=0o600)
    (made / "large").write_bytes(os.urandom(3 << 20))
    (made / "link").symlink_to("sub/empty")
    os.link(made / "sub" / "empty", made / "z-same")
    return made


def extract(archive: bytes, target: Path, digest: str) -> None:
    check = ContentCheck(digest, "the result of execution e-1")
    with Extraction(target, max_bytes=1 << 30, max_entries=100, check=check) as extraction:
        for at in range(0, len(archive), 300_001):
            extraction.feed(archive[at : at + 300_001])


async def test_what_was_packed_is_what_was_told(root: Path, tmp_path: Path) -> None:
    made = await packed(root)
    extract(made.archive, tmp_path / "out", made.summary.content_digest)
    assert tree(tmp_path / "out") == tree(root)


@pytest.mark.parametrize("what", ["content", "mode", "target", "name", "one more"])
async def test_any_other_content_is_refused(root: Path, tmp_path: Path, what: str) -> None:
    told = (await packed(root)).summary.content_digest
    match what:
        case "content":
            with (root / "large").open("r+b") as file:
                file.write(b"another")
        case "mode":
            (root / "sub" / "empty").chmod(0o644)
        case "target":
            (root / "link").unlink()
            (root / "link").symlink_to("sub")
        case "name":
            (root / "large").rename(root / "larger")
        case _:
            (root / "zz").mkdir()
    archive = (await packed(root)).archive
    with pytest.raises(DigestMismatch, match="content of the result of execution e-1"):
        extract(archive, tmp_path / "out", told)
