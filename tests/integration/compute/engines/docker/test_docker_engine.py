"""Real containers: how tasks in them end, what confines them, and that nothing of them is left."""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from compute.engines.docker.api import DockerApi
from compute.engines.docker.engine import DockerEngine
from compute.engines.engine import Broken, Exited
from shared.errors import InvalidJob
from shared.ids import ExecutionId
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import read_params
from shared.jobs.spec import Network, SpecConfig, Task
from shared.jobs.states import FailureReason
from shared.settings.config import DockerSettings as Settings
from tests.engine import IMAGE, TestEngine
from tests.integration.docker_bench import NODE, Bench
from tests.servers import HOST
from tests.waiting import eventually

MIB = 1 << 20
FOREVER = "while :; do sleep 0.05; done"


@pytest.fixture
def bench(docker_engine: TestEngine, tmp_path: Path) -> Bench:
    return Bench(tmp_path, docker_engine)


# ---- how a task ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 42, 127])
async def test_an_exit_code_is_an_answer_and_no_failure(bench: Bench, code: int) -> None:
    assert await bench.ended(bench.shell(f"exit {code}")) == Exited(code)


async def test_what_the_task_writes_is_in_the_result_byte_for_byte(bench: Bench) -> None:
    script = "head -c 3000000 /dev/urandom > /outputs/copy; cat /outputs/copy; printf 'no newline' >&2"
    task = bench.shell(script)
    assert await bench.ended(task) == Exited(0)
    assert (task.workspace.result / "stdout").read_bytes() == (task.outputs / "copy").read_bytes()
    assert task.read("stderr") == "no newline"
    assert task.starts == 1


async def test_nothing_of_ten_million_lines_is_lost(bench: Bench) -> None:
    task = bench.shell("seq 10000000")
    assert await bench.ended(task) == Exited(0)
    stdout = task.workspace.result / "stdout"
    assert stdout.stat().st_size == sum(9 * 10 ** (n - 1) * (n + 1) for n in range(1, 8)) + 9
    with stdout.open("rb") as file:
        file.seek(-18, os.SEEK_END)
        assert file.read() == b"\n9999999\n10000000\n"[-18:]


async def test_the_image_alone_is_used_where_no_command_is_named(bench: Bench) -> None:
    name = "own-command:1"
    await asyncio.to_thread(bench.dockerd.add_image, name, changes=['ENTRYPOINT ["/bin/echo", "own"]', 'CMD ["words"]'])
    for params, said in [({}, "own words\n"), ({"Parameters": ["others"]}, "own others\n")]:
        task = bench.task({"Image": name, **params})
        assert await bench.ended(task) == Exited(0)
        assert task.read("stdout") == said


async def test_keys_are_read_in_any_case_and_the_system_s_variables_win(bench: Bench) -> None:
    task = bench.task(
        {
            "IMAGE": IMAGE,
            "entrypoint": ["/bin/sh", "-c", "pwd; echo $A $TARPON_EXECUTION_ID"],
            "environmentvariables": ["A=b=c", "TARPON_EXECUTION_ID=forged"],
            "WorkingDirectory": "/deep/down",
            "Unknown": 1,
        }
    )
    assert await bench.ended(task) == Exited(0)
    assert task.read("stdout") == f"/deep/down\nb=c {task.id}\n"


@pytest.mark.parametrize(
    ("command", "problem"), [("no-such-command", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
async def test_a_command_that_cannot_start_is_told_in_words_of_the_user(
    bench: Bench, command: str, problem: str
) -> None:
    end = await bench.broken(bench.task({"Image": IMAGE, "Entrypoint": [command]}))
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert command in end.detail
    assert problem in end.detail


async def test_an_image_without_a_command_needs_one(bench: Bench) -> None:
    end = await bench.broken(bench.task({"Image": IMAGE}))
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert "command" in end.detail


@pytest.mark.parametrize(("stream", "redirect"), [("stdout", ""), ("stderr", ">&2")])
async def test_two_gibibytes_of_output_are_cut_and_the_task_is_killed(bench: Bench, stream: str, redirect: str) -> None:
    task = bench.shell(f"trap '' TERM; head -c 2147483648 /dev/zero {redirect}; {FOREVER}")
    end = await bench.broken(task, output_limit_bytes=10 * MIB)
    assert end.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED
    assert stream in end.detail
    assert "10,485,760 bytes" in end.detail
    assert (task.workspace.result / stream).stat().st_size == 10 * MIB


async def test_too_little_memory_is_told_apart_from_other_ends(bench: Bench) -> None:
    task = bench.shell("tail /dev/zero", resources=Capacity(memory=20 * MIB))
    end = await bench.broken(task)
    assert end.reason is FailureReason.OUT_OF_MEMORY
    assert "20,971,520 bytes" in end.detail


async def test_a_bomb_of_processes_meets_its_limit(bench: Bench) -> None:
    task = bench.shell("for i in $(seq 200); do sleep 60 & done; echo all started")
    end = await bench.ended(task, settings=Settings(socket=bench.dockerd.url, pids_limit=30))
    assert end != Exited(0)
    assert "fork" in task.read("stderr")


async def test_what_a_task_leaves_running_ends_with_it(bench: Bench) -> None:
    mark = f"{90_000 + os.getpid() % 1000}.{time.monotonic_ns() % 1_000_000}"
    script = f"for i in 1 2 3; do setsid sleep {mark} & done; (trap '' TERM; nohup sleep {mark}) & sleep 0.1; exit 5"
    assert await bench.ended(bench.shell(script)) == Exited(5)
    assert not [line for line in await asyncio.to_thread(command_lines) if mark in line]


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


async def test_a_result_path_that_is_no_folder_of_the_image_is_told_with_the_engine_s_reason(bench: Bench) -> None:
    end = await bench.broken(bench.shell("true", result_path="/bin/busybox"))
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert "not a directory" in end.detail


# ---- what confines a task -------------------------------------------------------------------------------------------


async def test_a_task_has_few_rights_and_no_network(bench: Bench) -> None:
    task = bench.shell("grep -E 'Cap|NoNew' /proc/self/status; ls /sys/class/net; cat /proc/1/comm")
    assert await bench.ended(task) == Exited(0)
    said = task.read("stdout").split()
    net_raw = 13
    assert not int(said[said.index("CapEff:") + 1], 16) & (1 << net_raw)
    assert said[said.index("NoNewPrivs:") + 1] == "1"
    assert said[-2:] == ["lo", "docker-init"]


async def test_without_a_network_a_task_can_still_talk_to_itself(bench: Bench) -> None:
    # whoever listens keeps its input open: nc ends where the other side closes, with what it has not sent yet unsent
    listens = "sleep 60 | nc -l -p 5000 &"
    task = bench.shell(f"{listens} until echo hello | nc localhost 5000; do sleep 0.05; done")
    assert await bench.ended(task) == Exited(0)
    assert task.read("stdout") == "hello\n"


async def test_cpu_memory_and_log_are_limited(bench: Bench) -> None:
    task = bench.shell(FOREVER, resources=Capacity(cpu=0.5, memory=64 * MIB))
    async with bench.engine() as engine, bench.running(engine, task):
        found = await asyncio.to_thread(bench.dockerd.inspect, task.name)
    host = found["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 64 * MIB, 64 * MIB)
    assert (host["PidsLimit"], host["Privileged"]) == (1024, False)
    assert host["LogConfig"]["Type"] == "local"
    assert int(host["LogConfig"]["Config"]["max-size"]) <= 1 << 30
    labels = found["Config"]["Labels"]
    assert (labels["tarpon.execution"], labels["tarpon.node"]) == (task.id, NODE)


@pytest.fixture
def bridge(docker_engine: TestEngine) -> Iterator[str]:
    """A network, whose bridge is the machine's and does not go with the engine."""
    docker_engine.post("/networks/create", {"Name": "for-tasks"})
    yield "for-tasks"
    docker_engine.request("DELETE", "/networks/for-tasks")


@pytest.mark.parametrize(("network", "interfaces"), [("None", 1), ("default", 1), ("bridge", 2), ("Full", 0)])
async def test_a_task_has_the_network_that_it_asks_for(
    bench: Bench, bridge: str, network: str, interfaces: int
) -> None:
    task = bench.shell("readlink /proc/self/ns/net; ls /sys/class/net | wc -l", network=network)
    settings = Settings(socket=bench.dockerd.url, bridge_network=bridge, metadata_addresses=True)
    assert await bench.ended(task, settings=settings) == Exited(0)
    space, count = task.read("stdout").splitlines()
    if interfaces:
        assert int(count) == interfaces
    else:
        assert space == str(Path("/proc/self/ns/net").readlink()), "the machine's own"


async def test_the_addresses_of_a_network_are_known(docker_engine: TestEngine, bridge: str) -> None:
    api = DockerApi(docker_engine.socket)
    await api.facts()
    (subnet,) = await api.subnets(bridge)
    assert ip_network(subnet).is_private
    assert await api.subnets("no-such-network") == []
    await api.close()


async def test_a_network_that_no_container_can_have_is_told(bench: Bench) -> None:
    end = await bench.broken(bench.shell("true", network="HTTP"))
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert "None, Bridge and Host" in end.detail


async def test_a_user_of_the_image_without_rights_can_write_results(bench: Bench) -> None:
    await asyncio.to_thread(bench.dockerd.add_image, "with-user:1", changes=["USER 4321"])
    task = bench.task({"Image": "with-user:1", "Entrypoint": ["/bin/sh", "-c", "id -u > /outputs/who"]})
    assert await bench.ended(task) == Exited(0)
    assert (task.outputs / "who").read_text() == "4321\n"
    assert task.outputs.stat().st_mode & 0o777 == 0o755


async def test_on_a_node_without_root_the_task_has_the_node_s_user(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4322)
    monkeypatch.setattr(os, "getegid", lambda: 4323)
    task = bench.shell("id -u; id -g; echo > /outputs/mine")
    assert await bench.ended(task) == Exited(0)
    assert task.read("stdout") == "4322\n4323\n"
    assert (task.outputs / "mine").stat().st_uid == 4322


# ---- how a task is stopped ------------------------------------------------------------------------------------------


async def test_stopping_asks_first(bench: Bench) -> None:
    task = bench.shell(f"trap 'echo stopped > /outputs/note; exit 0' TERM; echo > /outputs/ready; {FOREVER}")
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    assert (task.outputs / "note").read_text() == "stopped\n"
    assert task.name not in await bench.containers()


async def test_a_task_that_ignores_the_request_is_killed(bench: Bench) -> None:
    task = bench.shell(f"trap '' TERM; echo > /outputs/ready; {FOREVER}")
    async with bench.engine(grace_seconds=1.0) as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        begun = time.monotonic()
        work.cancel()
        await asyncio.sleep(0)
        work.cancel()  # a second one does not leave it behind
        with contextlib.suppress(asyncio.CancelledError):
            await work
    assert time.monotonic() - begun < 10
    assert task.name not in await bench.containers()


async def test_a_cancellation_before_the_start_leaves_no_container(bench: Bench) -> None:
    task = bench.shell(FOREVER)
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        work = group.create_task(engine.run(task.run), name="run")
        names: list[str] = []
        while task.name not in names:
            names = await bench.containers()
        work.cancel()
    assert task.name not in await bench.containers()


async def test_a_start_that_cannot_be_noted_ends_the_task(bench: Bench) -> None:
    task = bench.shell(FOREVER)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    object.__setattr__(task.run, "on_started", full)
    with pytest.raises(OSError, match="No space"):
        await bench.ended(task)
    assert task.name not in await bench.containers()


async def test_nothing_blocks_the_loop(bench: Bench) -> None:
    task = bench.shell("echo hello; exit 3")
    with blockbuster_ctx():
        async with bench.engine() as engine:
            assert await engine.run(task.run) == Exited(3)
            engine.release(task.id)


# ---- containers that somebody else has left -------------------------------------------------------------------------


async def test_containers_of_this_node_that_nobody_knows_are_removed_and_no_others(bench: Bench) -> None:
    def create(name: str, node: str) -> None:
        spec = {"Image": IMAGE, "Cmd": ["true"], "Labels": {"tarpon.node": node, "tarpon.execution": name}}
        bench.dockerd.post(f"/containers/create?name={name}", spec)

    for name, node in [("left", NODE), ("kept", NODE), ("foreign", "node-other")]:
        await asyncio.to_thread(create, name, node)
    async with bench.engine() as engine:
        engine.keep(ExecutionId("kept"))
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(engine.watch(lambda: None), name="watch")
            names = set(await bench.containers())
            while "left" in names:
                names = set(await bench.containers())
            watch.cancel()
        assert names >= {"kept", "foreign"}
        engine.release(ExecutionId("kept"))
    assert "foreign" in await bench.containers()
    await asyncio.to_thread(bench.dockerd.request, "DELETE", "/containers/foreign")
    await bench.remove_containers()


async def test_a_container_that_is_removed_from_outside_is_told(bench: Bench) -> None:
    task = bench.shell(FOREVER)
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await asyncio.to_thread(bench.dockerd.request, "DELETE", f"/containers/{task.name}?force=1")
        end = await work
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.CONTAINER_LOST


# ---- what is wrong with an engine -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "said"), [("absent", "there is no socket"), ("file", "is not a socket")])
async def test_an_engine_that_is_not_there_is_told_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, said: str
) -> None:
    socket = tmp_path / "engine.sock"
    if kind == "file":
        socket.touch()
    caplog.set_level(logging.INFO)
    async with DockerEngine.open(Settings(socket=str(socket)), NODE) as engine:
        assert (engine.available, engine.offered) == (False, False)
    assert said in caplog.text
    assert str(socket) in caplog.text


@pytest.fixture
async def metadata(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """Who has connected to the only metadata address of this machine."""
    callers: list[str] = []

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append("somebody")
        writer.close()

    async with await asyncio.start_server(greet, HOST, 0) as server:
        monkeypatch.setattr("compute.firewall.container_networks._LOCAL", (HOST,))
        monkeypatch.setattr("compute.firewall.container_networks._PORT", server.sockets[0].getsockname()[1])
        yield callers


async def test_where_no_engine_is_no_node_waits_for_a_metadata_address(tmp_path: Path, metadata: list[str]) -> None:
    async with DockerEngine.open(Settings(socket=str(tmp_path / "none")), NODE):
        assert metadata == []


async def test_an_engine_is_offered_once_it_is_known_whether_there_is_a_metadata_address(
    bench: Bench, metadata: list[str]
) -> None:
    async with bench.engine() as engine:
        assert engine.available
        on_host = Task(name="main", engine=SpecConfig(type="docker"), network=Network(type="Host"))
        assert "This node offers no network Host" in str(engine.unfit(on_host))
    assert metadata == ["somebody"]


async def test_an_engine_that_this_user_may_not_use_is_told_to_the_operator(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0)
        told = await asyncio.to_thread(looked_at_by_a_user_without_rights, path)
    assert f"This node runs no containers for now: this user may not use {path}; add them to its group." in told


def looked_at_by_a_user_without_rights(path: Path) -> str:
    """Root may use any socket, so it has to give up that right first."""
    script = (
        "import asyncio, logging, sys\n"
        "from compute.engines.docker.engine import DockerEngine\n"
        "from shared.settings.config import DockerSettings as Settings\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "async def look():\n"
        "    async with DockerEngine.open(Settings(socket=sys.argv[1]), 'node') as engine:\n"
        "        assert not engine.available\n"
        "asyncio.run(look())\n"
    )
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*without, sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def restarted(docker_engine: TestEngine) -> Iterator[TestEngine]:
    """The engine, to be killed by the test; it runs again after it."""
    yield docker_engine
    docker_engine.restore()


@pytest.mark.parametrize("end_it", [TestEngine.kill, TestEngine.terminate])
async def test_a_task_whose_engine_restarts_is_lost_and_may_be_tried_again(
    bench: Bench, restarted: TestEngine, end_it: Any
) -> None:
    task = bench.shell(f"trap 'exit 0' TERM; echo hello; {FOREVER}")
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await asyncio.to_thread(end_it, restarted)
        await asyncio.to_thread(restarted.start)
        end = await work
        engine.release(task.id)
    assert isinstance(end, Broken)
    assert (end.reason, end.reason.retryable) == (FailureReason.CONTAINER_LOST, True)
    assert task.name not in await bench.containers()


async def test_a_task_goes_on_in_an_engine_that_restores_it_and_no_output_is_lost(
    bench: Bench, restarted: TestEngine
) -> None:
    await asyncio.to_thread(restarted.terminate)
    await asyncio.to_thread(restarted.start, "--live-restore")
    task = bench.shell("echo before; until [ -e /outputs/go ]; do sleep 0.05; done; echo after; exit 3")
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually(lambda: task.read("stdout") == "before\n")
        await asyncio.to_thread(restarted.kill)
        await asyncio.to_thread(restarted.start, "--live-restore")
        (task.outputs / "go").touch()
        assert await work == Exited(3)
        engine.release(task.id)
    assert task.read("stdout") == "before\nafter\n"


async def test_an_engine_that_stays_away_is_not_waited_for_for_ever(bench: Bench, restarted: TestEngine) -> None:
    task = bench.shell(FOREVER)
    async with bench.engine(engine_wait_seconds=0.5) as engine:
        async with bench.running(engine, task) as work:
            await asyncio.to_thread(restarted.kill)
            end = await work
        assert isinstance(end, Broken)
        assert (end.reason, end.reason.retryable) == (FailureReason.ENGINE_UNAVAILABLE, True)
        late = await engine.run(bench.shell("true").run)
        assert isinstance(late, Broken)
        assert late.reason is FailureReason.ENGINE_UNAVAILABLE


async def test_what_the_node_offers_follows_the_engine(
    bench: Bench, restarted: TestEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("compute.engines.docker.engine.LOOK_EVERY_SECONDS", 0.05)
    seen: list[bool] = []
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        assert engine.available
        watch = group.create_task(engine.watch(lambda: seen.append(engine.available)), name="watch")
        await asyncio.to_thread(restarted.kill)
        await eventually(lambda: seen == [False])
        assert engine.offered
        await asyncio.to_thread(restarted.start)
        await eventually(lambda: seen == [False, True])
        watch.cancel()
    assert "does not answer" in caplog.text


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"Image": ""},
        {"Image": "Not An Image"},
        {"Image": "-v"},
        {"Image": IMAGE, "Entrypoint": "sh"},
        {"Image": IMAGE, "Parameters": ["a\0b"]},
        {"Image": IMAGE, "EnvironmentVariables": ["NOVALUE"]},
        {"Image": IMAGE, "WorkingDirectory": "relative"},
    ],
)
def test_parameters_that_make_no_container_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        read_params(params, DockerEngine.parameters)
