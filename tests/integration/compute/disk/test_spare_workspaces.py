"""Real tasks leave their folders to the next ones, unless something of them might still write there."""

from pathlib import Path

import pytest

from compute.disk.spare_folders import SpareFolders
from compute.processes.strays import Strays
from tests.integration.process_bench import Bench

DAEMON = "setsid sh -c 'echo $$ > {0}/daemon; exec sleep 1000' & until [ -s {0}/daemon ]; do sleep 0.01; done"


@pytest.fixture
def spares(tmp_path: Path) -> SpareFolders:
    return SpareFolders(tmp_path)


async def test_a_short_task_leaves_its_folder_to_the_next(tmp_path: Path, strays: Strays, spares: SpareFolders) -> None:
    bench = Bench(tmp_path, strays, spares=spares)
    await bench.shell("echo told")
    assert spares.keep(bench.workspace.root)
    following = Bench(tmp_path, strays, spares=spares)
    await following.shell("echo anew >&2")
    assert (following.workspace.result / "stdout").read_text() == ""
    assert (following.workspace.result / "stderr").read_text() == "anew\n"


async def test_a_longer_task_does_so_too(tmp_path: Path, strays: Strays, spares: SpareFolders) -> None:
    bench = Bench(tmp_path, strays, spares=spares)
    await bench.shell("sleep 0.2")
    assert spares.keep(bench.workspace.root)


async def test_a_task_that_has_left_a_daemon_leaves_no_folder(
    tmp_path: Path, strays: Strays, spares: SpareFolders
) -> None:
    bench = Bench(tmp_path, strays, spares=spares)
    await bench.shell(DAEMON.format(tmp_path))
    assert not spares.keep(bench.workspace.root)


async def test_where_daemons_cannot_be_found_no_folder_is_left(tmp_path: Path, spares: SpareFolders) -> None:
    bench = Bench(tmp_path, spares=spares)  # whose strays are not adopted
    await bench.shell("true")
    assert not spares.keep(bench.workspace.root)
