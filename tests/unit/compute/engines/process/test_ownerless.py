"""Copies of what a task of a root node must not own."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from compute.engines.process.ownerless import OwnerlessCopies

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs them, and may make them")


def test_copies_of_root_belong_to_nobody(tmp_path: Path) -> None:
    copies = OwnerlessCopies(tmp_path / "copies")
    found = [Path(copies.device("/dev/null")), Path(copies.program("/bin/sh"))]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in found] == [(65534, 65534)] * 2
    assert found[0].stat().st_rdev == Path("/dev/null").stat().st_rdev
    assert found[1].read_bytes() == Path("/bin/sh").read_bytes()
    again = copies.device("/dev/null")
    assert (again, Path(again).stat().st_ino) == (str(found[0]), found[0].stat().st_ino), "it is made once"
    found[0].unlink()
    found[0].write_text("not a device")
    assert Path(copies.device("/dev/null")).is_char_device()


def test_tasks_that_start_at_once_have_the_same_copies(tmp_path: Path) -> None:
    copies, at_once = OwnerlessCopies(tmp_path / "copies"), Barrier(8)

    def copy(_: int) -> str:
        at_once.wait()
        return copies.device("/dev/null")

    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            (found,) = set(threads.map(copy, range(8)))
            assert Path(found).is_char_device()
            Path(found).unlink()
