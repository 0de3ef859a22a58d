"""Extracting an archive that nobody has vouched for."""

import gzip
import io
import os
import random
import stat
import struct
import subprocess
import tarfile
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ArchiveDamaged, CannotExtract, UnsafeArchive
from shared.extraction.extract import Extracted, Extraction, extract
from shared.extraction.oddities import MAX_NAMED, Odd, Oddities
from shared.extraction.placement_rules import LinkRule, PlacementRules, own_umask
from shared.extraction.room import NoSpaceForResult
from tests.archives import TIME, packed, plant, tree

Entry = tuple[str, dict[str, Any], bytes]


def file(name: str, content: bytes = b"", **fields: Any) -> Entry:
    return name, {"type": tarfile.REGTYPE, "mode": 0o644, **fields}, content


def folder(name: str, **fields: Any) -> Entry:
    return name, {"type": tarfile.DIRTYPE, "mode": 0o755, **fields}, b""


def symlink(name: str, target: str) -> Entry:
    return name, {"type": tarfile.SYMTYPE, "linkname": target}, b""


def hard_link(name: str, target: str) -> Entry:
    return name, {"type": tarfile.LNKTYPE, "linkname": target}, b""


def tar_of(*entries: Entry, layout: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as archive:
        for name, fields, content in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), TIME
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def gzipped(*entries: Entry) -> bytes:
    return gzip.compress(tar_of(*entries))


def unpack(data: bytes, target: Path, *, max_bytes: int = 10**6, max_entries: int = 100, **rules: Any) -> Extracted:
    """With links that leave refused and the modes of the archive, unless the rules say something else."""
    chosen = PlacementRules(**{"links": LinkRule.REFUSE, "umask": 0, **rules})
    return extract(io.BytesIO(data), target, max_bytes=max_bytes, max_entries=max_entries, rules=chosen)


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"file.txt", b"d" * 120]),
    st.binary(min_size=1, max_size=40),
    st.text(min_size=1, max_size=20).map(lambda text: text.encode(errors="replace")),
).map(lambda name: name.replace(b"/", b"-").replace(b"\x00", b"0").replace(b".", b"_"))
KINDS = st.sampled_from(["file", "file", "folder", "symlink", "hard link"])


PLAN = st.tuples(
    st.lists(NAMES, min_size=1, max_size=4), KINDS, st.integers(min_value=0, max_value=0o777), st.integers(0, 3000)
)


@settings(deadline=None, max_examples=20)
@given(st.lists(PLAN, max_size=12))
async def test_a_tree_comes_back_as_it_was(plan: list[tuple[list[bytes], str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "target")
        source.mkdir()
        plant(source, plan)
        rules = PlacementRules(umask=0)
        with Extraction(target, max_bytes=10**6, max_entries=100, rules=rules) as extraction:
            made = await packed(source)
            extraction.feed(made.archive)
            extracted = extraction.close()
        assert tree(target) == tree(source)
        assert (made.summary.entries, made.summary.raw_bytes) == (extracted.entries, extracted.raw_bytes)


def test_it_may_be_fed_byte_by_byte(tmp_path: Path) -> None:
    long_name = "n" * 150
    with Extraction(tmp_path / "out", max_bytes=10**4, max_entries=10) as extraction:
        for byte in gzipped(folder("d"), file(f"d/{long_name}", b"content" * 100)):
            extraction.feed(bytes([byte]))
    assert (tmp_path / "out" / "d" / long_name).read_bytes() == b"content" * 100


def test_it_tells_what_came_out(tmp_path: Path) -> None:
    assert unpack(gzipped(folder("d"), file("d/f", b"12345")), tmp_path) == Extracted(entries=2, raw_bytes=5, files=1)


def test_an_archive_of_gnu_tar_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / ("d" * 90)).mkdir(parents=True)
    (source / ("d" * 90) / ("ü" * 80)).write_bytes(b"x" * 5000)
    (source / "link").symlink_to("./" + "t" * 150)
    (source / "hard").hardlink_to(source / ("d" * 90) / ("ü" * 80))
    (source / "broken\udcff").touch()
    for layout in ("gnu", "posix", "oldgnu"):
        made = subprocess.run(
            ["tar", "-C", source, f"--format={layout}", "-czf", "-", "."], capture_output=True, check=True
        )
        unpack(made.stdout, tmp_path / layout)
        assert tree(tmp_path / layout) == tree(source)


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_all_layouts_of_tar(tmp_path: Path, layout: int) -> None:
    name = f"{'p' * 90}/{'n' * 90}"
    unpack(gzip.compress(tar_of(file(name, b"x"), layout=layout)), tmp_path)
    assert (tmp_path / name).read_bytes() == b"x"


def test_gnus_binary_numbers_are_read(tmp_path: Path) -> None:
    unpack(gzip.compress(tar_of(file("old", mtime=-5), layout=tarfile.GNU_FORMAT)), tmp_path)
    assert (tmp_path / "old").stat().st_mtime == -5


def test_what_gnu_keeps_in_place_of_the_prefix_is_not_taken_for_a_name(tmp_path: Path) -> None:
    tar = bytearray(tar_of(file("f"), layout=tarfile.GNU_FORMAT))
    tar[345:357] = b"14524770000\x00"
    tar[148:156] = b"        "
    tar[148:155] = b"%06o\x00" % sum(tar[:512])
    unpack(gzip.compress(tar), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_fractions_of_seconds_are_read(tmp_path: Path) -> None:
    unpack(gzipped(file("a", mtime=TIME + 0.5), file("b", mtime=-1.5)), tmp_path)
    assert ((tmp_path / "a").stat().st_mtime, (tmp_path / "b").stat().st_mtime) == (TIME + 0.5, -1.5)


def test_a_global_header_such_as_gits_is_passed_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "a" * 40}) as archive:
        archive.addfile(tarfile.TarInfo("file"))
    unpack(gzip.compress(buffer.getvalue()), tmp_path)
    assert (tmp_path / "file").exists()


def test_a_gzip_of_many_members_is_read_whole(tmp_path: Path) -> None:
    tar = tar_of(file("a", b"a" * 3000), file("b", b"b" * 3000))
    many = b"".join(gzip.compress(tar[at : at + 1000]) for at in range(0, len(tar), 1000))
    unpack(many + bytes(100), tmp_path)
    assert (tmp_path / "b").read_bytes() == b"b" * 3000


def test_a_directory_without_permissions_takes_its_content_and_gets_mode_and_time_at_the_end(tmp_path: Path) -> None:
    unpack(gzipped(folder("d", mode=0o500), folder("d/e", mode=0), file("d/e/f", b"x"), file("d/g")), tmp_path)
    for name, mode in (("d", 0o500), ("d/e", 0)):
        status = (tmp_path / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (mode, TIME)


def test_directories_that_the_archive_leaves_out_are_made(tmp_path: Path) -> None:
    unpack(gzipped(file("a/b/c", b"x")), tmp_path)
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"x"


def test_special_mode_bits_are_dropped(tmp_path: Path) -> None:
    unpack(gzipped(file("f", mode=0o7755), folder("d", mode=0o7777)), tmp_path)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "fd"] == [0o755, 0o777]


def test_links_within_the_target_are_kept(tmp_path: Path) -> None:
    unpack(
        gzipped(file("f", b"x"), folder("d"), symlink("d/up", "../f"), symlink("here", "./d/up"), hard_link("h", "f")),
        tmp_path,
    )
    assert (tmp_path / "here").read_bytes() == b"x"
    assert (tmp_path / "h").samefile(tmp_path / "f")


def test_an_archive_may_link_a_file_to_itself(tmp_path: Path) -> None:
    unpack(gzipped(file("f", b"x"), hard_link("f", "./f")), tmp_path)
    assert (tmp_path / "f").read_bytes() == b"x"


def test_a_later_member_of_the_same_name_replaces_the_earlier(tmp_path: Path) -> None:
    unpack(gzipped(file("f", b"old"), file("f", b"new"), symlink("l", "f"), file("l", b"file")), tmp_path)
    assert ((tmp_path / "f").read_bytes(), (tmp_path / "l").read_bytes()) == (b"new", b"file")


ESCAPES: list[list[Entry]] = [
    [file("/absolute", b"x")],
    [file("../escaped", b"x")],
    [file("a/../../escaped", b"x")],
    [folder("a/..")],
    [symlink("l", "/etc/passwd")],
    [symlink("l", "..")],
    [symlink("l", "../escaped")],
    [folder("d"), symlink("d/l", "../../escaped")],
    [folder("d"), symlink("l", "d/../../escaped")],
    [folder("a/b"), symlink("s", "a/b"), symlink("l", "s/../../..")],
    [symlink("a", "."), symlink("b", "a/..")],
    [symlink("l", "d"), file("l/through", b"x")],
    [folder("d"), symlink("l", "d"), file("l/through", b"x")],
    [folder("d"), symlink("l", "d"), folder("l")],
    [folder("d"), symlink("l", "d"), folder("l/e")],
    [folder("d"), symlink("l", "d"), symlink("l/e", "f")],
    [folder("d"), file("d/f"), symlink("l", "d"), hard_link("h", "l/f")],
    [folder("d"), file("f"), symlink("l", "d"), hard_link("l/h", "f")],
    [hard_link("h", "/etc/passwd")],
    [hard_link("h", "../escaped")],
    [hard_link("h", ".")],
    [folder("d"), hard_link("h", "d")],
    [folder("d/e"), symlink("d/e/l", "../../x"), hard_link("h", "d/e/l")],
    [("fifo", {"type": tarfile.FIFOTYPE}, b"")],
    [("device", {"type": tarfile.CHRTYPE}, b"")],
    [("device", {"type": tarfile.BLKTYPE}, b"")],
    [file(".", b"x")],
    [symlink("./", "x")],
    [file("zero", pax_headers={"path": "a\x00b"})],
    [("l", {"type": tarfile.SYMTYPE, "pax_headers": {"linkpath": "a\x00b"}}, b"")],
]


def told(entries: list[Entry]) -> str:
    return " ".join(f"{name}>{fields.get('linkname', '')}".strip(">") for name, fields, _ in entries)


@pytest.mark.parametrize("entries", ESCAPES, ids=told)
def test_what_could_leave_the_target_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "escaped").write_bytes(b"untouched")
    with pytest.raises(UnsafeArchive):
        unpack(gzipped(*entries), tmp_path / "out")
    assert (tmp_path / "escaped").read_bytes() == b"untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["escaped", "out"]


@pytest.mark.parametrize("links", [LinkRule.SKIP, LinkRule.KEEP_TEXT])
@pytest.mark.parametrize("entries", ESCAPES, ids=told)
def test_whatever_becomes_of_links_nothing_is_written_through_them(
    tmp_path: Path, entries: list[Entry], links: LinkRule
) -> None:
    more = [file(f"{entries[-1][0].strip('/.') or 'x'}/below", b"x"), hard_link("again", entries[-1][0])]
    for number, tail in enumerate(([], more[:1], more[1:])):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "escaped").write_bytes(b"untouched")
        with suppress(UnsafeArchive, ArchiveDamaged, CannotExtract):
            unpack(gzipped(*entries, *tail), root / "out", links=links)
        assert (root / "escaped").read_bytes() == b"untouched"
        assert sorted(path.name for path in root.iterdir()) == ["escaped", "out"]
    assert len(list(tmp_path.iterdir())) == 3


VENV = [folder("bin"), symlink("bin/python3", "/usr/bin/python3"), symlink("bin/python", "python3"), file("cfg", b"x")]


def test_a_link_that_leaves_is_left_out_and_told_and_the_rest_is_there(tmp_path: Path) -> None:
    extracted = extract(io.BytesIO(gzipped(*VENV)), tmp_path, max_bytes=100, max_entries=10)
    assert (tmp_path / "bin" / "python").readlink() == Path("python3")
    assert not os.path.lexists(tmp_path / "bin" / "python3")
    assert (tmp_path / "cfg").read_bytes() == b"x"
    (odd,) = extracted.oddities.named
    assert (odd.code, odd.path) == (Odd.LINK_LEAVES_RESULT, "bin/python3")
    assert "/usr/bin/python3" in odd.detail


def test_links_can_be_kept_as_they_stand_and_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    unpack(gzipped(*VENV), tmp_path / "out", links=LinkRule.KEEP_TEXT)
    assert (tmp_path / "out" / "bin" / "python3").readlink() == Path("/usr/bin/python3")
    with pytest.raises(UnsafeArchive, match="write through"):
        unpack(gzipped(symlink("l", "../outside"), file("l/f", b"x")), tmp_path / "through", links=LinkRule.KEEP_TEXT)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_umask_of_the_reader_counts(tmp_path: Path) -> None:
    unpack(gzipped(file("f", mode=0o666), folder("d", mode=0o777), file("x", mode=0o4777)), tmp_path, umask=0o027)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "fdx"] == [0o640, 0o750, 0o750]


def test_the_umask_is_that_of_the_process() -> None:
    before = os.umask(0o031)
    try:
        assert PlacementRules().umask == own_umask() == 0o031
    finally:
        os.umask(before)


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40_000)), max_size=8), st.integers(1, 9000))
def test_content_with_holes_is_written_as_it_was(runs: list[tuple[bool, int]], portion: int) -> None:
    content = b"".join((b"\x00" if is_hole else b"x") * size for is_hole, size in runs)
    data = gzipped(file("f", content), file("g", content[::-1]))
    with tempfile.TemporaryDirectory() as scratch:
        with Extraction(Path(scratch, "out"), max_bytes=10**6, max_entries=10) as extraction:
            for at in range(0, len(data), portion):
                extraction.feed(data[at : at + portion])
        assert Path(scratch, "out", "f").read_bytes() == content
        assert Path(scratch, "out", "g").read_bytes() == content[::-1]


def test_zeros_become_holes_again(tmp_path: Path) -> None:
    content = b"a" + bytes(64 << 20) + b"b" + bytes(8 << 20)
    unpack(gzip.compress(tar_of(file("f", b"shifted"), file("image", content)), 1), tmp_path, max_bytes=10**9)
    assert (tmp_path / "image").read_bytes() == content
    assert blocks(tmp_path / "image") <= 64 << 10


ACL = b"\x02\x00\x00\x00" + b"".join(
    struct.pack("<HHI", *entry)
    for entry in [(1, 6, 2**32 - 1), (2, 4, 4242), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)]
)
CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
XATTRS = {
    "user.note": "a=b\nc",
    "user.empty": "",
    "trusted.evil": "x",
    "security.capability": CAPABILITY.decode("latin-1"),
}


def with_xattrs(*, mode: int = 0o644) -> bytes:
    """Made by hand, because Python's tarfile writes text only."""
    records = b""
    for key, value in {**XATTRS, "system.posix_acl_access": ACL.decode("latin-1")}.items():
        body = b" SCHILY.xattr.%s=%s\n" % (key.encode(), value.encode("latin-1"))
        size = next(n for n in range(len(body), len(body) + 9) if n == len(body) + len(str(n)))
        records += str(size).encode() + body
    header = tar_of(file("x", records, type=b"x"))
    return gzip.compress(
        header[: -(-(512 + len(records)) // 512) * 512] + tar_of(file("f", b"content", mode=mode), file("plain"))
    )


@pytest.fixture
def takes_xattrs(tmp_path: Path) -> Path:
    (tmp_path / "probe").touch()
    os.setxattr(tmp_path / "probe", "user.x", b"1")
    return tmp_path


def test_extended_attributes_are_restored_where_that_is_asked_for(takes_xattrs: Path) -> None:
    extracted = unpack(with_xattrs(), takes_xattrs / "out", xattrs=True)
    path = takes_xattrs / "out" / "f"
    found = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    assert found == {"user.note": b"a=b\nc", "user.empty": b"", "system.posix_acl_access": ACL}
    assert os.listxattr(takes_xattrs / "out" / "plain") == []
    (odd,) = extracted.oddities.named
    assert (odd.code, odd.path, odd.detail) == (
        Odd.ATTRIBUTES_NOT_RESTORED,
        "f",
        "trusted.evil, security.capability",
    )


def test_extended_attributes_are_told_where_nobody_asked_for_them(takes_xattrs: Path) -> None:
    extracted = unpack(with_xattrs(), takes_xattrs / "out")
    assert os.listxattr(takes_xattrs / "out" / "f") == []
    (odd,) = extracted.oddities.named
    assert (odd.code, odd.path) == (Odd.ATTRIBUTES_IGNORED, "f")
    assert "user.note" in odd.detail


def test_without_its_access_list_a_file_gives_its_group_no_more_than_with_it(takes_xattrs: Path) -> None:
    unpack(with_xattrs(mode=0o664), takes_xattrs / "out")
    assert stat.S_IMODE((takes_xattrs / "out" / "f").stat().st_mode) == 0o644
    unpack(with_xattrs(mode=0o664), takes_xattrs / "all", xattrs=True)
    assert stat.S_IMODE((takes_xattrs / "all" / "f").stat().st_mode) == 0o640, "what the list says"


def test_a_mebibyte_of_attributes_is_read(takes_xattrs: Path) -> None:
    many = {f"SCHILY.xattr.user.{number}": "x" * (64 << 10) for number in range(16)}
    extracted = unpack(gzipped(file("f", b"content", pax_headers=many)), takes_xattrs / "out", xattrs=True)
    assert (takes_xattrs / "out" / "f").read_bytes() == b"content"
    assert extracted.entries == 1


def test_a_capability_is_restored_only_where_root_asks_for_it(takes_xattrs: Path) -> None:
    unpack(with_xattrs(), takes_xattrs / "out", capabilities=True)
    assert os.listxattr(takes_xattrs / "out" / "f") == ([] if os.geteuid() else ["security.capability"])


def test_copies_of_linked_files_are_no_more_than_was_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    entries = [file("f", b"x" * 60), *(hard_link(f"h{number}", "f") for number in range(3))]
    extracted = unpack(gzipped(*entries), tmp_path, max_bytes=130)
    assert [odd.code for odd in extracted.oddities.named] == [
        Odd.HARD_LINK_COPIED,
        Odd.HARD_LINK_COPIED,
        Odd.HARD_LINK_LEFT_OUT,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "h0", "h1"]


def test_a_file_that_is_too_large_for_the_file_system_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def limited(descriptor: int, data: memoryview, at: int) -> int:
        if at + len(data) > 100:
            raise OSError(27, "File too large")
        return write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", limited)
    extracted = unpack(gzipped(file("a", b"x" * 101), file("b", b"y" * 100)), tmp_path)
    assert [(odd.code, odd.path) for odd in extracted.oddities.named] == [(Odd.FILE_TOO_LARGE, "a")]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_of_very_many_odd_entries_the_first_are_named_and_all_are_counted() -> None:
    oddities = Oddities()
    for number in range(MAX_NAMED + 5):
        oddities.add(Odd.RENAMED, (str(number).encode(),))
    both = Oddities()
    both.extend(oddities, execution="e-1")
    both.extend(oddities, execution="e-2")
    assert len(both.named) == MAX_NAMED
    assert both.counts[Odd.RENAMED] == 2 * (MAX_NAMED + 5)
    assert both.named[0].execution == "e-1"


def test_more_bytes_than_announced_are_refused_before_they_are_written(tmp_path: Path) -> None:
    data = gzipped(file("a", b"x" * 600), file("b", b"x" * 401))
    with pytest.raises(UnsafeArchive, match="1,000 bytes"):
        unpack(data, tmp_path / "small", max_bytes=1000)
    assert not (tmp_path / "small" / "b").exists()
    unpack(data, tmp_path / "large", max_bytes=1001)


def test_more_entries_than_announced_are_refused(tmp_path: Path) -> None:
    data = gzipped(*(folder(f"d{number}") for number in range(4)))
    with pytest.raises(UnsafeArchive, match="3 entries"):
        unpack(data, tmp_path / "few", max_entries=3)
    unpack(data, tmp_path / "enough", max_entries=4)


def test_an_archive_that_goes_on_for_ever_after_its_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive):
        unpack(gzip.compress(tar_of(file("a")) + bytes(17 << 20), 1), tmp_path)


def test_an_extended_header_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive):
        unpack(gzipped(file("a", pax_headers={"comment": "x" * (5 << 20)})), tmp_path)


def test_extended_headers_without_end_are_refused(tmp_path: Path) -> None:
    one = tar_of(file("a", pax_headers={"comment": "x"}))[:1024]
    with pytest.raises(UnsafeArchive):
        unpack(gzip.compress(one * 1000 + tar_of()), tmp_path)


def test_a_file_that_was_there_before_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    for entry in (file("mine", b"theirs"), symlink("mine", "x"), folder("mine"), file("mine/below")):
        with pytest.raises(CannotExtract, match=r"'mine'.* exists already"):
            unpack(gzipped(entry), tmp_path)
    with pytest.raises(CannotExtract):
        unpack(gzipped(file("other"), hard_link("mine", "other")), tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_directory_that_was_there_before_is_filled_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o750)
    unpack(gzipped(folder("mine", mode=0o777), file("mine/new")), tmp_path)
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o750
    assert (tmp_path / "mine" / "new").exists()


def test_a_link_that_was_there_before_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to("../outside")
    with pytest.raises(UnsafeArchive):
        unpack(gzipped(file("link/f")), tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_target_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(CannotExtract):
        unpack(gzipped(file("f")), tmp_path / "out")


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: memoryview, at: int) -> int:
        raise OSError(28, "No space left on device")

    before = descriptors()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpaceForResult, match="'f' cannot be written: No space left on device"):
        unpack(gzipped(file("f", b"x")), tmp_path)
    assert descriptors() == before


@pytest.mark.parametrize("cut", [0, 1, 9, 20, 50, -9, -8, -1])
def test_an_archive_that_was_cut_is_damaged(tmp_path: Path, cut: int) -> None:
    with pytest.raises(ArchiveDamaged):
        unpack(gzipped(folder("d"), file("d/f", random.Random(1).randbytes(500)))[:cut], tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 512, 600, 1024])
def test_a_tar_that_was_cut_before_it_was_compressed_is_damaged(tmp_path: Path, kept: int) -> None:
    with pytest.raises(ArchiveDamaged):
        unpack(gzip.compress(tar_of(file("f", b"x" * 500))[:kept]), tmp_path)


@pytest.mark.parametrize("place", [0, 200, -6, -2])
def test_damage_in_the_compressed_data_is_found(tmp_path: Path, place: int) -> None:
    data = bytearray(gzipped(file("f", random.Random(1).randbytes(500))))
    data[place] ^= 0x40
    with pytest.raises(ArchiveDamaged):
        unpack(bytes(data), tmp_path)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([*range(148), *range(156, 512)]), st.integers(1, 255))
def test_damage_in_a_header_is_found(place: int, change: int) -> None:
    tar = bytearray(tar_of(file("f", b"x" * 500)))
    tar[place] ^= change
    with tempfile.TemporaryDirectory() as target, pytest.raises(ArchiveDamaged):
        unpack(gzip.compress(tar), Path(target))


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=600))
def test_nonsense_in_an_extended_header_raises_nothing_but_our_errors(body: bytes) -> None:
    header = bytearray(tar_of(file("f", bytes(len(body)), type=b"x"))[:512])
    tar = bytes(header) + body + bytes(-len(body) % 512) + tar_of(file("after"))
    with tempfile.TemporaryDirectory() as target, suppress(ArchiveDamaged, UnsafeArchive, CannotExtract):
        unpack(gzip.compress(tar), Path(target) / "out")


@pytest.mark.parametrize("data", [b"", b"not an archive at all", gzip.compress(b"not a tar" * 200, mtime=0)], ids=len)
def test_something_else_than_an_archive_is_damaged(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveDamaged):
        unpack(data, tmp_path)


def test_members_of_unknown_or_sparse_types_are_told_instead_of_written_wrongly(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(1 << 19)
        sparse.write(b"x")
    for layout in ("gnu", "pax"):
        made = subprocess.run(
            ["tar", "-C", tmp_path, "-S", f"--format={layout}", "-czf", "-", "sparse"], capture_output=True, check=True
        )
        with pytest.raises(ArchiveDamaged):
            unpack(made.stdout, tmp_path / layout)


def test_a_hard_link_to_nothing_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(ArchiveDamaged):
        unpack(gzipped(hard_link("h", "missing")), tmp_path)


def test_every_file_is_closed_after_success_failure_and_abort(tmp_path: Path) -> None:
    before = descriptors()
    unpack(gzipped(folder("a/b/c"), file("a/b/c/d", b"x")), tmp_path / "1")
    with pytest.raises(ArchiveDamaged):
        unpack(gzipped(file("a/b", random.Random(1).randbytes(5000)))[:4000], tmp_path / "2")
    extraction = Extraction(tmp_path / "3", max_bytes=10**6, max_entries=10)
    extraction.feed(gzipped(file("a/b", random.Random(1).randbytes(5000)))[:4000])
    extraction.abort()
    extraction.abort()
    assert descriptors() == before


# ---- archives of several pieces, which are placed while the next ones are decompressed ---------------------------

MANY_PIECES = 12 << 20


def random_file(name: str, size_bytes: int) -> Entry:
    return file(name, random.Random(name).randbytes(size_bytes))


def placing_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("placing")]


def test_an_archive_of_many_pieces_is_placed_whole(tmp_path: Path) -> None:
    entries = [random_file(f"file{number}", 1_500_000) for number in range(8)]
    extracted = unpack(gzipped(*entries), tmp_path / "target", max_bytes=MANY_PIECES)
    assert (extracted.files, extracted.raw_bytes) == (8, 12_000_000)
    for name, _, content in entries:
        assert (tmp_path / "target" / name).read_bytes() == content
    assert placing_threads() == []


@pytest.mark.parametrize("at", [1, 6, 8], ids=["early", "in the middle", "last"])
def test_what_is_refused_in_a_later_piece_is_raised_and_nothing_is_placed_behind_it(tmp_path: Path, at: int) -> None:
    entries = [random_file(f"file{number}", 1_500_000) for number in range(8)]
    entries.insert(at, file("../outside"))
    with pytest.raises(UnsafeArchive):
        unpack(gzipped(*entries), tmp_path / "target", max_bytes=MANY_PIECES)
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == [f"file{n}" for n in range(at)]
    assert not (tmp_path / "outside").exists()
    assert placing_threads() == []


def test_an_archive_that_is_damaged_behind_pieces_that_are_being_placed_leaves_nothing_open(tmp_path: Path) -> None:
    data = gzipped(*[random_file(f"file{number}", 1_500_000) for number in range(8)])
    before = descriptors()
    with pytest.raises(ArchiveDamaged):
        unpack(data[: len(data) // 2], tmp_path / "target", max_bytes=MANY_PIECES)
    assert descriptors() == before
    assert placing_threads() == []


@pytest.mark.parametrize("digits", [b"%06o\x00 ", b"%06o \x00", b"%07o\x00", b" %06o\x00"])
def test_a_checksum_may_be_spelled_in_several_ways(tmp_path: Path, digits: bytes) -> None:
    tar = bytearray(tar_of(file("a", b"content"), layout=tarfile.USTAR_FORMAT))
    tar[148:156] = b" " * 8
    tar[148:156] = digits % sum(tar[:512])
    unpack(gzip.compress(tar), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"content"
