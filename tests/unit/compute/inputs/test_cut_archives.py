"""What a task reads of a result comes out of a cut archive as it does out of the whole one."""

import random
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.inputs.failures import InputFailed
from compute.inputs.objects import cut_archives
from compute.inputs.objects.cut_archives import ArchiveCut, NotCut
from compute.inputs.objects.unpacking import unpack_result
from shared.errors import ArchiveDamaged
from tests.archives import Packed, Plan, packed, plant, tree

PIECE_BYTES = 300_000
NAMES = st.sampled_from([b"a", b"b", b"file.txt", b"d" * 120, b"\xff", "ü".encode()])
KINDS = st.sampled_from(["file", "file", "folder", "symlink", "hard link"])
SIZES = st.one_of(st.integers(0, 3000), st.sampled_from([512, 700_000, 1 << 20]))
PLAN = st.tuples(st.lists(NAMES, min_size=1, max_size=3), KINDS, st.integers(0o400, 0o777), SIZES)


def cut(made: Packed, members: tuple[str, ...], path: Path) -> int:
    """How many bytes of the archive that takes."""
    found = ArchiveCut(made.index, members, len(made.archive))
    archive = found.begin(path)
    try:
        for piece in found.pieces(PIECE_BYTES):
            archive.feed(piece.start, made.archive[piece.start : piece.end])
        assert archive.finish() == path.stat().st_size
    finally:
        archive.close()
    return found.size_bytes


def unpacked(archive: Path, members: tuple[str, ...], target: Path) -> dict[str, tuple[object, ...]]:
    """But for the times of folders, some of which nobody asked for."""
    target.mkdir()
    unpack_result(archive, members, target, 0)
    return {name: each if each[0] != stat.S_IFDIR else each[:2] for name, each in tree(target).items()}


def outcome(archive: Path, members: tuple[str, ...], target: Path) -> object:
    try:
        return unpacked(archive, members, target)
    except InputFailed as error:
        return error.reason


@settings(deadline=None, max_examples=25)
@given(st.lists(PLAN, max_size=10), st.data())
async def test_the_same_comes_out_of_it(plan: Plan, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        source, whole, part = root / "source", root / "whole.tar.gz", root / "part.tar.gz"
        source.mkdir()
        plant(source, [*plan, ([b"zz"], "file", 0o600, 1_500_000)])
        made = await packed(source)
        whole.write_bytes(made.archive)
        members = tuple(data.draw(st.lists(st.sampled_from(sorted(tree(source))), min_size=1, max_size=3)))
        cut(made, members, part)
        assert outcome(part, members, root / "of part") == outcome(whole, members, root / "of whole")


@pytest.fixture
async def made(tmp_path: Path) -> Packed:
    source = tmp_path / "source"
    (source / "outputs").mkdir(parents=True)
    for number in range(8):
        (source / "outputs" / f"{number}").write_bytes(random.Random(number).randbytes(1 << 20))
    return await packed(source)


def test_no_more_travels_than_the_blocks_of_what_is_read(made: Packed, tmp_path: Path) -> None:
    assert cut(made, ("outputs/3",), tmp_path / "part") <= 3 << 20
    assert list(unpacked(tmp_path / "part", ("outputs/3",), tmp_path / "to")) == ["outputs", "outputs/3"]


def test_a_block_that_is_not_what_the_index_says_is_found(made: Packed, tmp_path: Path) -> None:
    found = ArchiveCut(made.index, ("outputs/3",), len(made.archive))
    archive = found.begin(tmp_path / "part")
    (span,) = found.spans
    with pytest.raises(ArchiveDamaged):
        archive.feed(span.start, bytes(span.end - span.start))
    archive.close()


@pytest.mark.parametrize("damage", ["cut", "other", "longer archive"])
def test_an_index_that_makes_no_sense_is_not_used(made: Packed, damage: str) -> None:
    index, size = made.index, len(made.archive)
    index = {"cut": index[:-20], "other": b"none", "longer archive": index}[damage]
    with pytest.raises(NotCut):
        ArchiveCut(index, ("outputs/3",), size + (damage == "longer archive"))


def test_of_what_is_missing_in_the_index_the_whole_archive_tells(made: Packed) -> None:
    with pytest.raises(NotCut):
        ArchiveCut(made.index, ("outputs/3", "nothing"), len(made.archive))


def test_very_many_members_are_not_cut_out(made: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_archives, "MOST_MEMBERS", 5)
    with pytest.raises(NotCut):
        ArchiveCut(made.index, ("outputs",), len(made.archive))
