"""What a service tells who has started it, over a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.runtime.aio import background
from shared.runtime.service_manager import ServiceManager
from tests.waiting import eventually

A_MOMENT = "20000"
"""Microseconds."""


class Listening:
    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(name)
        self.lines: list[str] = []

    def has_heard(self, line: str) -> bool:
        try:
            while True:
                self.lines += self.socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return line in self.lines


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    made = Listening(str(tmp_path / "notify"))
    with made.socket:
        yield made


async def test_it_is_told_what_happens_in_order(listening: Listening, tmp_path: Path) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    async with background(manager=manager.run()):
        manager.ready()
        manager.stopping(within_seconds=1.5)
        await eventually(lambda: listening.has_heard("EXTEND_TIMEOUT_USEC=1500000"))
    assert listening.lines == ["READY=1", "STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000"]


async def test_a_watched_process_tells_again_and_again_that_it_is_alive(listening: Listening, tmp_path: Path) -> None:
    manager = ServiceManager.of(
        {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": A_MOMENT, "WATCHDOG_PID": str(os.getpid())}
    )
    async with background(manager=manager.run()):
        await eventually(lambda: listening.has_heard("WATCHDOG=1") and listening.lines.count("WATCHDOG=1") > 2)


async def test_what_finds_no_room_is_told_later(listening: Listening, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
        other.connect(str(tmp_path / "notify"))
        with suppress(BlockingIOError):
            while True:
                other.send(b"of another service")
    manager = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    async with background(manager=manager.run()):
        manager.ready()
        await asyncio.sleep(0)  # so that it is tried while there is no room
        await eventually(lambda: listening.has_heard("READY=1"))


async def test_names_may_be_abstract() -> None:
    name = f"tarpon-test-{os.getpid()}"
    listening = Listening(f"\0{name}")
    manager = ServiceManager.of({"NOTIFY_SOCKET": f"@{name}"})
    with listening.socket:
        async with background(manager=manager.run()):
            manager.ready()
            await eventually(lambda: listening.has_heard("READY=1"))


async def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    async with background(manager=manager.run()):
        manager.ready()
        await eventually(lambda: "does not hear this process" in caplog.text)


def test_its_variables_are_not_left_to_children_and_a_watchdog_of_another_process_is_none() -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": A_MOMENT, "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert not ServiceManager.of(environment).watches
    assert environment == {"PATH": "/bin"}
