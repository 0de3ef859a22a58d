"""Containers that somebody or something ends, on each engine: never taken for an end that the task chose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from compute.engines.docker.ends import LOG_UNSURE
from compute.engines.docker.takeover import take_over
from compute.engines.engine import Broken, Exited
from shared.jobs.capacity import Capacity
from shared.jobs.states import FailureReason
from shared.runtime.aio import first_of
from shared.settings.config import DockerSettings as Settings
from tests.engine import IMAGE, TestEngine
from tests.integration.docker_bench import Bench, DockerTask
from tests.podman import PodmanEngine
from tests.waiting import eventually

FOREVER = "while :; do sleep 0.05; done"
POLITE = f"trap 'echo half; exit 0' TERM; echo > /outputs/ready; {FOREVER}"
HALF = "echo half; echo > /outputs/ready; sleep 600; echo whole"

ENDS = {
    "stop": ("POST", "/containers/{}/stop"),
    "stop at once": ("POST", "/containers/{}/stop?t=0"),
    "restart": ("POST", "/containers/{}/restart?t=0"),
    "kill": ("POST", "/containers/{}/kill"),
    "term": ("POST", "/containers/{}/kill?signal=TERM"),
    "remove": ("DELETE", "/containers/{}?force=1"),
}


@pytest.fixture(params=["docker", "podman"])
def dockerd(request: pytest.FixtureRequest) -> TestEngine:
    found: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def bench(dockerd: TestEngine, tmp_path: Path) -> Bench:
    return Bench(tmp_path, dockerd)


def assert_lost(end: object) -> None:
    assert isinstance(end, Broken), end
    assert (end.reason, end.reason.retryable) == (FailureReason.CONTAINER_LOST, True)


@pytest.mark.parametrize("script", [HALF, POLITE], ids=["deaf", "polite"])
@pytest.mark.parametrize("how", ENDS)
async def test_a_task_that_is_ended_from_outside_is_lost(bench: Bench, how: str, script: str) -> None:
    task = bench.shell(script)
    method, path = ENDS[how]
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        with contextlib.suppress(AssertionError):  # Podman's restart may find what it restarts removed by this node
            await asyncio.to_thread(bench.dockerd.request, method, path.format(task.name))
        assert_lost(await work)
    assert task.name not in await bench.containers()


@pytest.mark.parametrize("command", [("stop",), ("stop", "-t=0"), ("kill",), ("rm", "-f"), ("restart",)])
async def test_a_task_that_an_operator_ends_without_the_service_is_lost(
    podman_engine: PodmanEngine, tmp_path: Path, command: tuple[str, ...]
) -> None:
    bench = Bench(tmp_path, podman_engine)
    task = bench.shell(POLITE)
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        with contextlib.suppress(CalledProcessError):  # Podman's restart may find it removed by this node
            await asyncio.to_thread(podman_engine.command, *command, task.name)
        assert_lost(await work)


async def test_many_tasks_that_are_removed_at_once_are_all_lost(bench: Bench) -> None:
    tasks = [bench.shell(HALF) for _ in range(8)]
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        works = [group.create_task(engine.run(task.run), name="run") for task in tasks]
        for task in tasks:
            await eventually((task.outputs / "ready").exists, within=30.0)
        removals = [
            group.create_task(asyncio.to_thread(bench.dockerd.request, "DELETE", f"/containers/{task.name}?force=1"))
            for task in tasks
        ]
        for each in [*works, *removals]:
            await each
    for work in works:
        assert_lost(work.result())


@pytest.mark.parametrize(
    "script",
    ["exit 0", "exit 1", "exit 137", "exit 143", "kill -9 $$", "kill -TERM $$", "trap '' TERM; kill 1; exit 3"],
)
async def test_a_task_that_ends_by_itself_has_its_exit_code(bench: Bench, script: str) -> None:
    codes = {"kill -9 $$": 137, "kill -TERM $$": 143, "trap '' TERM; kill 1; exit 3": 3}
    code = codes[script] if script in codes else int(script.rsplit(maxsplit=1)[-1])
    assert await bench.ended(bench.shell(script)) == Exited(code)


@pytest.mark.parametrize(
    ("command", "problem"), [("no-such-command", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
async def test_a_command_that_is_not_in_the_image_is_told_as_such(bench: Bench, command: str, problem: str) -> None:
    end = await bench.broken(bench.task({"Image": IMAGE, "Entrypoint": [command]}))
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert f"{command!r} could not be started" in end.detail
    assert problem in end.detail


@pytest.mark.parametrize("script", ["exec tail /dev/zero", "tail /dev/zero", "tail /dev/zero; exit 5"])
async def test_a_task_that_needs_too_much_memory_is_told_as_such(bench: Bench, script: str) -> None:
    end = await bench.broken(bench.shell(script, resources=Capacity(memory=20 << 20)))
    assert end.reason is FailureReason.OUT_OF_MEMORY
    assert "needed more memory than its limit of 20,971,520 bytes" in end.detail


async def test_a_task_with_a_limit_that_ends_like_one_that_was_killed_has_its_exit_code(
    podman_engine: PodmanEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.engines.docker.container.EXPLAINED_SECONDS", 0.1)
    bench = Bench(tmp_path, podman_engine)
    assert await bench.ended(bench.shell("exit 137", resources=Capacity(memory=64 << 20))) == Exited(137)


async def test_where_nobody_tells_a_kill_of_a_task_with_a_limit_was_most_likely_for_its_memory(
    podman_engine: PodmanEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.engines.docker.oom_kills.KERNEL_LOG", tmp_path / "none")
    monkeypatch.setattr("compute.engines.docker.container.EXPLAINED_SECONDS", 0.1)
    bench = Bench(tmp_path, podman_engine)
    end = await bench.broken(bench.shell("exec tail /dev/zero", resources=Capacity(memory=20 << 20)))
    assert end.reason is FailureReason.OUT_OF_MEMORY
    assert "most likely" in end.detail
    assert await bench.ended(bench.shell("exit 5", resources=Capacity(memory=64 << 20))) == Exited(5)


async def test_a_task_is_over_before_its_files_are_handed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def noted(*arguments: Any, **options: Any) -> None:
        told.append("handed over")
        await take_over(*arguments, **options)

    monkeypatch.setattr("compute.engines.docker.container.take_over", noted)
    assert await bench.ended(bench.shell("exit 3", on_over=lambda: told.append("over"))) == Exited(3)
    assert told == ["over", "handed over"]


async def test_a_signal_that_asks_for_something_else_does_not_lose_the_task(
    docker_engine: TestEngine, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, docker_engine)
    task = bench.shell("trap 'exit 4' USR1; echo > /outputs/ready; while :; do sleep 0.05; done")
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        await asyncio.to_thread(docker_engine.request, "POST", f"/containers/{task.name}/kill?signal=USR1")
        assert await work == Exited(4)
        engine.release(task.id)


async def test_this_node_asks_with_the_signal_that_the_image_names(podman_engine: PodmanEngine, tmp_path: Path) -> None:
    bench, name = Bench(tmp_path, podman_engine), "with-signal:1"
    await asyncio.to_thread(bench.dockerd.add_image, name, changes=["STOPSIGNAL SIGQUIT"])
    script = f"trap 'echo quit > /outputs/note; exit 0' QUIT; trap '' TERM; echo > /outputs/ready; {FOREVER}"
    task = bench.task({"Image": name, "Entrypoint": ["/bin/sh", "-c", script]})
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        work.cancel()
        await asyncio.wait([work])
    assert (task.outputs / "note").read_text() == "quit\n"
    assert task.name not in await bench.containers()


# ---- while the node was away ----------------------------------------------------------------------------------------


async def left_by_a_dead_node(bench: Bench, script: str) -> DockerTask:
    """A task in its container, whose node has gone without stopping it."""
    task = bench.shell(script)
    async with bench.engine() as engine, bench.running(engine, task) as work:
        if "ready" in script:
            await eventually((task.outputs / "ready").exists)
        else:
            await eventually(lambda: not bench.dockerd.inspect(task.name)["State"]["Running"])
        assert engine.leave(task.id)
        work.cancel()
        await asyncio.wait([work])
    return task.resumed()


@pytest.mark.parametrize("how", ["stop", "kill", "term", "remove"])
async def test_a_task_that_was_ended_while_the_node_was_away_is_lost(bench: Bench, how: str) -> None:
    task = await left_by_a_dead_node(bench, POLITE)
    method, path = ENDS[how]
    await asyncio.to_thread(bench.dockerd.request, method, path.format(task.name))
    assert_lost(await bench.ended(task))


LINES = "printf '%016384d\\n%020000d\\n\\377\\000%d\\r\\n\\nend' 1 2 3"


async def test_output_that_is_read_from_the_engine_s_log_is_what_the_task_wrote(bench: Bench) -> None:
    """Long lines, bytes of no text, and no newline at the end."""
    task = await left_by_a_dead_node(bench, f"{LINES}; {LINES} >&2; {LINES} > /outputs/copy")
    assert await bench.ended(task) == Exited(0)
    wrote = (task.outputs / "copy").read_bytes()
    assert len(wrote) > 36_000
    assert (task.workspace.result / "stdout").read_bytes() == wrote
    assert (task.workspace.result / "stderr").read_bytes() == wrote


@pytest.fixture
def restarted(docker_engine: TestEngine) -> Iterator[TestEngine]:
    yield docker_engine
    docker_engine.restore()


async def test_a_task_that_its_engine_ended_while_the_node_was_away_is_lost(
    restarted: TestEngine, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, restarted)
    task = await left_by_a_dead_node(bench, POLITE)
    await asyncio.to_thread(restarted.terminate)
    await asyncio.to_thread(restarted.start)
    assert_lost(await bench.ended(task))


async def test_a_container_that_never_ran_is_lost(bench: Bench) -> None:
    task = bench.shell("echo never")
    spec = {"Image": "busybox:1.37.0", "Entrypoint": ["true"], "Labels": {"tarpon.node": "node-under-test"}}
    await asyncio.to_thread(bench.dockerd.post, f"/containers/create?name={task.name}", spec)
    assert_lost(await bench.ended(task.resumed()))


# ---- while the service of Podman is away ----------------------------------------------------------------------------


@pytest.fixture
def service(podman_engine: PodmanEngine) -> Iterator[PodmanEngine]:
    yield podman_engine
    podman_engine.restore()


async def test_a_task_goes_on_while_the_service_restarts_and_no_output_is_lost(
    service: PodmanEngine, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, service)
    task = bench.shell("echo before; until [ -e /outputs/go ]; do sleep 0.05; done; echo after; exit 3")
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually(lambda: task.read("stdout") == "before\n")
        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)
        (task.outputs / "go").touch()
        assert await work == Exited(3)
        engine.release(task.id)
    assert task.read("stdout") == "before\nafter\n"


async def test_a_task_that_is_stopped_while_the_service_is_away_is_lost(service: PodmanEngine, tmp_path: Path) -> None:
    bench = Bench(tmp_path, service)
    task = bench.shell(POLITE)
    async with bench.engine() as engine, bench.running(engine, task) as work:
        await eventually((task.outputs / "ready").exists)
        await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.command, "kill", "--signal=TERM", task.name)
        await asyncio.to_thread(service.start)
        assert_lost(await work)


async def test_a_task_waits_longer_for_a_service_without_which_it_goes_on(
    service: PodmanEngine, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, service)
    task = bench.shell("until [ -e /outputs/go ]; do sleep 0.05; done; echo after; exit 3")
    async with bench.engine(engine_wait_seconds=0.1) as engine, bench.running(engine, task) as work:
        await asyncio.to_thread(service.kill)
        (task.outputs / "go").touch()
        await asyncio.wait([work], timeout=1.0)
        await asyncio.to_thread(service.start)
        assert await work == Exited(3)
        engine.release(task.id)
    assert task.read("stdout") == "after\n"


# ---- behind a proxy that does not let a stream be silent for long ---------------------------------------------------


@contextlib.asynccontextmanager
async def cut(
    engine: TestEngine, path: Path, after_answers: Mapping[bytes, int], *, late_seconds: float = 0.0
) -> AsyncIterator[Settings]:
    """The engine behind a socket where what answers such a request ends after so many pieces.

    With `late_seconds` whoever asks is hung up on at once, and the engine hears the question so much later.
    """

    relaying: set[asyncio.Task[Any]] = set()

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relaying.add(task)
        far_reader, far_writer = await asyncio.open_unix_connection(engine.socket)
        left = -1

        async def asks() -> None:
            nonlocal left
            while asked := await reader.read(65536):
                pieces = next((pieces for kind, pieces in after_answers.items() if kind in asked), -1)
                if pieces >= 0 and late_seconds:
                    writer.close()
                    await asyncio.sleep(late_seconds)
                left = pieces
                far_writer.write(asked)
                await far_writer.drain()

        async def answers() -> None:
            nonlocal left
            while left and (answer := await far_reader.read(65536)) and left:
                writer.write(answer)
                await writer.drain()
                left -= 1

        try:
            with contextlib.suppress(ConnectionError):
                await first_of(asks(), answers())
        finally:
            for each in (writer, far_writer):
                each.close()
            relaying.discard(task)

    async with await asyncio.start_unix_server(relayed, path):
        yield Settings(socket=str(path))
        for task in relaying:
            task.cancel()
    if relaying:
        await asyncio.wait(relaying)


@pytest.mark.parametrize("ending", ["", "\\n"])
async def test_output_whose_stream_breaks_off_is_whole_all_the_same(bench: Bench, ending: str) -> None:
    task = bench.shell(f"echo first; sleep 5; printf '%020000d{ending}' 1 >&2; printf 'last{ending}'; exit 3")
    head_and_first_piece = {b"/attach?": 2}
    async with cut(bench.dockerd, bench.folder / "proxy", head_and_first_piece) as settings:
        end = await bench.ended(task, settings=settings)
    assert end == Exited(3) or end == LOG_UNSURE
    if end == Exited(3):
        assert task.read("stdout") == f"first\nlast{ending}".replace("\\n", "\n")
        assert task.read("stderr") == f"{1:020000}{ending}".replace("\\n", "\n")


@pytest.mark.parametrize("late_seconds", [0.0, 1.0])
async def test_a_task_whose_start_is_not_answered_is_found_running(bench: Bench, late_seconds: float) -> None:
    task = bench.shell("echo once >> /outputs/starts; echo done; exit 3")
    async with cut(bench.dockerd, bench.folder / "proxy", {b"/start ": 0}, late_seconds=late_seconds) as settings:
        assert await bench.ended(task, settings=settings) == Exited(3)
    assert task.read("stdout") == "done\n"
    assert (task.outputs / "starts").read_text() == "once\n"
    assert task.starts == 1


async def test_a_task_may_close_its_outputs_long_before_it_ends(bench: Bench) -> None:
    task = bench.shell("printf '%020000d\\n' 1; exec >&- 2>&-; sleep 4; exit 7")
    assert await bench.ended(task) == Exited(7)
    assert task.read("stdout") == f"{1:020000}\n"
