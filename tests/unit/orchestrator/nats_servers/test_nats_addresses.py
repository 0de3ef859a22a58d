"""Where commands find the address of an orchestrator of their own machine."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.nats_servers.addresses import kept_addresses, running_addresses
from shared.settings.config import Nats, Orchestrator

SETTINGS = Orchestrator(host="127.0.0.1", port=4299)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "orchestrator").mkdir()
    return tmp_path


def test_the_addresses_are_found_while_the_orchestrator_runs(data: Path) -> None:
    assert running_addresses(data) == ()
    with kept_addresses(SETTINGS, data):
        assert running_addresses(data) == ("nats://127.0.0.1:4299",)
        assert running_addresses(data) == ("nats://127.0.0.1:4299",)
    assert running_addresses(data) == ()


def test_those_of_a_cluster_are_found_as_they_are_set(data: Path) -> None:
    servers = ("nats://one:4222", "nats://two:4222")
    with kept_addresses(Orchestrator(nats=Nats(servers=servers)), data):
        assert running_addresses(data) == servers


def test_those_of_an_orchestrator_that_was_killed_are_not_taken(data: Path) -> None:
    program = """
import sys
from pathlib import Path
from orchestrator.nats_servers.addresses import kept_addresses
from shared.settings.config import Orchestrator
with kept_addresses(Orchestrator(), Path(sys.argv[1])):
    print("kept", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"kept\n"
        assert running_addresses(data) != ()
        process.kill()
        process.wait()
    assert running_addresses(data) == ()


def test_no_other_user_can_read_or_lock_the_file(data: Path) -> None:
    with kept_addresses(SETTINGS, data):
        (file,) = (data / "orchestrator").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_orchestrator_starts_where_they_cannot_be_kept(data: Path) -> None:
    (data / "orchestrator" / "nats-addresses").mkdir()
    with kept_addresses(SETTINGS, data):
        assert running_addresses(data) == ()
