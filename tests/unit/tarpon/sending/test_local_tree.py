import os
import socket
from pathlib import Path

import pytest

from tarpon.sending.local_tree import LocalTree, found_tree, opened
from tarpon.sending.problems import CannotBeSent, FileUnreadable, NothingToSend, PathNotFound, TreeTooLarge


def paths(tree: LocalTree) -> list[str]:
    return [each.path for each in tree.files]


def test_files_are_found_in_the_order_of_their_paths_with_their_executable_bit(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"12")
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b-c").write_bytes(b"")
    (tmp_path / "b" / "x").chmod(0o755)
    tree = found_tree(tmp_path)
    assert paths(tree) == ["a.txt", "b-c", "b/x"]
    assert [each.executable for each in tree.files] == [False, False, True]
    assert tree.size_bytes == 2


def test_a_file_alone_has_no_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    assert paths(found_tree(tmp_path / "a")) == paths(found_tree(tmp_path / "link")) == [""]


def test_a_link_within_the_tree_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "link").symlink_to("../a")
    tree = found_tree(tmp_path)
    assert paths(tree) == ["a", "d/link"]
    assert {each.source for each in tree.files} == {str(tmp_path / "a")}


@pytest.fixture
def special(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "root-too").mkdir()
    (root / "ok").write_bytes(b"1")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "beside").symlink_to(tmp_path / "root-too")
    (root / "nowhere").symlink_to("not-there")
    (root / "to-folder").symlink_to("folder")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "s"))
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    return root


def test_what_is_no_file_of_the_tree_is_told_and_never_read(special: Path) -> None:
    with pytest.raises(CannotBeSent) as caught:
        found_tree(special)
    assert caught.value.message.startswith(f"Not all of {str(special)!r} can be sent:\n  - ")
    tree = found_tree(special, skip_special=True)
    assert paths(tree) == ["ok"]
    assert sorted(tree.left_out) == sorted(
        [
            "'\\udcff' is not a name in UTF-8.",
            "'beside' is a link that leads out of the tree",
            "'fifo' is neither a file, a folder nor a link",
            "'loop' is a link that leads to nothing",
            "'nowhere' is a link that leads to nothing",
            "'out' is a link that leads out of the tree",
            "'s' is neither a file, a folder nor a link",
            "'to-folder' is a link to a folder",
        ]
    )


def test_a_tree_without_files_is_nothing_to_send(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(NothingToSend):
        found_tree(tmp_path / "empty")


def test_what_is_not_there_or_nothing_of_the_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(PathNotFound, match="No such file or directory"):
        found_tree(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(PathNotFound, match="neither a file nor a folder"):
        found_tree(tmp_path / "fifo")


def test_more_files_than_possible_are_refused_before_all_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarpon.sending.local_tree.MAX_FILES", 2)
    for number in range(3):
        (tmp_path / str(number)).write_bytes(b"")
    with pytest.raises(TreeTooLarge):
        found_tree(tmp_path)


def test_a_link_that_takes_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"2")
    (file,) = found_tree(tmp_path / "a").files
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        opened(file)


def test_what_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (file,) = found_tree(tmp_path / "a").files

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # root may read all

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileUnreadable, match="cannot be read: Permission denied"):
        opened(file)
