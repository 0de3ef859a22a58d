"""A task behind walls sees inputs that are elsewhere on the machine, and changes nothing of them."""

import stat
from pathlib import Path

import pytest

from compute.disk.input_files import MountedInput
from compute.engines.engine import Broken, Exited
from compute.processes.strays import Strays
from shared.jobs.states import FailureReason
from tests.integration.process_bench import Bench

CHANGES = (
    "echo x > in/a",
    "echo x >> in/a",
    "chmod 777 in/a",
    "touch in/new",
    "rm -f in/a",
    "mv in/a in/b",
    "ln in/a outputs/own",
    "mkdir in/deep/new",
    "rm -rf in",
    "mv in elsewhere",
    "echo x > file",
    "rm -f file",
    "mount -o remount,rw in",
    "umount in",
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "node", Strays(), sandboxed=True, hidden=tmp_path / "node")


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[MountedInput, ...]:
    view = tmp_path / "node" / "views" / "view"
    (view / "deep").mkdir(parents=True)
    (view / "a").write_text("one\n")
    (view / "deep" / "run").write_text("#!/bin/sh\necho two\n")
    (view / "deep" / "text").write_text("echo three\n")
    for path in (view / "deep" / "run", view / "deep" / "text"):
        path.chmod(0o555)
    file = tmp_path / "node" / "views" / "file"
    file.write_text("four\n")
    return MountedInput("/in", view), MountedInput("/file", file)


async def test_a_task_reads_them(bench: Bench, inputs: tuple[MountedInput, ...]) -> None:
    assert await bench.shell("cat in/a $HOME/file; in/deep/run; ls -A", inputs=inputs) == Exited(0)
    assert bench.read("stdout").splitlines() == ["one", "four", "two", "file", "in", "outputs"]


async def test_a_task_changes_nothing_of_them(bench: Bench, inputs: tuple[MountedInput, ...]) -> None:
    tries = "\n".join(f"({each}) 2> /dev/null && echo '{each}'" for each in CHANGES)
    assert await bench.shell(f"{tries}\ncat in/a file", inputs=inputs) == Exited(0)
    assert bench.read("stdout").splitlines() == ["one", "four"]
    view, file = (each.path for each in inputs)
    assert sorted(path.name for path in view.rglob("*")) == ["a", "deep", "run", "text"]
    assert ((view / "a").read_text(), file.read_text()) == ("one\n", "four\n")
    assert stat.S_IMODE((view / "a").stat().st_mode) == 0o644


async def test_none_is_a_part_of_what_the_task_fills(bench: Bench, inputs: tuple[MountedInput, ...]) -> None:
    assert await bench.shell("true", inputs=inputs) == Exited(0)
    assert list((bench.workspace.folder / "in").iterdir()) == []
    assert (bench.workspace.folder / "file").stat().st_size == 0


async def test_a_task_may_work_in_one(bench: Bench, inputs: tuple[MountedInput, ...]) -> None:
    params = {"Entrypoint": ["./run"], "WorkingDirectory": "/in/deep"}
    assert await bench.run(params, inputs=inputs) == Exited(0)
    assert bench.read("stdout") == "two\n"


@pytest.mark.parametrize(
    ("working_directory", "command", "told"),
    [
        ("/file", "true", "is in the place of an input, which is a file"),
        ("/file/deep", "true", "is in the place of an input"),
        ("/in/none", "true", "is in an input, which has no such folder and is read only"),
        ("/in/deep", "./text", "is neither a program nor a script"),
    ],
)
async def test_what_cannot_be_there_is_told(
    bench: Bench, inputs: tuple[MountedInput, ...], working_directory: str, command: str, told: str
) -> None:
    end = await bench.run({"Entrypoint": [command], "WorkingDirectory": working_directory}, inputs=inputs)
    assert isinstance(end, Broken), end
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert told in end.detail
    assert not (inputs[0].path / "none").exists()
