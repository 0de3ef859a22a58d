"""An orchestrator that is killed as it stores several jobs has stored all of them or none, and they are not doubled."""

import itertools
import json
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.stack import Service, Stack, process_job, wait_until
from tests.recording_proxy import RecordingProxy
from tests.servers import HOST, free_ports

COMMIT = b"Nats-Batch-Commit"
NAMES = ("prepare", "train", "collect")


class KillingProxy(RecordingProxy):
    """Before NATS. It has `victim` killed when it says that what it has sent before is to be stored together."""

    def __init__(self, port: int, *, passes_on: bool) -> None:
        super().__init__(port)
        self.victim: Service | None = None
        self.has_killed = threading.Event()
        self._passes_on = passes_on

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                is_commit = self.victim is not None and COMMIT in data
                if not is_commit or self._passes_on:
                    other.sendall(data)
                if is_commit:
                    assert self.victim is not None
                    self.victim.kill()
                    self.has_killed.set()
                    return
        except OSError:
            pass


@contextmanager
def another_orchestrator(stack: Stack, proxy: KillingProxy) -> Iterator[tuple[Service, int]]:
    """Of the same cluster, which reaches NATS by the proxy, and the port of its API."""
    assert stack.orchestrator is not None
    shutil.copytree(stack.root / "orchestrator/orchestrator/secrets", stack.root / "other/orchestrator/secrets")
    (port,) = free_ports(1)
    command = [*stack.orchestrator.command]
    for name, value in {
        "DataDir": str(stack.root / "other"),
        "API.Port": str(port),
        "Orchestrator.NATS.Servers": f"nats://{HOST}:{proxy.port}",
    }.items():
        command += ["-c", f"{name}={value}"]
    service = Service(command, stack.environments[0], stack.root / "other.log")
    service.start()
    try:
        yield service, port
    finally:
        if service.is_running:
            service.stop()


def submit(port: int, body: dict[str, Any]) -> Any:
    url = f"http://{HOST}:{port}/api/v1/orchestrator/submissions"
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def chain() -> dict[str, Any]:
    """Each needs the one before."""
    jobs = [process_job("true") | {"Name": name} for name in NAMES]
    for before, job in itertools.pairwise(jobs):
        job["Needs"] = [before["Name"]]
    return {"Jobs": jobs, "IdempotencyToken": "one-and-the-same"}


def names(stack: Stack) -> list[str]:
    return sorted(each["Name"] for each in stack.api("/orchestrator/jobs")["Items"])


@pytest.mark.parametrize("is_stored", [False, True], ids=["before it is stored", "after"])
def test_an_orchestrator_that_is_killed_at_the_commit_leaves_all_jobs_or_none(stack: Stack, *, is_stored: bool) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a")
    proxy = KillingProxy(stack.nats_port, passes_on=is_stored)
    with proxy.running(), another_orchestrator(stack, proxy) as (other, port):
        wait_until(lambda: answers(port), within=60, what="the other orchestrator knows the state")
        proxy.victim = other
        with pytest.raises(OSError):  # whatever becomes of a connection to who is killed
            submit(port, chain())
        assert proxy.has_killed.wait(30)
    if is_stored:
        wait_until(lambda: names(stack), within=20, what="the jobs are there")
    assert names(stack) == (sorted(NAMES) if is_stored else [])
    done = [submit(stack.api_port, chain()) for _ in range(2)]
    assert done[0] == done[1]
    assert [each["JobVersion"] for each in done[0]["Jobs"]] == [1, 1, 1]
    assert names(stack) == sorted(NAMES)
    for each in done[0]["Jobs"]:
        assert stack.wait_ended(each["JobID"])["Job"]["State"]["StateType"] == "Completed"


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/v1/orchestrator/jobs", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
