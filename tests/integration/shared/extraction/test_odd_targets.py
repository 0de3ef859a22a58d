"""Results on file systems that cannot have all that is in them: what is lost is told, and the rest is there."""

import asyncio
import io
import os
import random
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.extraction.extract import Extracted, extract
from shared.extraction.oddities import Odd
from shared.extraction.placement_rules import LinkRule, PlacementRules
from shared.extraction.room import NoSpaceForResult
from tarpon.results.fetch_job import get_results
from tests.archives import packed
from tests.file_systems import mounted
from tests.integration import stored_results
from tests.integration.stored_results import Stored, gate
from tests.integration.tarpon.results.test_results import JOB, offering
from tests.memory import MIB
from tests.servers import S3Server

E_ACUTE = "é"


@pytest.fixture(scope="module")
def exfat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Takes no notice of case, has no links of either kind, no permissions, no holes, and fewer names."""
    with mounted("exfat", tmp_path_factory.mktemp("exfat"), size_bytes=48 * MIB) as place:
        yield place


@pytest.fixture(scope="module")
def small_ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with little room, which keeps holes."""
    with mounted("ext4", tmp_path_factory.mktemp("ext4"), size_bytes=48 * MIB) as place:
        yield place


@pytest.fixture
def target(exfat: Path, request: pytest.FixtureRequest) -> Path:
    return exfat / str(request.node.name)[:40]


async def unpack(tree: Path, target: Path, *, rename_collisions: bool = False) -> Extracted:
    made = await packed(tree)
    counts = made.summary
    rules = PlacementRules(links=LinkRule.KEEP_TEXT, rename_collisions=rename_collisions)
    return extract(
        io.BytesIO(made.archive), target, max_bytes=counts.raw_bytes, max_entries=counts.entries, rules=rules
    )


def odd(extracted: Extracted) -> set[tuple[Odd, str]]:
    named: set[tuple[Odd, str]] = {
        (each.code, each.path) for each in extracted.oddities.named if each.code is not Odd.METADATA_NOT_KEPT
    }
    assert sum(extracted.oddities.counts.values()) == len(extracted.oddities.named)
    return named


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_name_that_the_target_takes_for_another_one_does_not_replace_it(tmp_path: Path, target: Path) -> None:
    for name in ("README", "Readme", "readme"):
        (tmp_path / name).write_text(name)
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"README": b"README"}
    assert extracted.files == 1
    assert odd(extracted) == {(Odd.NAME_COLLIDES, "Readme"), (Odd.NAME_COLLIDES, "readme")}


async def test_colliding_files_and_folders_can_be_given_other_names(tmp_path: Path, target: Path) -> None:
    for name in ("a.txt", "A.txt", "D/x", "d/X"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "d" / "deep").mkdir()
    (tmp_path / "d" / "deep" / "file").write_text("deep")
    extracted = await unpack(tmp_path, target, rename_collisions=True)
    assert contents(target) == {
        "A.txt": b"A.txt",
        "a~2.txt": b"a.txt",
        "D/x": b"D/x",
        "d~2/X": b"d/X",
        "d~2/deep/file": b"deep",
    }
    assert extracted.files == 5
    assert odd(extracted) == {(Odd.RENAMED, "a.txt"), (Odd.RENAMED, "d")}


async def test_nothing_of_a_folder_that_collides_gets_into_the_other_one(tmp_path: Path, target: Path) -> None:
    for name in ("D/x", "d/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"D/x": b"D/x"}
    assert odd(extracted) == {(Odd.NAME_COLLIDES, "d"), (Odd.NAME_COLLIDES, "d/y")}


async def test_two_forms_of_a_letter_are_two_files_where_the_target_says_so(tmp_path: Path, target: Path) -> None:
    (tmp_path / unicodedata.normalize("NFC", E_ACUTE)).write_text("NFC")
    (tmp_path / unicodedata.normalize("NFD", E_ACUTE)).write_text("NFD")
    assert odd(await unpack(tmp_path, target)) == set()
    assert sorted(contents(target).values()) == [b"NFC", b"NFD"]


async def test_names_that_the_file_system_does_not_know_are_told_and_the_rest_is_there(
    tmp_path: Path, target: Path
) -> None:
    for name in ("12:30.log", "what?", "fine", os.fsdecode(b"\xff\xfe")):
        (tmp_path / name).write_text("x")
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "below").write_text("x")
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"fine": b"x"}
    impossible = ("12:30.log", "what?", "a:b", "a:b/below", "\\xff\\xfe")
    assert odd(extracted) == {(Odd.NAME_IMPOSSIBLE, name) for name in impossible}


async def test_symbolic_links_are_told_and_hard_links_become_copies(tmp_path: Path, target: Path) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"a": b"content", "b": b"content"}
    assert extracted.files == 2
    assert odd(extracted) == {(Odd.HARD_LINK_COPIED, "b"), (Odd.SYMLINK_IMPOSSIBLE, "link")}


async def test_a_hard_link_to_what_collided_is_not_a_link_to_what_it_collided_with(
    tmp_path: Path, target: Path
) -> None:
    (tmp_path / "A").write_text("large")
    (tmp_path / "a").write_text("small")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"A": b"large"}
    assert odd(extracted) == {(Odd.NAME_COLLIDES, "a"), (Odd.HARD_LINK_LEFT_OUT, "b")}
    renamed = await unpack(tmp_path, target.with_name("renamed"), rename_collisions=True)
    assert contents(target.with_name("renamed")) == {"A": b"large", "a~2": b"small", "b": b"small"}
    assert odd(renamed) == {(Odd.RENAMED, "a"), (Odd.HARD_LINK_COPIED, "b")}


async def test_a_file_whose_holes_do_not_fit_is_told_and_the_rest_is_there(tmp_path: Path, target: Path) -> None:
    with (tmp_path / "image").open("wb") as image:
        image.write(b"data")
        image.truncate(300 * MIB)
    (tmp_path / "other").write_text("x")
    extracted = await unpack(tmp_path, target)
    assert contents(target) == {"other": b"x"}
    assert odd(extracted) == {(Odd.FILE_TOO_LARGE, "image")}


async def test_permissions_that_are_not_kept_are_told_once(tmp_path: Path, target: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o640)
    extracted = await unpack(tmp_path, target)
    assert extracted.oddities.counts == {Odd.METADATA_NOT_KEPT: 1}


@pytest.fixture(scope="module")
def sparse(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """4 GiB of an image with 10 MiB of data in it, and 64 MiB of data beside it."""
    root = tmp_path_factory.mktemp("sparse")
    dice = random.Random(11)
    with (root / "image").open("wb") as image:
        for at in range(0, 4096, 400):
            image.seek(at * MIB + 1000)
            image.write(dice.randbytes(MIB))
        image.truncate(4096 * MIB)
    (root / "data").write_bytes(dice.randbytes(64 * MIB))
    (root / "stdout").write_text("x")
    return stored_results.stored(s3_server, s3_server.create_bucket(), asyncio.run(packed(root)))


async def test_an_image_larger_than_its_disk_is_fetched_with_its_holes(sparse: Stored, small_ext4: Path) -> None:
    async with offering(lambda: [sparse.params()]) as client:
        await get_results(client, JOB, paths=["image"], output_dir=small_ext4)
    image = small_ext4 / "image"
    try:
        assert image.stat().st_size == 4096 * MIB
        assert image.stat().st_blocks * 512 <= 12 * MIB
        dice = random.Random(11)
        with image.open("rb") as file:
            for at in range(0, 4096, 400):
                file.seek(at * MIB + 1000)
                assert file.read(MIB) == dice.randbytes(MIB)
    finally:
        image.unlink()


@pytest.mark.parametrize("paths", [(), ("data",)], ids=["all", "paths"])
async def test_what_does_not_fit_is_refused_before_any_content_is_fetched(
    sparse: Stored, small_ext4: Path, paths: tuple[str, ...]
) -> None:
    async with (
        gate(sparse.server) as between,
        offering(lambda: [sparse.params(endpoint=between.endpoint)]) as client,
    ):
        with pytest.raises(NoSpaceForResult, match="are free") as caught:
            await get_results(client, JOB, paths=paths, output_dir=small_ext4)
        assert len(between.ranges) == 1, "the index alone"
    assert caught.value.hint
    assert {path.name for path in small_ext4.iterdir()} == {"lost+found"}


async def test_a_damaged_result_leaves_its_room_to_the_replica_that_is_taken_instead(
    s3_server: S3Server, small_ext4: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(b"x" * (25 * MIB))
    stored = stored_results.stored(s3_server, s3_server.create_bucket(), await packed(tmp_path))
    first = stored.params(execution_id="e-0", sha256="0" * 64, stand_ins=("e-1",))
    target = small_ext4 / "got"
    async with offering(lambda: [first], replicas={"e-1": stored.params(execution_id="e-1")}) as client:
        fetched = await get_results(client, JOB, output_dir=target)
    assert fetched.replaced == {"e-0": "e-1"}
    assert (target / "data").stat().st_size == 25 * MIB
    shutil.rmtree(target)


async def test_an_archive_that_does_not_fit_is_refused_before_a_byte_of_it_is_fetched(
    sparse: Stored, small_ext4: Path
) -> None:
    async with offering(lambda: [sparse.params()]) as client:
        with pytest.raises(NoSpaceForResult):
            await get_results(client, JOB, raw=True, output_dir=small_ext4)
    assert {path.name for path in small_ext4.iterdir()} == {"lost+found"}


async def test_where_holes_take_room_a_file_that_does_not_fit_is_told_and_the_rest_is_there(
    sparse: Stored, target: Path
) -> None:
    target.mkdir()
    async with offering(lambda: [sparse.params()]) as client:
        fetched = await get_results(client, JOB, paths=["image", "stdout"], output_dir=target)
    assert contents(target) == {"stdout": b"x"}
    assert fetched.files == 1
    assert [(each.code, each.path) for each in fetched.oddities.named if each.code is not Odd.METADATA_NOT_KEPT] == [
        (Odd.FILE_TOO_LARGE, "image")
    ]
