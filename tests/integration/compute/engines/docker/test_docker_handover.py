"""Files of other users in a container's result: the engine hands them over to a node that may not touch them.

The node's side runs without the rights by which root passes over the owners and modes of files, as if it were the user
of a rootless engine.
"""

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.archive.tar_stream import TarStream
from compute.engines.docker.handover import Handover, NotATar, is_own
from compute.engines.engine import Exited
from tests.engine import TestEngine
from tests.integration.docker_bench import OUTPUTS, Bench
from tests.podman import throw_away_user

_LOST_RIGHTS = "-dac_override,-dac_read_search,-fowner,-chown"
LONG = "n" * 150
SCRIPT = f"""
umask 077
mkdir -p /outputs/closed/deep /outputs/own
echo secret > /outputs/closed/deep/file
ln /outputs/closed/deep/file /outputs/closed/deep/linked
head -c 3000000 /dev/zero > /outputs/closed/{LONG}
echo top > /outputs/top
echo mine > /outputs/own/file
ln -s top /outputs/link
chmod 0 /outputs/top
chmod 500 /outputs/closed
touch -d @1000000000 /outputs/closed/deep/file
chown -R 1000:1000 /outputs/closed
chown 70000:70000 /outputs/top
"""


class _Unshared(TestEngine):
    """The engine of the test that started this process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.socket = Path(url.removeprefix("unix://"))

    def containers(self, label: str = "") -> list[str]:
        return []


async def as_another_user(url: str, folder: str, script: str) -> dict[str, Any]:
    """Run a task, pack its result and remove everything."""
    bench = Bench(Path(folder), _Unshared(url))
    task = bench.shell(script)
    end = await bench.ended(task, output_limit_bytes=1 << 20)
    told: dict[str, Any] = {"end": type(end).__name__}
    if told["end"] == "Exited":
        task.workspace.gather([OUTPUTS])
        stream = TarStream(task.workspace.result)
        (Path(folder) / "result.tar").write_bytes(b"".join(stream.blocks()))
        told |= {"left_out": stream.left_out_count, "warnings": stream.warnings}
    task.workspace.discard()
    return told


def main() -> None:
    json.dump(asyncio.run(as_another_user(*sys.argv[1:])), sys.stdout)


def result_of(engine: TestEngine, folder: Path, script: str) -> Any:
    command = ["setpriv", "--bounding-set", _LOST_RIGHTS, sys.executable, "-c", f"import {__name__} as t; t.main()"]
    done = subprocess.run([*command, engine.url, folder, script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["docker_engine", "podman_engine"])
def any_engine(request: pytest.FixtureRequest) -> TestEngine:
    engine: TestEngine = request.getfixturevalue(request.param)
    return engine


def test_files_of_other_users_are_in_the_result_and_gone_afterwards(any_engine: TestEngine, tmp_path: Path) -> None:
    told = result_of(any_engine, tmp_path, SCRIPT)
    assert told == {"end": "Exited", "left_out": 0, "warnings": []}
    with tarfile.open(tmp_path / "result.tar") as tar:
        found = {member.name: member for member in tar}
        texts = {name: tar.extractfile(found[name]) for name in ("outputs/top", "outputs/closed/deep/file")}
        assert {name: file.read() for name, file in texts.items() if file} == {
            "outputs/top": b"top\n",
            "outputs/closed/deep/file": b"secret\n",
        }
    assert found[f"outputs/closed/{LONG}"].size == 3_000_000
    assert found["outputs/closed/deep/linked"].linkname == "outputs/closed/deep/file"
    assert found["outputs/link"].linkname == "top"
    assert (found["outputs/top"].mode, found["outputs/closed"].mode & 0o500) == (0, 0o500)
    assert found["outputs/closed/deep/file"].mtime == 1_000_000_000
    assert not list(tmp_path.glob("e-*/*"))


def test_the_files_of_a_task_that_fails_are_removed_too(any_engine: TestEngine, tmp_path: Path) -> None:
    script = "umask 077; mkdir /outputs/d; echo > /outputs/d/f; chown -R 1000 /outputs/d; yes"
    assert result_of(any_engine, tmp_path, script) == {"end": "Broken"}
    assert not list(tmp_path.glob("e-*/*"))


def test_a_result_folder_that_the_task_closed_itself_is_handed_over(any_engine: TestEngine, tmp_path: Path) -> None:
    script = "umask 077; mkdir /outputs/d; echo deep > /outputs/d/f; chown -R 1000:1000 /outputs; chmod 500 /outputs"
    assert result_of(any_engine, tmp_path, script) == {"end": "Exited", "left_out": 0, "warnings": []}
    with tarfile.open(tmp_path / "result.tar") as tar:
        assert {"outputs/d/f", "outputs"} <= set(tar.getnames())
    assert not list(tmp_path.glob("e-*/*"))


@pytest.fixture
def remapping(docker_engine: TestEngine) -> Iterator[tuple[TestEngine, int]]:
    """The engine with user namespaces, and which user its containers' root is on the machine."""
    try:
        with throw_away_user() as user:
            docker_engine.terminate()
            docker_engine.folder.chmod(0o711)
            docker_engine.start(f"--userns-remap={user.pw_name}")
            docker_engine.add_image()
            ranges = (line.split(":") for line in Path("/etc/subuid").read_text().splitlines())
            yield docker_engine, next(int(first) for name, first, _ in ranges if name == user.pw_name)
    finally:
        docker_engine.restore()


async def test_with_user_namespaces_the_files_of_a_task_are_the_node_s_where_that_is_not_root(
    remapping: tuple[TestEngine, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, root = remapping
    bench = Bench(tmp_path, engine)
    task = bench.shell("id -u; echo > /outputs/mine")
    assert await bench.ended(task) == Exited(0)
    assert (task.read("stdout"), (task.outputs / "mine").stat().st_uid) == ("0\n", root)
    monkeypatch.setattr(os, "geteuid", lambda: 4322)
    monkeypatch.setattr(os, "getegid", lambda: 4323)
    task = bench.shell("id -u; echo > /outputs/mine")
    assert await bench.ended(task) == Exited(0)
    assert (task.read("stdout"), (task.outputs / "mine").stat().st_uid) == ("4322\n", 4322)


# ---- how an archive is rewritten -------------------------------------------------------------------------------------


def packed(*members: tuple[str, int, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for name, uid, content in members:
            member = tarfile.TarInfo(name)
            member.uid, member.gid, member.size, member.uname = uid, uid, len(content), "ü" if uid else ""
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


async def rewritten(archive: bytes, step: int, handover: Handover) -> dict[str, tuple[int, str, bytes]]:
    async def chunks() -> Any:
        for at in range(0, len(archive), step):
            yield archive[at : at + step]

    made = b"".join([piece async for piece in handover.rewritten(chunks())])
    with tarfile.open(fileobj=io.BytesIO(made), mode="r:") as tar:
        files = {member: tar.extractfile(member) for member in tar}
        return {member.name: (member.uid, member.uname, file.read() if file else b"") for member, file in files.items()}


@pytest.mark.parametrize("step", [100, 511, 512, 100_000])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
async def test_what_others_own_is_handed_over_however_the_archive_is_cut(step: int, form: int) -> None:
    archive = packed(
        ("./own", 0, b"mine"),
        (f"./{LONG}ü", 1000, b"x" * 1025),
        ("./far", 3_000_000_000, b"far"),
        ("./empty", 7, b""),
        form=form,
    )
    assert await rewritten(archive, step, Handover(0, 0, lambda name: name == b"./own")) == {
        f"./{LONG}ü": (0, "", b"x" * 1025),
        "./far": (0, "", b"far"),
        "./empty": (0, "", b""),
    }
    assert await rewritten(archive, step, Handover(7, 7, lambda name: name != f"./{LONG}ü".encode())) == {
        f"./{LONG}ü": (7, "", b"x" * 1025)
    }


async def test_of_what_is_no_result_the_folders_alone_are_handed_over() -> None:
    handover = Handover(0, 0, lambda _: False, folders_only=True)
    assert await rewritten(packed(("./file", 1000, b"x")), 512, handover) == {}


def test_what_is_gone_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    assert is_own(tmp_path, b"./.hidden")
    assert is_own(tmp_path, b"gone")


@pytest.mark.parametrize("damaged", [b"\x01" * 512, b"x" * 124 + b"notdigits" + b"x" * 379])
async def test_what_is_no_archive_is_refused(damaged: bytes) -> None:
    with pytest.raises(NotATar):
        await rewritten(damaged, 512, Handover(0, 0, lambda _: False))
