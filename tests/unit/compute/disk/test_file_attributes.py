"""Extended attributes, access control lists and capabilities in an archive, as other programs restore them."""

import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from compute.archive.tar_header import EntryKind, entry_header
from compute.archive.tar_stream import TarStream
from compute.disk import file_attributes
from compute.disk.file_attributes import acl_text, attribute_records
from tests.programs import require_program

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
BINARY = b"\x00\n=\xff raw"


def access_list(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
LIST = access_list((1, 6, NOBODY), (2, 4, 12345), (4, 4, NOBODY), (8, 6, 54321), (16, 6, NOBODY), (32, 0, NOBODY))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    for name in ("attributes", "list", "plain"):
        (root / name).write_text("content")
    os.setxattr(root / "attributes", "user.text", b"value")
    os.setxattr(root / "attributes", "user.binary", BINARY)
    os.setxattr(root / "list", ACCESS, LIST)
    os.setxattr(root / "folder", DEFAULT, LIST)
    os.setxattr(root / "folder", "user.of a folder", b"")
    if os.geteuid() == 0:
        os.setxattr(root / "attributes", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    return root


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    return {
        path.name: {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "security.selinux"}
        for path in root.iterdir()
    }


@pytest.mark.parametrize(
    "command",
    [
        ["tar", "--xattrs", "--xattrs-include=*", "--acls", "-xpf"],
        ["bsdtar", "--xattrs", "--acls", "-xpf"],
    ],
    ids=["GNU tar", "bsdtar"],
)
def test_other_programs_restore_them(root: Path, tmp_path: Path, command: Sequence[str]) -> None:
    require_program(command[0])
    archive, target = tmp_path / "archive.tar", tmp_path / "target"
    archive.write_bytes(b"".join(TarStream(root).blocks()))
    target.mkdir()
    done = subprocess.run([*command, archive, "-C", target], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert attributes(target) == attributes(root)


@pytest.mark.parametrize("command", [["tar", "-xf"], ["bsdtar", "-xf"], ["busybox", "tar", "-xf"]])
def test_programs_that_are_not_asked_to_restore_them_read_the_archive_all_the_same(
    root: Path, tmp_path: Path, command: Sequence[str]
) -> None:
    require_program(command[0])
    archive, target = tmp_path / "archive.tar", tmp_path / "target"
    archive.write_bytes(b"".join(TarStream(root).blocks()))
    target.mkdir()
    subprocess.run([*command, archive, "-C", target], check=True, capture_output=True)
    assert sorted(path.name for path in target.iterdir()) == ["attributes", "folder", "list", "plain"]
    assert (target / "attributes").read_text() == "content"


def test_they_are_raw_values_under_the_names_that_star_gave_them(root: Path) -> None:
    found = dict(attribute_records(str(root / "attributes")))
    assert (found[b"SCHILY.xattr.user.text"], found[b"SCHILY.xattr.user.binary"]) == (b"value", BINARY)
    found = dict(attribute_records(str(root / "list")))
    assert found == {
        b"SCHILY.xattr.system.posix_acl_access": LIST,
        b"SCHILY.acl.access": b"user::rw-,user:12345:r--,group::r--,group:54321:rw-,mask::rw-,other::---",
    }


def test_the_archive_is_the_same_however_they_were_set(root: Path) -> None:
    before = b"".join(TarStream(root).blocks())
    os.removexattr(root / "attributes", "user.binary")
    os.removexattr(root / "attributes", "user.text")
    os.setxattr(root / "attributes", "user.binary", BINARY)
    os.setxattr(root / "attributes", "user.text", b"value")
    assert b"".join(TarStream(root).blocks()) == before


def test_a_value_that_is_not_text_leaves_names_as_they_are() -> None:
    header = entry_header(EntryKind.FILE, b"name", mode=0o644, mtime=1, attributes=[(b"SCHILY.xattr.user.a", b"\xff")])
    assert b"hdrcharset" not in header


def test_a_file_without_any_costs_no_extended_header(root: Path) -> None:
    assert attribute_records(str(root / "plain")) == ()


def test_more_than_the_bound_are_left_out_with_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_attributes, "MAX_BYTES", 4)
    stream = TarStream(root)
    list(stream.blocks())
    assert [warning for warning in stream.warnings if warning.startswith("'attributes' was archived without")] != []
    assert stream.left_out_count == 0


@pytest.mark.parametrize("value", [b"", b"\x01\x00\x00\x00", LIST + b"x", access_list((3, 6, 0))])
def test_a_list_that_is_not_known_has_no_text(value: bytes) -> None:
    assert acl_text(value) == b""
