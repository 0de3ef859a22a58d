"""The files in deploy/ work as they are, names of machines and buckets aside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.nats_servers.server import find_program
from shared.settings.loading import load
from tests.certificates import make_certificate
from tests.e2e.stack import Service, Stack, _plain_environment, process_job, wait_until
from tests.servers import HOST, free_ports

NOBODYS = "a-join-secret-of-nobody"
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.mark.parametrize(("name", "role"), [("orchestrator", "orchestrator"), ("compute", "compute")])
def test_an_example_configuration_is_read_without_a_warning(name: str, role: str) -> None:
    loaded = load(sets=[str(DEPLOY / "config" / f"{name}.yaml")], env={})
    assert loaded.warnings == ()
    assert getattr(loaded.config, role).enabled


def test_the_example_of_sign_in_goes_with_that_of_an_orchestrator() -> None:
    files = [str(DEPLOY / "config" / f"{name}.yaml") for name in ("orchestrator", "orchestrator-sign-in")]
    loaded = load(sets=files, env={})
    assert loaded.warnings == ()
    rules = loaded.config.api.auth.oauth2.rules
    assert [rules.first({"groups": [name]}) is not None for name in ("operators", "scientists", "others")] == [
        True,
        True,
        False,
    ]


class Nats:
    def __init__(self, folder: Path, text: str, port: int) -> None:
        self.port = port
        self._text = text
        self._config = folder / "nats-server.conf"
        self._config.write_text(text)
        self._service = Service(
            [find_program(), "-c", str(self._config)], _plain_environment(), folder / "own-nats.log"
        )
        self._service.start()

    def start_again_with(self, more: str) -> None:
        self._service.kill()
        self._config.write_text(self._text + more)
        self._service.start()

    def kill(self) -> None:
        self._service.kill()


@pytest.fixture
def nats_of_ones_own(stack: Stack) -> Iterator[Nats]:
    """A server with the example's configuration, and the accounts that the command prints."""
    port = free_ports(1)[0]
    accounts = stack.cli("agent", "nats-config", "-c", f"DataDir={stack.root / 'orchestrator'}").stdout
    (stack.root / "tarpon-accounts.conf").write_text(accounts)
    text = (DEPLOY / "config" / "nats-server.conf").read_text()
    text = text.replace("port: 4222", f'host: "{HOST}"\nport: {port}').replace("/var/lib/nats", str(stack.root / "own"))
    server = Nats(stack.root, text, port)
    yield server
    server.kill()


def test_jobs_run_over_a_nats_server_of_ones_own(stack: Stack, nats_of_ones_own: Nats) -> None:
    stack.nats_port = nats_of_ones_own.port
    stack.start_orchestrator(Orchestrator_NATS_Servers=f"nats://{HOST}:{stack.nats_port}")
    stack.start_compute("node-a")
    described = stack.wait_ended(stack.submit(process_job("echo hello")))
    assert described["Job"]["State"]["StateType"] == "Completed"
    url, own = f"nats://{HOST}:{stack.nats_port}", ("-c", f"DataDir={stack.root / 'orchestrator'}")
    assert "PROBLEM" not in stack.cli("agent", "nats-check", url, *own).stdout
    nobody = stack.cli("agent", "nats-check", "nats://127.0.0.1:1", *own, check=False)
    assert (nobody.returncode, nobody.stdout[:8]) == (1, "PROBLEM ")
    refused = stack.cli("agent", "nats-replicas", "3", *own, "-c", f"Orchestrator.NATS.Servers={url}", check=False)
    assert "NATS would not keep KV_tarpon_state on so many servers" in refused.stderr
    assert not (stack.root / "orchestrator" / "orchestrator" / "nats").exists()


def test_jobs_run_over_a_nats_server_that_encrypts_and_a_node_stays_away_from_one_that_does_not(
    stack: Stack, nats_of_ones_own: Nats
) -> None:
    certificate = make_certificate(stack.root)
    plain = f"tls://{HOST}:{nats_of_ones_own.port}"
    trust = {"SSL_CERT_FILE": str(certificate.certificate)}
    stack.start_compute("node-a", Compute_Orchestrators=plain, token=NOBODYS, connected=False, variables=trust)
    told = "it does not encrypt, though its address begins with tls://"
    wait_until(lambda: told in stack.computes["node-a"].text(), within=20, what="the node says why it stays away")
    stack.computes["node-a"].stop()
    nats_of_ones_own.start_again_with(certificate.tls_block)
    stack.start_orchestrator(aws=stack.s3.environment() | trust, Orchestrator_NATS_Servers=plain)
    stack.start_compute("node-a", Compute_Orchestrators=plain, variables=trust)
    described = stack.wait_ended(stack.submit(process_job("echo hello")))
    assert described["Job"]["State"]["StateType"] == "Completed"


def test_every_example_job_is_valid(stack: Stack) -> None:
    examples = sorted((DEPLOY / "examples").glob("*.yaml"))
    assert examples
    for example in examples:
        filled_in = ("-V", "Greeting=Hello") if "{{" in example.read_text() else ()
        assert stack.cli("job", "validate", str(example), *filled_in).stdout == "OK\n"
