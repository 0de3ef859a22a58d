"""Copies of the machine's configuration that tasks see."""

import resource
from pathlib import Path

import pytest

from compute.engines.process.configuration import ShownConfiguration


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    source = tmp_path / "etc"
    (source / "ssl" / "certs").mkdir(parents=True)
    (source / "ssl" / "private").mkdir()
    (source / "ssl" / "private" / "key").write_text("secret")
    (source / "ssl" / "certs" / "one.pem").symlink_to("/usr/share/ca/one.crt")
    (source / "shadow").write_text("root:secret")
    (source / "hosts").write_text("127.0.0.1 localhost\n")
    return source


def test_only_what_is_named_is_copied(tmp_path: Path, machine: Path) -> None:
    copied = ShownConfiguration(tmp_path / "copies", machine).current()
    files = {str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_symlink() or path.is_file()}
    assert files == {"hosts", "ssl/certs/one.pem"}
    assert (copied / "hosts").read_text() == "127.0.0.1 localhost\n"


def test_a_copy_is_made_again_when_its_source_has_changed(tmp_path: Path, machine: Path) -> None:
    shown = ShownConfiguration(tmp_path / "copies", machine)
    first = shown.current()
    assert shown.current() == first
    (machine / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    second = shown.current()
    assert (second / "resolv.conf").exists()
    assert not (first / "resolv.conf").exists(), "a task that runs sees what it saw"


def test_copies_of_an_earlier_node_go(tmp_path: Path, machine: Path) -> None:
    folder = tmp_path / "copies"
    left = ShownConfiguration(folder, machine).current()
    (left / "hosts").write_text("other")
    assert (ShownConfiguration(folder, machine).current() / "hosts").read_text() != "other"
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("name", ["hosts", "ssl/certs/two.pem"])
def test_a_copy_that_could_not_be_written_is_not_shown(tmp_path: Path, machine: Path, name: str) -> None:
    for path in machine.rglob("*"):
        if path.is_file():
            path.write_text("")
    (machine / name).write_text("content\n")
    shown = ShownConfiguration(tmp_path / "copies", machine)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            shown.current()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (shown.current() / name).read_text() == "content\n"
