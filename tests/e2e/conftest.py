"""Stacks of real processes, one for each test that needs its own, one shared by those that leave it whole."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack
from tests.servers import S3Server


def ended(stack: Stack) -> None:
    try:
        stack.stop()
    finally:
        for service in (*stack.computes.values(), stack.orchestrator):
            if service is not None and service.is_running:
                service.kill()
        _end_server(stack)


def _end_server(stack: Stack) -> None:
    """A NATS server that outlived its orchestrator, as it should, is ours to stop by the pid that it wrote."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(stack.nats_pid(), signal.SIGKILL)


@pytest.fixture
def stack(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Nothing is started yet."""
    made = Stack(tmp_path_factory.mktemp("stack"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    yield made
    ended(made)


@pytest.fixture(scope="module")
def running(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An orchestrator with two nodes, shared by the tests of a module."""
    made = Stack(tmp_path_factory.mktemp("running"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_orchestrator()
    made.start_compute("node-a")
    made.start_compute("node-b")
    yield made
    ended(made)
