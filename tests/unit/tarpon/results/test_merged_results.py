"""How results of several parts become one tree, in which it stays known who wrote what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.jobs.partition_names import partition_name
from tarpon.results.folders import ResultsInTheWay, merge_in_place
from tarpon.results.merged import ResultsNotMerged, merge_partitions
from tarpon.results.staging import staging_in


def merged(folder: Path, *parts: dict[str, str | None]) -> dict[str, str]:
    """What comes of parts with these files; a value of None is a folder, one that begins with `->` a link."""
    staged = []
    for index, files in enumerate(parts):
        root = folder / f"staged-{index}"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            elif content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                path.write_text(content)
        staged.append((partition_name(index, len(parts)), root))
    merge_partitions(staged, folder / "merged")
    return read(folder / "merged")


def read(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            link = f"->{os.readlink(path)} " if path.is_symlink() else ""  # noqa: PTH115  # its very text
            found[str(path.relative_to(folder))] = link + (path.read_text() if path.exists() else "?")
    return found


def test_what_several_parts_have_gets_the_name_of_its_part(tmp_path: Path) -> None:
    assert merged(tmp_path, {"stdout": "0", "out/a": "0", "out/own": "0"}, {"out/a": "1", "out/deep/b": "1"}) == {
        "stdout.0000": "0",
        "out/a.0000": "0",
        "out/a.0001": "1",
        "out/own": "0",
        "out/deep/b": "1",
    }


def test_a_folder_keeps_its_name_beside_a_file_of_another_part(tmp_path: Path) -> None:
    assert merged(tmp_path, {"out": "a file"}, {"out/x": "1"}, {"out/y": "2"}) == {
        "out.0000": "a file",
        "out/x": "1",
        "out/y": "2",
    }


def test_a_link_to_what_was_renamed_leads_to_its_own_parts_file(tmp_path: Path) -> None:
    part = {"out/log.txt": "{}", "out/latest": "->log.txt", "own": "->out/log.txt", "gone": "->nowhere"}
    both: list[dict[str, str | None]] = [{name: text.format(index) for name, text in part.items()} for index in (0, 1)]
    both[0]["written"] = "->stdout"
    both[0]["stdout"] = "wrote 0"
    assert merged(tmp_path, *both) == {
        "out/log.txt.0000": "0",
        "out/log.txt.0001": "1",
        "out/latest.0000": "->log.txt.0000 0",
        "out/latest.0001": "->log.txt.0001 1",
        "own.0000": "->out/log.txt.0000 0",
        "own.0001": "->out/log.txt.0001 1",
        "gone.0000": "->nowhere ?",
        "gone.0001": "->nowhere ?",
        "written": "->stdout.0000 wrote 0",
        "stdout.0000": "wrote 0",
    }


def test_a_name_that_is_taken_already_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.raises(ResultsNotMerged, match=r"out/x\.0001"):
        merged(tmp_path, {"out/x": "0", "out/x.0001": "mine"}, {"out/x": "1"})


def test_a_folder_that_may_not_be_written_to_is_merged_too(tmp_path: Path) -> None:
    for index in (0, 1):
        folder = tmp_path / f"staged-{index}" / "out"
        folder.mkdir(parents=True)
        (folder / "a").write_text(str(index))
        folder.chmod(0o555)
    merge_partitions([(f"000{index}", tmp_path / f"staged-{index}") for index in (0, 1)], tmp_path / "merged")
    assert read(tmp_path / "merged") == {"out/a.0000": "0", "out/a.0001": "1"}
    assert (tmp_path / "merged" / "out").stat().st_mode & 0o777 == 0o555


def with_an_owners_rights(program: str, folder: Path) -> str:
    """What a process prints that has no rights beyond those that modes give, with `folder` as a Path. Root has more."""
    rights = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    imports = "import pathlib, sys; from tarpon.results.merged import *; from tarpon.results.folders import *"
    lines = f"{imports}\nfolder = pathlib.Path(sys.argv[1])\n{program}"
    command = [*rights, sys.executable, "-c", lines, str(folder)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o300, 0o600])
def test_a_folder_that_may_not_be_listed_is_merged_too(tmp_path: Path, mode: int) -> None:
    for index in (0, 1):
        folder = tmp_path / f"staged-{index}" / "out"
        folder.mkdir(parents=True)
        (folder / "a").write_text(str(index))
        (folder / f"of-{index}").write_text("")
        (folder.parent / f"link-{index}").symlink_to("out/a")
        folder.chmod(mode)
    with_an_owners_rights(
        "merge_partitions([(f'000{index}', folder / f'staged-{index}') for index in (0, 1)], folder / 'merged')",
        tmp_path,
    )
    assert (tmp_path / "merged" / "out").stat().st_mode & 0o777 == mode
    (tmp_path / "merged" / "out").chmod(0o700)
    assert read(tmp_path / "merged") == {
        "link-0": "->out/a.0000 0",
        "link-1": "->out/a.0001 1",
        "out/a.0000": "0",
        "out/a.0001": "1",
        "out/of-0": "",
        "out/of-1": "",
    }


class TestAnExistingFolderThatMayNotBeListed:
    PROGRAM = """
try:
    merge_in_place(folder, [folder / "staged"], [folder / "place"])
except ResultsInTheWay as error:
    print(error.message)
"""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for each in ("staged", "place"):
            (tmp_path / each / "out").mkdir(parents=True)
            (tmp_path / each / "out" / each).write_text(each)
        return tmp_path

    def closed(self, folder: Path) -> None:
        for each in ("staged", "place"):
            (folder / each / "out").chmod(0)

    def test_gets_what_it_lacks(self, folder: Path) -> None:
        self.closed(folder)
        assert with_an_owners_rights(self.PROGRAM, folder) == ""
        assert (folder / "place" / "out").stat().st_mode & 0o777 == 0
        (folder / "place" / "out").chmod(0o700)
        assert read(folder / "place") == {"out/place": "place", "out/staged": "staged"}

    def test_loses_nothing(self, folder: Path) -> None:
        (folder / "place" / "out" / "staged").write_text("mine")
        self.closed(folder)
        assert "place/out/staged" in with_an_owners_rights(self.PROGRAM, folder)
        (folder / "place" / "out").chmod(0o700)
        assert read(folder / "place") == {"out/place": "place", "out/staged": "mine"}


def deep(root: Path) -> Path:
    """A new folder with more folders in each other than Python calls functions in each other."""
    folder = root
    folder.mkdir()
    for _ in range(1100):
        folder /= "d"
        folder.mkdir()
    return folder


async def test_however_deep_the_folders_are_they_are_merged_and_removed(tmp_path: Path) -> None:
    async with staging_in(tmp_path) as staging:
        both = [deep(staging / str(index)) for index in (0, 1)]
        for index, folder in enumerate(both):
            (folder / "a").write_text(str(index))
            (folder / "link").symlink_to("a")
        merge_partitions([(f"000{index}", staging / str(index)) for index in (0, 1)], staging / "merged")
        lowest = staging / "merged" / both[1].relative_to(staging / "1")
        assert {path.name: path.read_text() for path in lowest.iterdir()} == {
            "a.0000": "0",
            "a.0001": "1",
            "link.0000": "0",
            "link.0001": "1",
        }
        (deep(staging / "later") / "link.0000").write_text("in the way")
        with pytest.raises(ResultsInTheWay, match=r"link\.0000"):
            merge_in_place(staging, [staging / "later"], [staging / "merged"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("index", "count", "name"), [(7, 20, "0007"), (0, 1, "0000"), (7, 10_001, "00007"), (9999, 10_000, "9999")]
)
def test_a_part_has_as_many_digits_as_the_last_one(index: int, count: int, name: str) -> None:
    assert partition_name(index, count) == name
