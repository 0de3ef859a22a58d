"""Results on file systems that cannot have all that is in them: what is lost is told, and the rest is there."""

import io
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarpon.extract import Extracted, extract
from tarpon.oddities import Odd
from tarpon.placement_rules import LinkRule, PlacementRules
from tests.archives import packed
from tests.file_systems import mounted
from tests.memory import MIB

E_ACUTE = "é"


@pytest.fixture(scope="module")
def exfat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Takes no notice of case, has no links of either kind, no permissions, no holes, and fewer names."""
    with mounted("exfat", tmp_path_factory.mktemp("exfat"), size_bytes=48 * MIB) as place:
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
