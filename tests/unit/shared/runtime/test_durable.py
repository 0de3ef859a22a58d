"""What must outlive a power cut is on the disk under its name, and an emptied name is no obstacle."""

from pathlib import Path

import pytest

from orchestrator.data_folder import kept_name
from shared.runtime import durable


def test_a_file_is_written_whole_and_for_its_user_alone(tmp_path: Path) -> None:
    durable.write(tmp_path / "file", b"old")
    durable.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    with pytest.raises(OSError):
        durable.write(tmp_path / "folder", b"content")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_folder_is_made_with_its_parents_for_its_user_alone(tmp_path: Path) -> None:
    for _ in range(2):
        durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("left", [None, "", "\n"])
def test_an_orchestrator_without_a_name_takes_one_and_keeps_it(tmp_path: Path, left: str | None) -> None:
    if left is not None:
        (tmp_path / "name").write_text(left)
    name = kept_name(tmp_path / "name")
    assert name.startswith("o-")
    assert kept_name(tmp_path / "name") == name
