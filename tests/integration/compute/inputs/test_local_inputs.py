"""Paths of the node that jobs name, with what authors and users of the machine put in the way."""

import os
import socket
import threading
from pathlib import Path

import pytest

from compute.inputs.failures import InputFailed
from compute.inputs.local.allowed_paths import AllowedPaths
from compute.inputs.local.copying import MAX_DEPTH, LocalCopy, Unwanted
from shared.jobs.states import FailureReason as R


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("one")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("s3cret")
    return folder


@pytest.fixture
def allowed(data: Path) -> AllowedPaths:
    return AllowedPaths([f"{data}/**:ro"])


def real(allowed: AllowedPaths, path: Path | str) -> str:
    with allowed.found(str(path)) as found:
        return found.real


def refusal(allowed: AllowedPaths, path: Path | str) -> R:
    with pytest.raises(InputFailed) as failed, allowed.found(str(path)):
        pass
    assert "s3cret" not in failed.value.detail
    return failed.value.reason


def copy(allowed: AllowedPaths, path: Path, target: Path, limit_bytes: int = 0) -> None:
    with allowed.found(str(path)) as found:
        LocalCopy(str(path), limit_bytes, lambda: False).run(found.descriptor, target)


class TestAllowed:
    def test_what_is_below_an_allowed_folder_is_found_by_its_real_path(self, allowed: AllowedPaths, data: Path) -> None:
        assert real(allowed, data) == str(data)
        assert real(allowed, f"{data}//deep/./a.txt") == str(data / "deep" / "a.txt")

    def test_nothing_is_allowed_without_a_list(self, data: Path) -> None:
        assert not AllowedPaths([])
        assert refusal(AllowedPaths([]), data) is R.INPUT_NOT_ALLOWED

    def test_what_may_be_read_may_be_written_to_only_where_the_operator_says_so(self, data: Path) -> None:
        both = AllowedPaths([f"{data}/**:ro", f"{data}/deep/**:rw"])
        with both.found(str(data / "deep"), to_write=True) as found:
            assert found.real == str(data / "deep")
        assert real(both, data) == str(data)
        with pytest.raises(InputFailed) as failed, both.found(str(data), to_write=True):
            pass
        assert failed.value.reason is R.INPUT_NOT_ALLOWED
        assert "does not allow tasks to write to" in failed.value.detail

    def test_nothing_is_mounted_that_tasks_could_exchange_against_a_link(self, data: Path) -> None:
        for entries in ([f"{data}/**:rw"], [f"{data}/**", f"{data}:rw"]):
            allowed = AllowedPaths(entries)
            with allowed.mountable(str(data), to_write=True) as found:
                assert found.real == str(data)
            for path in (data / "deep", data / "deep" / "a.txt"):
                with pytest.raises(InputFailed) as failed, allowed.mountable(str(path)):
                    pass
                assert failed.value.reason is R.INPUT_NOT_ALLOWED
                assert "before it is mounted: name that folder as the input" in failed.value.detail
                assert real(allowed, path) == str(path)
        with AllowedPaths([f"{data}/*:rw"]).mountable(str(data / "deep"), to_write=True) as found:
            assert found.real == str(data / "deep")

    @pytest.mark.parametrize("path", ["/", "/etc", "{data}2", "{data}/../secret", "{data}/deep/../../secret/key", ""])
    def test_nothing_else_is_allowed_however_it_is_written(self, allowed: AllowedPaths, data: Path, path: str) -> None:
        assert refusal(allowed, path.format(data=data)) is R.INPUT_NOT_ALLOWED

    @pytest.mark.parametrize("target", ["../secret", "/etc", "../secret/key", "../../../../../../../etc/passwd"])
    def test_no_link_leads_out_of_it(self, allowed: AllowedPaths, data: Path, target: str) -> None:
        (data / "link").symlink_to(target)
        assert refusal(allowed, data / "link") is R.INPUT_NOT_ALLOWED
        (data / "folder").symlink_to("..")
        assert refusal(allowed, data / "folder" / "secret" / "key") is R.INPUT_NOT_ALLOWED

    def test_links_that_stay_in_it_are_followed(self, allowed: AllowedPaths, data: Path) -> None:
        (data / "link").symlink_to("deep/a.txt")
        assert real(allowed, data / "link") == str(data / "deep" / "a.txt")

    def test_a_link_is_judged_by_what_the_pattern_allows_and_not_by_its_folder(self, data: Path) -> None:
        (data / "link").symlink_to("deep/a.txt")
        assert refusal(AllowedPaths([f"{data}/*"]), data / "link") is R.INPUT_NOT_ALLOWED

    def test_the_operator_s_folder_may_be_behind_a_link(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "named").symlink_to("data")
        named = AllowedPaths([f"{tmp_path}/named/**"])
        assert real(named, tmp_path / "named" / "deep") == str(data / "deep")
        (data / "link").symlink_to("../secret")
        assert refusal(named, tmp_path / "named" / "link") is R.INPUT_NOT_ALLOWED

    def test_links_in_a_circle_lead_nowhere(self, allowed: AllowedPaths, data: Path) -> None:
        (data / "a").symlink_to("b")
        (data / "b").symlink_to("a")
        assert refusal(allowed, data / "a") is R.INPUT_NOT_ALLOWED

    def test_what_has_vanished_is_told(self, allowed: AllowedPaths, data: Path) -> None:
        assert refusal(allowed, data / "gone") is R.INPUT_NOT_FOUND
        assert refusal(allowed, data / "deep" / "a.txt" / "x") is R.INPUT_NOT_FOUND
        assert refusal(allowed, data / ("a" * 300)) is R.INPUT_NOT_FOUND

    def test_what_is_neither_a_file_nor_a_folder_is_no_input(
        self, allowed: AllowedPaths, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(data / "pipe")
        monkeypatch.chdir(data)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
        assert refusal(allowed, data / "pipe") is R.INPUT_NOT_PLACED
        assert refusal(allowed, data / "socket") is R.INPUT_NOT_PLACED
        assert refusal(AllowedPaths(["/dev/**"]), "/dev/null") is R.INPUT_NOT_PLACED

    def test_a_folder_with_a_mount_in_it_is_no_input(self) -> None:
        assert refusal(AllowedPaths(["/dev"]), "/dev") is R.INPUT_NOT_PLACED

    def test_a_link_that_takes_the_place_of_a_folder_meanwhile_is_not_followed(
        self, allowed: AllowedPaths, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look at where links lead and the opening."""
        resolve = os.path.realpath

        def exchanged(path: str, *, strict: bool = False) -> str:
            found = resolve(path, strict=strict)
            if path == str(data / "deep" / "key"):
                (data / "deep").rename(data / "away")
                (data / "deep").symlink_to("../secret")
            return found

        (data / "deep" / "key").write_text("mine")
        monkeypatch.setattr("os.path.realpath", exchanged)
        assert refusal(allowed, data / "deep" / "key") in {R.INPUT_NOT_ALLOWED, R.INPUT_NOT_FOUND}

    def test_nobody_wins_by_exchanging_a_folder_again_and_again(self, allowed: AllowedPaths, data: Path) -> None:
        (data / "x").mkdir()
        (data / "x" / "key").write_text("mine")
        (data / "evil").symlink_to("../secret")
        over = threading.Event()

        def exchange() -> None:
            while not over.is_set():
                (data / "x").rename(data / "x1")
                (data / "evil").rename(data / "x")
                (data / "x").rename(data / "evil")
                (data / "x1").rename(data / "x")

        thread = threading.Thread(target=exchange)
        thread.start()
        read = set()
        try:
            for _ in range(2000):
                try:
                    with allowed.found(str(data / "x" / "key")) as found:
                        read.add(Path(f"/proc/self/fd/{found.descriptor}").read_text())
                except InputFailed:
                    pass
        finally:
            over.set()
            thread.join()
        assert read <= {"mine"}


class TestCopies:
    def test_a_folder_is_copied_with_its_links_and_without_sharing_anything(
        self, allowed: AllowedPaths, data: Path, tmp_path: Path
    ) -> None:
        (data / "deep" / "run").write_text("#!/bin/sh\n")
        (data / "deep" / "run").chmod(0o755)
        (data / "out").symlink_to("/etc/passwd")
        os.mkfifo(data / "pipe")
        copy(allowed, data, tmp_path / "copy")
        assert sorted(str(each.relative_to(tmp_path / "copy")) for each in (tmp_path / "copy").rglob("*")) == [
            *("deep", "deep/a.txt", "deep/run", "out"),
        ]
        assert (tmp_path / "copy" / "out").readlink() == Path("/etc/passwd")
        assert (tmp_path / "copy" / "deep" / "a.txt").stat().st_ino != (data / "deep" / "a.txt").stat().st_ino
        assert os.access(tmp_path / "copy" / "deep" / "run", os.X_OK)
        assert not (tmp_path / "copy" / "deep" / "a.txt").stat().st_mode & 0o111

    def test_a_file_is_copied_byte_for_byte(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        content = os.urandom((20 << 20) + 7)
        (data / "big").write_bytes(content)
        copy(allowed, data / "big", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content

    def test_no_copy_has_more_than_its_task_may_fill(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        (data / "big").write_bytes(bytes(2 << 20))
        with pytest.raises(InputFailed, match=r"more than the 1.0 MiB .* Resources.Disk") as failed:
            copy(allowed, data, tmp_path / "copy", 1 << 20)
        assert failed.value.reason is R.INPUT_TOO_LARGE

    def test_very_many_empty_files_fill_the_disk_too(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        for number in range(100):
            (data / str(number)).touch()
        with pytest.raises(InputFailed, match=r"Resources.Disk"):
            copy(allowed, data, tmp_path / "copy", 100 << 10)

    def test_no_copy_goes_deeper_than_it_has_to(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        folder = data
        for _ in range(MAX_DEPTH + 2):
            folder /= "d"
            folder.mkdir()
        with pytest.raises(InputFailed, match="deep"):
            copy(allowed, data, tmp_path / "copy")

    def test_a_copy_that_nobody_wants_any_more_ends(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        with pytest.raises(Unwanted), allowed.found(str(data)) as found:
            LocalCopy(str(data), 0, lambda: True).run(found.descriptor, tmp_path / "copy")

    def test_a_link_that_takes_the_place_of_a_file_while_it_is_copied_is_not_followed(
        self, allowed: AllowedPaths, data: Path, tmp_path: Path
    ) -> None:
        (data / "file").write_text("mine")
        looks = 0

        def exchanged() -> bool:
            """Asked before each entry; by then the names have been read."""
            nonlocal looks
            looks += 1
            if looks == 2:
                for name in ("file", "deep"):
                    (data / name).rename(data / f"{name}.away")
                    (data / name).symlink_to("../secret/key")
            return False

        with pytest.raises(InputFailed) as failed, allowed.found(str(data)) as found:
            LocalCopy(str(data), 0, exchanged).run(found.descriptor, tmp_path / "copy")
        assert failed.value.reason in {R.INPUT_NOT_ALLOWED, R.INPUT_NOT_FOUND}
        assert not any(each.is_file() and "s3cret" in each.read_text() for each in (tmp_path / "copy").rglob("*"))

    def test_nothing_is_left_open(self, allowed: AllowedPaths, data: Path, tmp_path: Path) -> None:
        def count() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        before = count()
        copy(allowed, data, tmp_path / "copy")
        for path in (data / "gone", data / "deep" / "a.txt" / "x"):
            refusal(allowed, path)
        with pytest.raises(InputFailed):
            copy(allowed, data, tmp_path / "other", 1)
        assert count() == before
