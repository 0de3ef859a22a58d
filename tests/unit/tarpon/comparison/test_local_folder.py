"""A folder of this machine is compared as a result is: in its order, and no link of it is followed."""

import os
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from tarpon import Client
from tarpon.comparison.compare import compare_sources
from tarpon.comparison.entries import differences
from tarpon.comparison.local_folder import LocalFolder
from tarpon.comparison.views import ComparedResult
from tarpon.verification import verify_folder


def made(folder: Path, text: str = "a") -> LocalFolder:
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text(text)
    (folder / "a" / "deep" / "file").write_text("x")
    (folder / "a-b").symlink_to("/etc/passwd")
    (folder / "linked").hardlink_to(folder / "a.txt")
    (Path(os.fsdecode(bytes(folder) + b"/odd\xff"))).write_text("odd")
    return LocalFolder(folder)


def test_its_entries_are_in_the_order_of_a_result(tmp_path: Path) -> None:
    found = [(each.name, each.kind.value, each.target) for each in made(tmp_path).entries()]
    assert found == [
        (b"a", "directory", b""),
        (b"a/deep", "directory", b""),
        (b"a/deep/file", "file", b""),
        (b"a-b", "symbolic link", b"/etc/passwd"),
        (b"a.txt", "file", b""),
        (b"linked", "hard link", b"a.txt"),
        (b"odd\xff", "file", b""),
    ]


async def test_two_folders_are_compared_up_to_their_first_bytes_that_differ(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one", "same line\nab\n"), made(tmp_path / "other", "same line\nac\n")
    found = await compare_sources((ComparedResult(), ComparedResult()), one, other, 20)
    (difference,) = found.differences
    assert difference.bytes is not None
    assert (difference.path, difference.bytes.at, difference.bytes.first) == ("a.txt", 11, "ab\n")


def test_modes_that_the_mask_leaves_out_do_not_count(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    (tmp_path / "one" / "a.txt").chmod(0o664)
    (tmp_path / "other" / "a.txt").chmod(0o644)

    def differing(mask: int) -> int:
        return sum(each is not None for each in differences(one.entries(), other.entries(), mask))

    assert (differing(0o777), differing(0o755)) == (2, 0), "it has two names"


async def test_what_is_no_folder_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, told in (("missing", "There is no folder '.*missing'"), ("file", "file' is no folder")):
        with pytest.raises(InvalidInput, match=told) as compared:
            LocalFolder(tmp_path / name)
        with pytest.raises(InvalidInput, match=told) as verified:
            await verify_folder(Client("http://127.0.0.1:1"), tmp_path / name)
        assert "tarpon job get" in compared.value.hint == verified.value.hint
