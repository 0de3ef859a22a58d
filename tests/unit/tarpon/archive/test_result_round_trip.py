"""Any tree that a node packs comes back by its index as it was; whatever is mutated, nothing leaves the target."""

import glob
import gzip
import io
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import CannotExtract, Damaged
from shared.extraction.announced import AnnouncedSize
from shared.extraction.archive_index import Block, IndexDamaged, IndexReader
from shared.extraction.block_reading import BlockReader, Cutter, WantedBlocks, spans_of
from shared.extraction.extract import extract
from shared.extraction.member_placing import MemberPlacing
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.plain_names import plainly_named
from tarpon.archive.selection import Chosen, Selection, missing_targets, standing_alone
from tests.archives import Packed, Plan, packed, plant, tree

MUTATIONS = 300


def by_index(made: Packed, target: Path, *paths: str) -> None:
    """What `tarpon job get JOB PATH...` does with an index, without the network."""
    blocks: list[Block] = []
    chosen, files = Chosen(Selection(paths)), {}
    reader = IndexReader(archive_bytes=len(made.archive), announced=AnnouncedSize(max_entries=made.summary.entries))
    for line in reader.read(io.BytesIO(made.index)):
        if isinstance(line, Block):
            blocks.append(line)
        elif (member := plainly_named(line)) is not None:
            chosen.add(member)
            if member.kind is MemberKind.FILE:
                files[member.name] = member
    targets = {name: files[name] for name in missing_targets(chosen.members) if name in files}
    members = standing_alone(chosen.members, targets)
    counts = made.summary
    rules = PlacementRules(umask=0)
    placement = MemberPlacing(target, max_bytes=counts.raw_bytes, max_entries=counts.entries, rules=rules)
    try:
        for member in members:
            if member.kind is MemberKind.DIRECTORY:
                placement.begin(member)
        contents = [member for member in members if member.kind is MemberKind.FILE]
        for event in cut(contents, blocks, made.archive):
            if isinstance(event, Member):
                placement.begin(event)
            else:
                placement.write(event)
        for member in members:
            if member.kind not in {MemberKind.DIRECTORY, MemberKind.FILE}:
                placement.begin(member)
        placement.finish()
    finally:
        placement.abort()


def cut(files: list[Member], blocks: list[Block], archive: bytes) -> Iterator[Member | memoryview]:
    wanted = WantedBlocks(files)
    wanted.offer(blocks)
    needed = wanted.table
    reader, cutter = BlockReader(needed), Cutter(files)
    for span in spans_of(needed):
        for tar_at, tar in reader.feed(span.start, archive[span.start : span.end]):
            yield from cutter.feed(tar_at, tar)
    reader.close()
    yield from cutter.close()


NAMES = st.one_of(st.sampled_from([b"a", b"b", b"file.txt", b"d" * 120]), st.binary(min_size=1, max_size=20)).map(
    lambda name: name.replace(b"/", b"-").replace(b"\x00", b"0").replace(b".", b"_")
)
KINDS = st.sampled_from(["file", "file", "folder", "symlink", "hard link"])
SIZES = st.one_of(st.integers(0, 3000), st.sampled_from([700_000, 1 << 20, 2_500_000]))
PLAN = st.tuples(st.lists(NAMES, min_size=1, max_size=4), KINDS, st.integers(0, 0o777), SIZES)


@settings(deadline=None, max_examples=25)
@given(st.lists(PLAN, max_size=10))
async def test_a_tree_comes_back_by_its_index_as_it_was(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "target")
        source.mkdir()
        plant(source, [*plan, ([b"zz"], "file", 0o600, 1_500_000)])
        made = await packed(source)
        assert made.index, "it has several blocks"
        by_index(made, target, ".")
        assert tree(target) == tree(source)


@settings(deadline=None, max_examples=25)
@given(st.lists(PLAN, min_size=1, max_size=10), st.data())
async def test_each_file_comes_alone_as_it_was(plan: Plan, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "target")
        source.mkdir()
        plant(source, [*plan, ([b"zz"], "file", 0o600, 1_500_000)])
        made = await packed(source)
        files = {name: each for name, each in tree(source).items() if each[0] == 0o100000}
        name = data.draw(st.sampled_from(sorted(files)))
        by_index(made, target, glob.escape(name))
        found = {path: each for path, each in tree(target).items() if each[0] == 0o100000}
        assert {path: each[:4] for path, each in found.items()} == {name: files[name][:4]}


async def sample(root: Path, *, noise_bytes: int = 1_200_000) -> Packed:
    plan: Plan = [
        ([b"stdout"], "file", 0o644, 300),
        ([b"outputs", b"noise"], "file", 0o600, noise_bytes),
        ([b"outputs", b"deep", b"empty"], "file", 0o600, 0),
        ([b"outputs", b"link"], "symlink", 0, 1),
        ([b"outputs", b"hard"], "hard link", 0, 0),
        ([b"long" * 40], "file", 0o755, 2000),
    ]
    source = root / "source"
    source.mkdir()
    plant(source, plan)
    return await packed(source)


@contextmanager
def watched(root: Path) -> Iterator[Path]:
    """A target, outside of which nothing may be made or changed."""
    beside = root / "beside"
    beside.mkdir(exist_ok=True)
    (beside / "secret").write_text("untouched")
    with tempfile.TemporaryDirectory(dir=beside) as scratch:
        yield Path(scratch) / "target"
        assert [path.name for path in Path(scratch).iterdir()] in ([], ["target"])
        for path in Path(scratch).rglob("*"):
            if path.is_symlink():
                assert (path.parent / path.readlink()).resolve().is_relative_to(Path(scratch) / "target")
            else:
                path.chmod(0o700)
    assert [path.name for path in beside.iterdir()] == ["secret"]
    assert (beside / "secret").read_text() == "untouched"


def mutated(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 1, 2, 5])):
        at = dice.randrange(len(changed))
        match dice.randrange(5):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at : at + dice.randrange(1, 9)] = dice.randbytes(4)
            case 2:
                del changed[at : at + dice.randrange(1, 600)]
            case 3:
                changed[at:at] = changed[at : at + dice.randrange(1, 600)]
            case _:
                del changed[max(at, 1) :]
        if not changed:
            return b""
    return bytes(changed)


async def test_mutated_archives_raise_only_documented_errors_and_leave_nothing_outside(tmp_path: Path) -> None:
    made, dice = await sample(tmp_path, noise_bytes=5000), random.Random(20)
    plain = _unpacked(made.archive)
    for _ in range(MUTATIONS):
        # Half of them below the compression, where checksums do not help.
        is_tar = dice.random() < 0.5
        data = _zipped(mutated(plain, dice)) if is_tar else mutated(made.archive, dice)
        with watched(tmp_path) as target, suppress(Damaged, CannotExtract):
            extract(io.BytesIO(data), target, max_bytes=made.summary.raw_bytes, max_entries=made.summary.entries)


TOKENS = [b"..", b"/", b"/etc/passwd", b"../../x", b"-1", b"0", b"99999999999999999999", b'"', b"null", b"stdout", b"{"]


async def test_mutated_indexes_raise_only_documented_errors_and_leave_nothing_outside(tmp_path: Path) -> None:
    made, dice = await sample(tmp_path), random.Random(21)
    plain = _unpacked(made.index)
    outcomes = set()
    for _ in range(MUTATIONS):
        match dice.randrange(3):
            case 0:
                index = mutated(made.index, dice)
            case 1:
                index = _zipped(mutated(plain, dice))
            case _:
                at = dice.randrange(len(plain))
                length = dice.randrange(12)
                index = _zipped(plain[:at] + dice.choice(TOKENS) + plain[at + length :])
        changed = Packed(archive=made.archive, index=index, index_sha256="", summary=made.summary)
        with watched(tmp_path) as target:
            try:
                by_index(changed, target, ".")
            except (Damaged, CannotExtract) as error:
                outcomes.add(type(error))
    assert IndexDamaged in outcomes


async def test_a_mutated_archive_is_not_taken_for_what_its_index_says(tmp_path: Path) -> None:
    made, dice = await sample(tmp_path), random.Random(22)
    expected = tree(tmp_path / "source")
    for _ in range(60):
        data = mutated(made.archive, dice)
        changed = Packed(archive=data, index=made.index, index_sha256="", summary=made.summary)
        with watched(tmp_path) as target:
            try:
                by_index(changed, target, ".")
            except (Damaged, CannotExtract):
                continue
            assert tree(target) == expected, "the change was where nothing is read"


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (b'"path":"../escaped"', "leaves the target"),
        (b'"path":"/escaped"', "leaves the target"),
        (b'"path":"a/../../escaped"', "leaves the target"),
    ],
)
async def test_a_name_in_an_index_that_leaves_the_target_is_refused(tmp_path: Path, member: bytes, told: str) -> None:
    made = await sample(tmp_path)
    index = _zipped(_unpacked(made.index).replace(b'"path":"stdout"', member))
    with watched(tmp_path) as target, pytest.raises(Damaged, match=told):
        by_index(Packed(archive=made.archive, index=index, index_sha256="", summary=made.summary), target, ".")


def _unpacked(data: bytes) -> bytes:
    return gzip.decompress(data)


def _zipped(data: bytes) -> bytes:
    return gzip.compress(data, 1)
