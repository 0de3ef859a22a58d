"""The files in deploy/ work as they are, names of machines and buckets aside."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.nats_server import find_program
from shared.config_loading import load
from tests.e2e.stack import Stack, process_job
from tests.servers import HOST, free_ports

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.mark.parametrize(("name", "role"), [("orchestrator", "orchestrator"), ("compute", "compute")])
def test_an_example_configuration_is_read_without_a_warning(name: str, role: str) -> None:
    loaded = load(sets=[str(DEPLOY / "config" / f"{name}.yaml")], env={})
    assert loaded.warnings == ()
    assert getattr(loaded.config, role).enabled


@pytest.fixture
def nats_of_ones_own(stack: Stack) -> Iterator[int]:
    """A server with the example's configuration, and the accounts that the command prints."""
    port = free_ports(1)[0]
    accounts = stack.cli("agent", "nats-config", "-c", f"DataDir={stack.root / 'orchestrator'}").stdout
    (stack.root / "tarpon-accounts.conf").write_text(accounts)
    text = (DEPLOY / "config" / "nats-server.conf").read_text()
    text = text.replace("port: 4222", f'host: "{HOST}"\nport: {port}').replace("/var/lib/nats", str(stack.root / "own"))
    (stack.root / "nats-server.conf").write_text(text)
    with (stack.root / "own-nats.log").open("wb") as log:
        server = subprocess.Popen(
            [find_program(), "-c", str(stack.root / "nats-server.conf")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    yield port
    server.kill()
    server.wait()


def test_jobs_run_over_a_nats_server_of_ones_own(stack: Stack, nats_of_ones_own: int) -> None:
    stack.nats_port = nats_of_ones_own
    stack.start_orchestrator(Orchestrator_NATS_Servers=f"nats://{HOST}:{nats_of_ones_own}")
    stack.start_compute("node-a")
    described = stack.wait_ended(stack.submit(process_job("echo hello")))
    assert described["Job"]["State"]["StateType"] == "Completed"
    url, own = f"nats://{HOST}:{nats_of_ones_own}", ("-c", f"DataDir={stack.root / 'orchestrator'}")
    assert "PROBLEM" not in stack.cli("agent", "nats-check", url, *own).stdout
    nobody = stack.cli("agent", "nats-check", "nats://127.0.0.1:1", *own, check=False)
    assert (nobody.returncode, nobody.stdout[:8]) == (1, "PROBLEM ")
    refused = stack.cli("agent", "nats-replicas", "3", *own, "-c", f"Orchestrator.NATS.Servers={url}", check=False)
    assert "NATS would not keep KV_tarpon_state on so many servers" in refused.stderr
    assert not (stack.root / "orchestrator" / "orchestrator" / "nats").exists()


def test_every_example_job_is_valid(stack: Stack) -> None:
    examples = sorted((DEPLOY / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        filled_in = ("-V", "Greeting=Hello") if "{{" in example.read_text() else ()
        assert stack.cli("job", "validate", str(example), *filled_in).stdout == "OK\n"
