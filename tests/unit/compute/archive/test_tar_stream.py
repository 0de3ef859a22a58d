"""The tar that a directory tree becomes."""

import io
import os
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from compute.archive import tar_stream
from compute.archive.tar_header import EntryKind, entry_header
from compute.archive.tar_stream import BLOCK_BYTES, MAX_WARNINGS, SMALL_BYTES, ZEROS, TarStream
from compute.disk.result_contents import ResultContents
from shared.protocol.archive_index import DirectoryLine, FileLine, HardLinkLine, SymlinkLine
from tests.programs import require_program

TIME = 1_700_000_000


def tar_of(root: Path) -> bytes:
    return b"".join(TarStream(root).blocks())


def members(tar: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        return {member.name: member for member in archive}


def content(tar: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def forbid_opening(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    """As root, permissions hide nothing."""
    real_open: Callable[..., int] = os.open

    def refusing_open(path: bytes, flags: int, *arguments: int, **options: int) -> int:
        if path == name:
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing_open)


def test_entries_come_in_the_order_of_their_bytes_and_directories_before_their_content(tmp_path: Path) -> None:
    for name in ("b/z", "b/a", "a.txt", "a/inner", "Z", "é"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(members(tar_of(tmp_path))) == ["Z", "a", "a/inner", "a.txt", "b", "b/a", "b/z", "é"]


def test_the_same_tree_gives_the_same_bytes_wherever_and_whenever_it_was_made(tmp_path: Path) -> None:
    for root, names in ((tmp_path / "one", "abc"), (tmp_path / "two", "cba")):
        root.mkdir()
        for name in names:
            (root / name).write_bytes(name.encode() * 1000)
            os.utime(root / name, ns=(root.stat().st_mtime_ns, TIME * 10**9 + ord(root.name[0])))
    assert tar_of(tmp_path / "one") == tar_of(tmp_path / "two")


def test_owners_are_nobody_in_particular_and_times_are_whole_seconds(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", ns=(0, TIME * 10**9 + 999_999_999))
    member = members(tar_of(tmp_path))["file"]
    assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
    assert (member.mtime, member.pax_headers) == (TIME, {})


def test_permissions_are_kept_and_setuid_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o6751)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    found = members(tar_of(tmp_path))
    assert (found["file"].mode, found["shared"].mode) == (0o751, 0o1777)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, SMALL_BYTES, SMALL_BYTES + 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7])
def test_content_of_any_size_is_kept(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "next").write_bytes(b"next")
    tar = tar_of(tmp_path)
    assert (content(tar, "file"), content(tar, "next")) == (data, b"next")


def test_blocks_have_the_same_size_except_the_last(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3 * BLOCK_BYTES))
    sizes = [len(block) for block in TarStream(tmp_path).blocks()]
    assert sizes == [BLOCK_BYTES] * 3 + [512 + 1024]


def test_an_empty_directory_gives_a_valid_archive(tmp_path: Path) -> None:
    assert members(tar_of(tmp_path)) == {}


def test_symbolic_links_are_kept_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to("../outside")
    (root / "dangling").symlink_to("ü" * 120)
    found = members(tar_of(root))
    assert {name: member.linkname for name, member in found.items()} == {"folder": "../outside", "dangling": "ü" * 120}


def exchange_when_opened(monkeypatch: pytest.MonkeyPatch, path: Path, target: Path) -> None:
    """As a process left over from the task could: `path` becomes a link after it was looked at."""
    real_open: Callable[..., int] = os.open

    def exchanging_open(name: bytes, flags: int, *arguments: int, **options: int) -> int:
        if name == os.fsencode(path.name):
            path.rename(path.with_name("moved"))
            path.symlink_to(target)
        return real_open(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", exchanging_open)


def test_a_file_that_turns_into_a_link_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("public")
    exchange_when_opened(monkeypatch, tmp_path / "root" / "file", tmp_path / "outside")
    stream = TarStream(tmp_path / "root")
    assert b"secret" not in b"".join(stream.blocks())
    assert (stream.warnings_count, stream.left_out_count) == (1, 1)


def test_a_directory_that_turns_into_a_link_is_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    (tmp_path / "root" / "folder").mkdir(parents=True)
    exchange_when_opened(monkeypatch, tmp_path / "root" / "folder", tmp_path / "outside")
    stream = TarStream(tmp_path / "root")
    assert b"secret" not in b"".join(stream.blocks())
    assert stream.warnings_count == 1


def test_a_second_name_of_a_file_becomes_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "first").write_bytes(b"x" * 2000)
    (tmp_path / "z").hardlink_to(tmp_path / "sub" / "first")
    (tmp_path / "alone").write_bytes(b"")
    stream = TarStream(tmp_path)
    found = members(b"".join(stream.blocks()))
    assert (found["z"].islnk(), found["z"].linkname, found["z"].size) == (True, "sub/first", 0)
    assert found["sub/first"].isreg()
    assert (stream.entries, stream.raw_bytes) == (4, 2000)


def test_where_links_are_to_be_copied_each_name_is_a_file_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "first").write_bytes(b"x" * 2000)
    (tmp_path / "z").hardlink_to(tmp_path / "sub" / "first")
    (tmp_path / "large").write_bytes(os.urandom(BLOCK_BYTES + 1))
    (tmp_path / "large-too").hardlink_to(tmp_path / "large")
    stream = TarStream(tmp_path, ResultContents(copies_links=True))
    tar = b"".join(stream.blocks())
    assert {name for name, member in members(tar).items() if member.isreg()} == {"sub/first", "z", "large", "large-too"}
    lines = {line.name: line for line in stream.take_lines() if isinstance(line, FileLine)}
    for name in (b"sub/first", b"z", b"large", b"large-too"):
        written = (tmp_path / os.fsdecode(name)).read_bytes()
        assert content(tar, os.fsdecode(name)) == written
        assert tar[lines[name].at : lines[name].at + lines[name].size] == written
    assert (stream.entries, stream.raw_bytes) == (5, 2 * 2000 + 2 * (BLOCK_BYTES + 1))


@pytest.mark.parametrize(
    "name", [b"n" * 100, b"n" * 101, b"n" * 255, "größe-数".encode(), b"\xff\xfe broken", b"line\nbreak", b" =\\ "]
)
def test_any_name_survives(tmp_path: Path, name: bytes) -> None:
    text = os.fsdecode(name)
    (tmp_path / text).write_bytes(b"content")
    (tmp_path / "0link").symlink_to(text)
    tar = tar_of(tmp_path)
    assert content(tar, text) == b"content"
    assert members(tar)["0link"].linkname == text


def test_a_name_that_is_not_utf8_is_declared_as_posix_asks_for() -> None:
    declared = b"21 hdrcharset=BINARY\n"
    assert declared in entry_header(EntryKind.FILE, b"\xff", mode=0o644, mtime=TIME)
    assert declared not in entry_header(EntryKind.FILE, "ü".encode(), mode=0o644, mtime=TIME)


def test_long_paths_survive_and_gnu_tar_lists_them(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["directory-" + "d" * 60] * 5))
    deep.mkdir(parents=True)
    (deep / "ünï").touch()
    listed = subprocess.run(
        ["tar", "-tf", "-", "--quoting-style=literal"], input=tar_of(tmp_path), capture_output=True, check=True
    )
    assert listed.stderr == b""
    assert str((deep / "ünï").relative_to(tmp_path)) in listed.stdout.decode().splitlines()


def test_gnu_tar_finds_no_difference_to_the_tree(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(os.urandom(5000))
    (tmp_path / "link").symlink_to("sub/file")
    (tmp_path / "hard").hardlink_to(tmp_path / "sub" / "file")
    for path in (tmp_path / "hard", tmp_path / "sub"):
        os.utime(path, (TIME, TIME))
    os.utime(tmp_path / "link", (TIME, TIME), follow_symlinks=False)
    compared = subprocess.run(
        ["tar", "-C", tmp_path, "-df", "-"], input=tar_of(tmp_path), capture_output=True, check=False
    )
    differences = [line for line in compared.stdout.decode().splitlines() if "id differs" not in line]
    assert (differences, compared.stderr) == ([], b"")


def test_times_before_1970_and_sizes_beyond_8_gib_get_an_extended_header() -> None:
    size = 9 * 2**30
    header = entry_header(EntryKind.FILE, b"huge", mode=0o644, mtime=-5, size_bytes=size)
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024)), mode="r:") as archive:
        first = archive.next()
    assert first is not None
    assert (first.name, first.size, first.mtime) == ("huge", size, -5)


def test_sockets_and_fifos_are_left_out_with_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        stream = TarStream(tmp_path)
        assert list(members(b"".join(stream.blocks()))) == ["file"]
    assert stream.warnings == [
        "'fifo' was left out: it is a socket, a fifo or a device",
        "'socket' was left out: it is a socket, a fifo or a device",
    ]


def test_an_unreadable_file_is_left_out_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden").write_text("x")
    (tmp_path / "open").write_text("y")
    forbid_opening(monkeypatch, b"hidden")
    stream = TarStream(tmp_path)
    tar = b"".join(stream.blocks())
    assert (list(members(tar)), stream.raw_bytes) == (["open"], 1)
    assert stream.warnings == ["'hidden' was left out: Permission denied"]


def test_an_unreadable_directory_is_archived_empty_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "file").touch()
    forbid_opening(monkeypatch, b"hidden")
    stream = TarStream(tmp_path)
    assert list(members(b"".join(stream.blocks()))) == ["hidden"]
    assert stream.warnings == ["'hidden' was archived without its content: Permission denied"]


def test_a_file_that_shrinks_while_it_is_read_is_filled_with_zeros(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (4 * BLOCK_BYTES))
    (tmp_path / "next").write_bytes(b"next")
    stream = TarStream(tmp_path)
    blocks = stream.blocks()
    tar = next(blocks)
    os.truncate(tmp_path / "file", 2 * BLOCK_BYTES)
    tar += b"".join(blocks)
    assert content(tar, "file") == b"x" * (2 * BLOCK_BYTES) + bytes(2 * BLOCK_BYTES)
    assert content(tar, "next") == b"next"
    assert stream.warnings == [
        f"'file' became shorter while it was read: its last {2 * BLOCK_BYTES} bytes are zeros in the archive"
    ]


def test_a_file_that_grows_while_it_is_read_is_cut(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (2 * BLOCK_BYTES))
    (tmp_path / "next").write_bytes(b"next")
    stream = TarStream(tmp_path)
    blocks = stream.blocks()
    tar = next(blocks)
    with (tmp_path / "file").open("ab") as file:
        file.write(b"more")
    tar += b"".join(blocks)
    assert (content(tar, "file"), content(tar, "next")) == (b"x" * (2 * BLOCK_BYTES), b"next")
    assert stream.warnings == [f"'file' grew while it was read: it was cut at {2 * BLOCK_BYTES} bytes"]


def test_a_file_that_vanishes_before_its_turn_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2 * BLOCK_BYTES))
    (tmp_path / "b").write_bytes(b"b")
    stream = TarStream(tmp_path)
    blocks = stream.blocks()
    tar = next(blocks)
    (tmp_path / "b").unlink()
    tar += b"".join(blocks)
    assert list(members(tar)) == ["a"]
    assert stream.warnings == ["'b' was left out: it vanished"]


def test_a_disk_error_in_the_middle_of_a_file_leaves_a_valid_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * (2 * BLOCK_BYTES))
    (tmp_path / "next").write_bytes(b"next")
    real_read: Callable[..., bytes] = os.pread

    def failing_read(descriptor: int, size: int, at: int) -> bytes:
        if at:
            raise OSError(5, "Input/output error")
        return real_read(descriptor, 1000, at)

    monkeypatch.setattr(os, "pread", failing_read)
    stream = TarStream(tmp_path)
    tar = b"".join(stream.blocks())
    assert content(tar, "file") == b"x" * 1000 + bytes(2 * BLOCK_BYTES - 1000)
    assert content(tar, "next") == b"next"
    assert "Input/output error" in stream.warnings[0]


def test_a_small_file_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    (tmp_path / "next").write_bytes(b"next")
    real_read = os.read

    def failing_read(descriptor: int, size: int) -> bytes:
        if size == 101:
            raise OSError(5, "Input/output error")
        return real_read(descriptor, size)

    monkeypatch.setattr(os, "read", failing_read)
    before = descriptors()
    stream = TarStream(tmp_path)
    assert list(members(b"".join(stream.blocks()))) == ["next"]
    assert stream.warnings == ["'file' was left out: Input/output error"]
    assert descriptors() == before


@pytest.mark.parametrize(
    ("size_then", "expected"),
    [(60, b"x" * 60 + bytes(40)), (200, b"x" * 100)],
)
def test_a_small_file_whose_size_changes_between_two_looks_keeps_the_size_of_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_then: int, expected: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    (tmp_path / "next").write_bytes(b"next")
    real_fstat = os.fstat

    def changing_fstat(descriptor: int) -> os.stat_result:
        status = real_fstat(descriptor)
        os.truncate(tmp_path / "file", 60)
        if size_then == 200:
            (tmp_path / "file").write_bytes(b"x" * 200)
        return status

    monkeypatch.setattr(os, "fstat", changing_fstat)
    stream = TarStream(tmp_path)
    tar = b"".join(stream.blocks())
    assert (content(tar, "file"), content(tar, "next")) == (expected, b"next")
    assert (stream.warnings_count, stream.left_out_count) == (1, 1)


def test_the_holes_of_a_sparse_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(40 * BLOCK_BYTES)
        file.seek(20 * BLOCK_BYTES)
        file.write(b"data")
    read_bytes = 0
    real_read: Callable[..., bytes] = os.pread

    def counting_read(descriptor: int, size: int, at: int) -> bytes:
        nonlocal read_bytes
        data = real_read(descriptor, size, at)
        read_bytes += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting_read)
    blocks = list(TarStream(tmp_path).blocks())
    assert content(b"".join(blocks), "sparse") == (tmp_path / "sparse").read_bytes()
    assert read_bytes <= 2 * BLOCK_BYTES
    assert sum(block is ZEROS for block in blocks) >= 35


def test_the_index_tells_where_the_content_of_each_file_is(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "small").write_bytes(b"small")
    (tmp_path / "sub" / ("long" * 40)).write_bytes(b"long")
    (tmp_path / "large").write_bytes(os.urandom(3 * BLOCK_BYTES))
    (tmp_path / "z\udcff").write_bytes(b"odd")
    (tmp_path / "link").symlink_to("sub/small")
    (tmp_path / "other").hardlink_to(tmp_path / "large")
    stream = TarStream(tmp_path)
    tar = b"".join(stream.blocks())
    lines = {line.name: line for line in stream.take_lines()}
    files = {name: line for name, line in lines.items() if isinstance(line, FileLine)}
    found = {os.fsdecode(name): tar[line.at : line.at + line.size] for name, line in files.items()}
    assert found == {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name not in {"link", "other"}
    }
    link, other = lines[b"link"], lines[b"other"]
    assert isinstance(link, SymlinkLine)
    assert isinstance(other, HardLinkLine)
    assert (link.link_target, other.link_target) == (b"sub/small", b"large")
    assert isinstance(lines[b"sub"], DirectoryLine)


def test_warnings_are_bounded_and_counted(tmp_path: Path) -> None:
    for number in range(MAX_WARNINGS + 20):
        os.mkfifo(tmp_path / f"fifo{number}")
    stream = TarStream(tmp_path)
    list(stream.blocks())
    assert (len(stream.warnings), stream.warnings_count) == (MAX_WARNINGS, MAX_WARNINGS + 20)
    assert stream.left_out_count == 0, "a fifo has no content"


def test_a_warning_is_printable_valid_unicode_and_short(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ("\udcff\x1b[31m" + "x" * 240))
    stream = TarStream(tmp_path)
    list(stream.blocks())
    assert stream.warnings[0].isprintable()
    assert len(stream.warnings[0].encode()) < 300


def test_directories_deeper_than_the_limit_are_archived_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_stream, "MAX_DEPTH", 3)
    (tmp_path / "1" / "2" / "3" / "4").mkdir(parents=True)
    stream = TarStream(tmp_path)
    assert list(members(b"".join(stream.blocks()))) == ["1", "1/2", "1/2/3"]
    assert (stream.warnings_count, stream.left_out_count) == (1, 1)


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tar_of(tmp_path / "missing")


def test_closing_it_half_way_closes_every_file(tmp_path: Path) -> None:
    (tmp_path / "1" / "2").mkdir(parents=True)
    (tmp_path / "1" / "2" / "file").write_bytes(bytes(3 * BLOCK_BYTES))
    before = descriptors()
    blocks = TarStream(tmp_path).blocks()
    next(blocks)
    assert len(descriptors() - before) == 4
    blocks.close()
    assert descriptors() == before


def test_reading_it_to_the_end_closes_every_file(tmp_path: Path) -> None:
    (tmp_path / "1" / "2").mkdir(parents=True)
    before = descriptors()
    tar = tar_of(tmp_path)
    assert descriptors() == before
    assert stat.S_IMODE(members(tar)["1/2"].mode) == stat.S_IMODE((tmp_path / "1" / "2").stat().st_mode)


def test_what_its_owner_has_closed_to_all_is_archived_with_its_mode(tmp_path: Path) -> None:
    """In a process that may not pass over modes, as a node that is not run by root."""
    root = tmp_path / "root"
    (root / "folder" / "closed").mkdir(parents=True)
    for path in (root / "file", root / "folder" / "file", root / "folder" / "closed" / "file"):
        path.write_text("content")
        path.chmod(0)
    (root / "folder" / "closed").chmod(0)
    program = (
        "import sys; from compute.archive.tar_stream import TarStream; stream = TarStream(sys.argv[1])\n"
        "sys.stdout.buffer.write(b''.join(stream.blocks())); sys.exit(stream.left_out_count)"
    )
    rights = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    tar = subprocess.run([*rights, sys.executable, "-c", program, root], check=True, capture_output=True).stdout
    assert content(tar, "folder/closed/file") == content(tar, "file") == b"content"
    assert {name: member.mode for name, member in members(tar).items() if "file" in name or "closed" in name} == {
        "file": 0,
        "folder/file": 0,
        "folder/closed": 0,
        "folder/closed/file": 0,
    }
    assert [path.stat().st_mode & 0o777 for path in (root / "file", root / "folder" / "closed")] == [0, 0]


@pytest.mark.parametrize(
    "command",
    [
        ["tar", "--no-auto-compress", "-tf"],
        ["bsdtar", "-tf"],
        ["busybox", "tar", "-tf"],
        [sys.executable, "-m", "tarfile", "-l"],
    ],
)
def test_what_follows_a_file_of_more_than_8_gib_is_found_by_all(tmp_path: Path, command: list[str]) -> None:
    require_program(command[0])
    size_bytes = (9 << 30) + 1
    with (tmp_path / "archive.tar").open("wb") as file:
        file.write(entry_header(EntryKind.FILE, b"large", mode=0o644, mtime=TIME, size_bytes=size_bytes))
        file.seek(size_bytes + -size_bytes % 512, os.SEEK_CUR)
        file.write(entry_header(EntryKind.FILE, b"next", mode=0o644, mtime=TIME) + bytes(1024))
    listed = subprocess.run([*command, tmp_path / "archive.tar"], check=True, capture_output=True, text=True).stdout
    assert listed.split() == ["large", "next"]


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        (b"outputs/venv/lib64", b"/outputs/venv/lib", b"lib"),
        (b"outputs/venv/bin/python", b"/outputs/venv/lib/python", b"../lib/python"),
        (b"outputs/link", b"/outputs", b"."),
        (b"outputs/a/b/link", b"/outputs//c/./d", b"../../c/d"),
        (b"outputs/link", b"/deep/x", b"../inner/x"),
        (b"outputs/link", b"/deep/er/x", b"../innermost/x"),
        (b"outputs/link", b"/outputs/a/../b", b"a/../b"),
        (b"outputs/link", b"/outputs/../etc/passwd", b"/outputs/../etc/passwd"),
        (b"outputs/link", b"/outputs2/file", b"/outputs2/file"),
        (b"outputs/link", b"/etc/passwd", b"/etc/passwd"),
        (b"outputs/link", b"relative/../../x", b"relative/../../x"),
        (b"outputs", b"/deep/x", b"inner/x"),
    ],
)
def test_a_link_to_an_absolute_path_of_the_result_leads_there_relatively(
    path: bytes, target: bytes, expected: bytes
) -> None:
    places = ((b"/deep/er", b"innermost"), (b"/outputs", b"outputs"), (b"/deep", b"inner"))
    assert ResultContents(places=places).link_target(path, target) == expected


def test_links_in_archive_and_index_lead_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "file").write_text("content")
    (tmp_path / "outputs" / "link").symlink_to("/outputs/file")
    stream = TarStream(tmp_path, ResultContents(places=((b"/outputs", b"outputs"),)))
    found = members(b"".join(stream.blocks()))
    assert found["outputs/link"].linkname == "file"
    (line,) = [each for each in stream.take_lines() if isinstance(each, SymlinkLine)]
    assert line.link_target == b"file"
