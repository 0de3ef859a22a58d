"""A node and its Podman that both belong to an ordinary user: what a container's other users write is in the result."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import podman
from tests.engine import CannotStart
from tests.integration.compute.engines.docker import test_docker_handover
from tests.podman import RootlessPodman, rootless_podman

PATHS = [str(Path(__file__).parents[5]), sysconfig.get_path("purelib")]
LONG = "n" * 150
SCRIPT = f"""
umask 077
cd /outputs
mkdir -p closed/deep own {LONG}/{LONG}
echo secret > closed/deep/file
ln closed/deep/file closed/linked
echo suid > closed/suid
echo long > {LONG}/{LONG}/{LONG}
echo mine > own/file
echo none > none
ln -s closed/deep/file link
mkfifo closed/fifo
chown -R 1000:1000 closed {LONG} none
chmod 4711 closed/suid
chmod 0 none
chmod 500 closed/deep
chown 33:33 .
chmod 700 .
"""


@pytest.fixture(scope="module")
def rootless() -> Iterator[RootlessPodman]:
    try:
        with rootless_podman() as engine:
            yield engine
    except CannotStart as error:
        if podman.is_required():
            pytest.fail(f"{podman.REQUIRED} is set, but there is no rootless Podman: {error}")
        pytest.skip(f"no rootless Podman: {error}")


@pytest.fixture
def folder(rootless: RootlessPodman) -> Iterator[Path]:
    """Of the node; pytest's own are closed to the user."""
    made = Path(tempfile.mkdtemp(prefix="tarpon-rootless-"))
    os.chown(made, rootless.user.pw_uid, rootless.user.pw_gid)
    if not interpreter(rootless):
        pytest.skip(f"an ordinary user can run neither {sys.executable} nor the system's Python of this version")
    yield made
    shutil.rmtree(made)


def interpreter(engine: RootlessPodman) -> str:
    """One that the user may run: this one may lie in the home folder of root."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for each in (sys.executable, system):
        command = engine.as_user(each, "-c", f"import sys; sys.path[:0] = {PATHS!r}; import aiodocker")
        if Path(each).exists() and not subprocess.run(command, check=False, capture_output=True).returncode:
            return each
    return ""


def result_of(engine: RootlessPodman, folder: Path, script: str) -> Any:
    """Run a task, pack its result and remove everything, all as the ordinary user."""
    code = f"import sys; sys.path[:0] = {PATHS!r}; import {test_docker_handover.__name__} as t; t.main()"
    command = engine.as_user(interpreter(engine), "-c", code, engine.url, str(folder), script)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_other_users_of_a_rootless_container_wrote_is_in_the_result_and_gone_afterwards(
    rootless: RootlessPodman, folder: Path
) -> None:
    told = result_of(rootless, folder, SCRIPT)
    assert told == {
        "end": "Exited",
        "left_out": 0,
        "warnings": ["'outputs/closed/fifo' was left out: it is a socket, a fifo or a device"],
    }
    with tarfile.open(folder / "result.tar") as tar:
        found = {member.name.removeprefix("outputs/"): member for member in tar}
        texts = {name: file.read() for name, member in found.items() if (file := tar.extractfile(member))}
    assert texts["closed/deep/file"] == texts["closed/linked"] == texts["link"] == b"secret\n"
    assert texts[f"{LONG}/{LONG}/{LONG}"] == b"long\n"
    assert (texts["closed/suid"], texts["own/file"], texts["none"]) == (b"suid\n", b"mine\n", b"none\n")
    assert (found["none"].mode, found["closed/linked"].islnk(), found["link"].issym()) == (0, True, True)
    assert not list(folder.glob("e-*/*"))


def test_a_rootless_container_has_the_user_of_its_image(rootless: RootlessPodman, folder: Path) -> None:
    result_of(rootless, folder, "id -u; touch /outputs/mine")
    with tarfile.open(folder / "result.tar") as tar:
        stdout = tar.extractfile("stdout")
        assert stdout is not None
        assert stdout.read() == b"0\n"


def test_files_of_other_users_are_removed_after_a_rootless_task_that_failed(
    rootless: RootlessPodman, folder: Path
) -> None:
    script = "umask 077; mkdir -p /outputs/d; echo > /outputs/d/f; chown -R 1000 /outputs; chmod 700 /outputs; yes"
    assert result_of(rootless, folder, script) == {"end": "Broken"}
    assert not list(folder.glob("e-*/*"))
