"""Real tasks in real sandboxes: what they need is there, what is the node's is not."""

import errno
import itertools
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compute.disk.secret_files import MountedSecret
from compute.disk.spare_folders import SpareFolders
from compute.engines.engine import Broken, Exited
from compute.engines.process.bubblewrap import Bubblewrap, SandboxUnavailable
from compute.engines.process.sandbox import SandboxView
from compute.engines.process.sandboxed_group import SandboxedGroup
from compute.processes.strays import Strays
from compute.processes.table import everybody, named_execution
from shared.jobs.capacity import Capacity
from shared.jobs.states import FailureReason
from tests.integration.process_bench import NODE_ENVIRONMENT, Bench
from tests.sandbox import need_sandbox
from tests.waiting import eventually

MIB = 1 << 20


@pytest.fixture
def bench(tmp_path: Path, strays: Strays) -> Bench:
    return Bench(tmp_path, strays, sandboxed=True)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = tmp_path / "node.nkey"
    made.write_text("SUAKEY")
    return made


async def test_the_nodes_key_is_not_there(bench: Bench, key: Path) -> None:
    assert await bench.shell(f"cat {key}; ls {key.parent}; ls {bench.workspace.root}") == Exited(0)
    assert "SUAKEY" not in bench.read("stdout") + bench.read("stderr")
    assert bench.read("stdout").split() == [bench.id, "workspace"]


async def test_without_a_sandbox_a_task_reads_the_nodes_key(tmp_path: Path, strays: Strays, key: Path) -> None:
    bench = Bench(tmp_path, strays)
    await bench.shell(f"cat {key}")
    assert bench.read("stdout") == "SUAKEY"


async def test_paths_of_the_operator_are_there_to_be_read(tmp_path: Path, strays: Strays) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table").write_text("rows")
    bench = Bench(tmp_path, strays, sandboxed=True, shown=[str(tmp_path / "data")])
    await bench.shell(f"cat {tmp_path}/data/table; echo x > {tmp_path}/data/table")
    assert bench.read("stdout") == "rows"
    assert "Read-only" in bench.read("stderr")


async def test_the_nodes_own_folder_is_hidden_in_what_the_operator_shows(tmp_path: Path, strays: Strays) -> None:
    (tmp_path / "own").mkdir()
    bench = Bench(tmp_path / "own", strays, sandboxed=True, shown=[str(tmp_path)], hidden=tmp_path / "own")
    (tmp_path / "own" / "node.nkey").write_text("SUAOWN")
    await bench.shell(f"cat {tmp_path}/own/node.nkey; touch {tmp_path}/own/x; echo kept > file; cat file")
    assert bench.read("stdout") == "kept\n"


async def test_temporary_files_are_the_tasks_own_and_go_with_it(bench: Bench) -> None:
    name = f"tarpon-{bench.id}"
    script = f"for d in /tmp /var/tmp /dev/shm; do echo x >> $d/{name} || exit 9; done; cat /tmp/{name} | wc -l"
    assert await bench.shell(script) == Exited(0)
    assert bench.read("stdout").strip() == "3"
    assert not any(Path(folder, name).exists() for folder in ("/tmp", "/var/tmp", "/dev/shm"))
    bench.workspace.gather([])
    assert not bench.workspace.temporary.exists()


@pytest.mark.parametrize("below", ["/tmp", "/var/tmp", "/dev/shm"])
async def test_the_nodes_folder_may_be_below_one_for_temporary_files(below: str, strays: Strays) -> None:
    with tempfile.TemporaryDirectory(dir=below) as folder:
        bench = Bench(Path(folder), strays, sandboxed=True)
        script = "echo mine > /tmp/a; echo mine > /var/tmp/b; cat /tmp/a /var/tmp/b; ls outputs"
        assert await bench.shell(script) == Exited(0)
        assert bench.read("stdout").split() == ["mine", "mine"], bench.read("stderr")


async def test_temporary_files_count_as_disk(bench: Bench) -> None:
    script = "head -c 30000000 /dev/zero > /dev/shm/hoard; while :; do sleep 0.05; done"
    end = await bench.run({"Entrypoint": ["sh", "-c", script]}, resources=Capacity(disk=10 * MIB))
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.DISK_LIMIT_EXCEEDED


async def test_no_folder_is_left_in_which_memory_could_be_filled(bench: Bench) -> None:
    script = "for d in / /etc /var /dev /proc /sys /run; do (echo x > $d/file) 2> /dev/null && echo $d; done; exit 0"
    assert await bench.shell(script) == Exited(0)
    assert bench.read("stdout") == ""


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer_all, args=(server,), daemon=True)
        answering.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        answering.join()


def _answer_all(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"reached\n")


@pytest.mark.parametrize(("network", "reached"), [("None", False), ("", True), ("Host", True)])
async def test_a_task_that_wants_no_network_has_none(
    bench: Bench, listening: int, network: str, *, reached: bool
) -> None:
    await bench.run(
        {"Entrypoint": ["/bin/bash", "-c", f"exec 3<> /dev/tcp/127.0.0.1/{listening} && cat <&3"]}, network=network
    )
    assert (bench.read("stdout") == "reached\n") is reached


async def test_the_files_of_its_secrets_are_there_and_no_others(bench: Bench, tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).write_text(f"secret-{name}")
    script = f"cat run/secrets/password; cat {tmp_path}/1; echo x > run/secrets/password"
    secrets = (MountedSecret("/run/secrets/password", tmp_path / "0"),)
    await bench.run({"Entrypoint": ["sh", "-c", script]}, secrets=secrets)
    assert bench.read("stdout") == "secret-0"
    assert (tmp_path / "0").read_text() == "secret-0"


async def test_variables_for_the_loader_do_not_reach_bubblewrap(bench: Bench, tmp_path: Path) -> None:
    """It runs outside of the sandbox, and would load what the task brings."""
    log = tmp_path / "loaded"
    params = {"Entrypoint": ["/bin/true"], "EnvironmentVariables": ["LD_DEBUG=libs", f"LD_DEBUG_OUTPUT={log}"]}
    assert await bench.run(params) == Exited(0)
    assert not list(tmp_path.glob("loaded*"))


async def test_no_command_line_shows_the_environment(bench: Bench) -> None:
    await bench.run(
        {
            "Entrypoint": ["sh", "-c", "cat /proc/*/cmdline; cat /proc/1/environ"],
            "EnvironmentVariables": ["PASSWORD=hunter2"],
        }
    )
    assert "hunter2" not in bench.read("stdout")


async def test_a_folder_that_a_task_has_handed_to_another_process_is_nobodys_next(
    tmp_path: Path, strays: Strays
) -> None:
    spares = SpareFolders(tmp_path)
    bench = Bench(tmp_path, strays, spares=spares, sandboxed=True, hidden=tmp_path)
    name = f"tarpon-{secrets.token_hex(8)}"
    hands_over = (
        "import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + os.sys.argv[1]);"
        ' socket.send_fds(s, [b"x"], [os.open(".", os.O_RDONLY)])'
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        assert await bench.shell(f"exec /usr/bin/python3 -c '{hands_over}' {name}") == Exited(0)
        with listener.accept()[0] as connection:
            _, (held, *_), _, _ = socket.recv_fds(connection, 1, 1)
    bench.workspace.gather([])
    assert not spares.keep(bench.workspace.root)
    following = bench.another()
    assert os.fstat(held).st_ino != following.workspace.folder.stat().st_ino
    os.close(held)


async def test_a_sandboxed_task_without_a_network_leaves_its_folder_to_the_next(tmp_path: Path, strays: Strays) -> None:
    spares = SpareFolders(tmp_path)
    bench = Bench(tmp_path, strays, spares=spares, sandboxed=True, hidden=tmp_path)
    await bench.shell("echo told", network="None")
    bench.workspace.gather([])
    assert spares.keep(bench.workspace.root)


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_what_cannot_be_known_for_want_of_descriptors_does_not_run(
    bench: Bench, tmp_path: Path, strays: Strays, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    bench.workspace.make_temporary()
    view = SandboxView(workspace=bench.workspace.folder, temporary=bench.workspace.temporary)
    errors = tmp_path / "errors"
    group = SandboxedGroup(bench.id, strays, Bubblewrap.open(tmp_path), view, errors)
    looks = itertools.count(1)

    def short_of(real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, *rest: Any, **named: Any) -> int:
            if (isinstance(path, int) or str(path).startswith("/proc/")) and next(looks) == failing:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(path, *rest, **named)

        return opened

    command = ["/bin/sleep", "1000"]
    with monkeypatch.context() as patched, errors.open("wb") as file:
        patched.setattr(os, "open", short_of(os.open))
        patched.setattr(os, "pidfd_open", short_of(os.pidfd_open))
        with pytest.raises(OSError, match="Too many open"):
            group.start(command, cwd=bench.workspace.folder, env={}, stdout=file.fileno(), stderr=file.fileno())
    await eventually(
        lambda: not any(named_execution(each.pid) == bench.id for each in everybody() if not each.has_ended),
        what="nothing is left of it",
    )


def test_where_there_is_no_bubblewrap_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="no program bwrap"):
        Bubblewrap.open(tmp_path, path=str(tmp_path))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create new namespace"),
        ("exit 0", "it said nothing"),
    ],
)
def test_where_bubblewrap_does_not_work_its_words_are_told(tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit\n{script}\n')
    program.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match=words):
        Bubblewrap.open(tmp_path / "data", path=str(tmp_path))


def test_no_link_of_the_operator_shows_the_nodes_own_folder(tmp_path: Path) -> None:
    need_sandbox()
    (tmp_path / "disk" / "own").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with pytest.raises(SandboxUnavailable, match="behind a link"):
        Bubblewrap.open(tmp_path / "disk" / "own", shown=[str(tmp_path / "link")])


def test_a_path_that_the_operator_shows_has_to_be_there(tmp_path: Path) -> None:
    need_sandbox()
    with pytest.raises(SandboxUnavailable, match="ReadOnlyPaths is not there"):
        Bubblewrap.open(tmp_path, shown=[str(tmp_path / "none")], path=NODE_ENVIRONMENT["PATH"])


async def test_no_descriptor_is_left_open(bench: Bench) -> None:
    await bench.shell("true")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        await bench.shell("sleep 1000 & exit 0")
        await bench.run({"Entrypoint": ["none-such"]})
    assert len(list(Path("/proc/self/fd").iterdir())) == before
