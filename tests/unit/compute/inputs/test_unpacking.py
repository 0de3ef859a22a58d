"""A result that a task reads is unpacked without trusting it: all of it, or what is at some paths, within bounds."""

from pathlib import Path

import pytest

from compute.disk.file_copy import CopyStopped
from compute.inputs.failures import InputFailed
from compute.inputs.objects.unpacking import unpack_result
from shared.jobs.states import FailureReason
from tests.unit.shared.extraction.test_extract import Entry, file, folder, gzipped, hard_link, symlink

RESULT = (
    folder("outputs"),
    file("outputs/model.bin", b"model"),
    file("outputs/notes/a.txt", b"a"),
    hard_link("outputs/again.bin", "outputs/model.bin"),
    file("outputs-not", b"other"),
    file("stdout", b"hello"),
)


def unpacked(folder: Path, *entries: Entry, members: tuple[str, ...] = (), limit: int = 0) -> dict[str, bytes]:
    archive, target = folder / "archive.tar.gz", folder / "target"
    archive.write_bytes(gzipped(*entries))
    target.mkdir()
    unpack_result(archive, members, target, limit)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(folder: Path, *entries: Entry, members: tuple[str, ...] = (), limit: int = 0) -> InputFailed:
    with pytest.raises(InputFailed) as caught:
        unpacked(folder, *entries, members=members, limit=limit)
    return caught.value


def test_all_of_a_result_is_unpacked(tmp_path: Path) -> None:
    found = unpacked(tmp_path, *RESULT)
    assert found["outputs/again.bin"] == found["outputs/model.bin"] == b"model"
    assert sorted(found) == ["outputs-not", "outputs/again.bin", "outputs/model.bin", "outputs/notes/a.txt", "stdout"]


def test_a_task_does_not_begin_without_what_its_disk_cannot_have_of_a_result(tmp_path: Path) -> None:
    error = refusal(tmp_path, *RESULT, file("outputs/" + "x" * 256, b"lost"))
    assert error.reason is FailureReason.INPUT_NOT_PLACED
    assert "1 (NameImpossible)" in error.detail


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (("stdout",), ["stdout"]),
        (("outputs/",), ["outputs/again.bin", "outputs/model.bin", "outputs/notes/a.txt"]),
        (("outputs/notes", "stdout"), ["outputs/notes/a.txt", "stdout"]),
        (("outputs/again.bin",), ["outputs/again.bin"]),
        (("outputs/notes", "outputs/notes/a.txt"), ["outputs/notes/a.txt"]),
    ],
)
def test_of_a_result_no_more_is_unpacked_than_is_wanted(
    tmp_path: Path, members: tuple[str, ...], names: list[str]
) -> None:
    assert sorted(unpacked(tmp_path, *RESULT, members=members)) == names


def test_several_names_of_a_file_that_is_not_wanted_itself_are_one_file(tmp_path: Path) -> None:
    names = hard_link("a/one", "z"), hard_link("a/two", "z"), hard_link("b", "z")
    found = unpacked(tmp_path, file("z", b"content"), *names, members=("a",))
    assert found == {"a/one": b"content", "a/two": b"content"}
    assert (tmp_path / "target/a/one").stat().st_ino == (tmp_path / "target/a/two").stat().st_ino


def test_what_a_result_does_not_have_is_told(tmp_path: Path) -> None:
    failed = refusal(tmp_path, *RESULT, members=("outputs/model.bin", "outputs/modle.bin"))
    assert failed.reason is FailureReason.INPUT_NOT_FOUND
    assert failed.detail == "The result that the task reads has no outputs/modle.bin."


def test_a_result_that_is_larger_than_the_task_may_fill_is_not_unpacked(tmp_path: Path) -> None:
    failed = refusal(tmp_path, file("a", bytes(1000)), file("b", bytes(1001)), limit=2000)
    assert failed.reason is FailureReason.INPUT_TOO_LARGE
    assert (
        "larger than 2,000 bytes when it is unpacked, which is what Resources.Disk of the task allows" in failed.detail
    )


@pytest.mark.parametrize(
    "entry",
    [file("../out", b"x"), file("/etc/out", b"x"), file("a/../../out", b"x")],
    ids=["a step up", "the root", "a step up within"],
)
def test_no_name_of_a_result_leads_out_of_the_target(tmp_path: Path, entry: Entry) -> None:
    assert refusal(tmp_path, entry).reason is FailureReason.INPUT_NOT_PLACED
    assert names_in(tmp_path) == ["archive.tar.gz", "target"]


def test_nothing_is_written_through_a_link_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    failed = refusal(tmp_path, folder("real"), symlink("inner", "real"), file("inner/out", b"x"))
    assert failed.reason is FailureReason.INPUT_NOT_PLACED
    assert "tries to write through the symbolic link" in failed.detail


def test_links_that_lead_out_of_a_result_are_left_out(tmp_path: Path) -> None:
    unpacked(tmp_path, symlink("out", "/etc/hostname"), symlink("up", "../../x"), symlink("in", "a"), file("a", b"a"))
    assert names_in(tmp_path / "target") == ["a", "in"]


def test_a_result_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    archive, target = tmp_path / "archive.tar.gz", tmp_path / "target"
    archive.write_bytes(gzipped(*RESULT)[:-20])
    target.mkdir()
    with pytest.raises(InputFailed) as caught:
        unpack_result(archive, (), target, 0)
    assert caught.value.reason is FailureReason.INPUT_DAMAGED


@pytest.mark.parametrize("members", [(), ("big",)])
def test_unpacking_ends_soon_once_nobody_wants_it(tmp_path: Path, members: tuple[str, ...]) -> None:
    archive, target = tmp_path / "archive.tar.gz", tmp_path / "target"
    archive.write_bytes(gzipped(file("big", b"x" * (8 << 20)), file("last", b"y")))
    target.mkdir()
    looks = iter([False, False])
    with pytest.raises(CopyStopped):
        unpack_result(archive, members, target, 0, lambda: next(looks, True))
    assert "last" not in names_in(target)
