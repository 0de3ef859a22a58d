"""Several orchestrators on one NATS cluster, as real processes on loopback, to be killed and paused (no tests in here).

Three nats-servers with the accounts that `tarpon agent nats-config` prints, three orchestrators that share their
secrets by path, and compute nodes that know all three servers.
"""

import contextlib
import json
import signal
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import SecretSources, load_secrets
from orchestrator.nats_servers.server import find_program
from tests.e2e.stack import START_SECONDS, Service, _flags, _plain_environment, assert_nothing_leaked, wait_until
from tests.node_environment import node_python
from tests.servers import HOST, REGION, S3Server, free_ports

SIZE = 3
REQUEST_SECONDS = 3.0


class Orchestrator(Service):
    """`is_away` while it is killed or paused, or comes back."""

    def __init__(self, name: str, api_port: int, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        super().__init__(command, environment, log)
        self.name = name
        self.api_port = api_port
        self.is_away = False

    def api(self, path: str, body: Any = None, method: str = "GET", *, within: float = REQUEST_SECONDS) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{HOST}:{self.api_port}/api/v1{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=within) as answer:
            return json.load(answer)

    def kill(self) -> None:
        self.is_away = True
        super().kill()

    def pause(self) -> None:
        self.is_away = True
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        with contextlib.suppress(AssertionError, ProcessLookupError):  # it may be paused, or was never started
            self.resume()
        return super().stop()

    @property
    def is_ready(self) -> bool:
        assert self.is_running, f"{self.name} ended:\n{self.tail()}"
        try:
            health = self.api("/agent/node")["Publishers"]["S3Managed"]
            self.api("/orchestrator/nodes")
        except OSError:
            return False
        return bool(health["Ready"])

    def wait_ready(self) -> None:
        wait_until(lambda: self.is_ready, within=START_SECONDS, what=f"{self.name} is ready")
        self.is_away = False


class Cluster:
    def __init__(self, root: Path, s3: S3Server) -> None:
        self.root = root
        self.s3 = s3
        self.bucket = s3.create_bucket(prefix="results")
        self.nats_ports = free_ports(SIZE)
        self.nats = [self._nats_server(number, free) for number, free in enumerate(self._routes())]
        self.orchestrators: list[Orchestrator] = []
        self.computes: dict[str, Service] = {}

    # ---- processes ----------------------------------------------------------------------------------------------

    def _routes(self) -> list[str]:
        """The `cluster` block of each server; and the accounts that all of them include."""
        folder = self.root / "shared" / "secrets"
        secrets = load_secrets(SecretSources(directory=folder))
        join_secret = folder / "join.secret"
        join_secret.touch(mode=0o600)
        join_secret.write_text(token_urlsafe(32))
        accounts = render_accounts(issuer=secrets.issuer_public_key, orchestrator=secrets.orchestrator_public_key)
        (self.root / "tarpon-accounts.conf").write_text(accounts)
        ports = free_ports(SIZE)
        routes = ", ".join(f'"nats://{HOST}:{port}"' for port in ports)
        # Clients are given all addresses, and are told none, so that they come in by those that they were given.
        block = f'cluster {{{{ name: tarpon, no_advertise: true, host: "{HOST}", port: {{}}, routes: [ {routes} ] }}}}'
        return [block.format(port) for port in ports]

    def _nats_server(self, number: int, routes: str) -> Service:
        name = f"nats-{number}"
        config = self.root / f"{name}.conf"
        config.write_text(
            f'server_name: {name}\nhost: "{HOST}"\nport: {self.nats_ports[number]}\n'
            f'jetstream {{ store_dir: "{self.root / name}", sync_interval: always, max_file_store: 8GB }}\n{routes}\n'
            'include "tarpon-accounts.conf"\n'
        )
        return Service([self.nats_program(), "-c", str(config)], _plain_environment(), self.root / f"{name}.log")

    def nats_program(self) -> str:  # a subclass has another version
        return find_program()

    def nats_urls(self, name: str) -> str:  # a subclass gives each its own ways there
        """How the process of this name reaches the NATS servers."""
        return ",".join(f"nats://{HOST}:{port}" for port in self.nats_ports)

    def environment(self, name: str) -> dict[str, str]:  # as above
        """What the process of this name finds in its environment, beside the keys of S3."""
        return _plain_environment()

    def start(self, *, computes: int = 2) -> None:
        for server in self.nats:
            server.start()
        for number, port in enumerate(free_ports(SIZE)):
            orchestrator = self._orchestrator(f"o{number}", port)
            self.orchestrators.append(orchestrator)
            orchestrator.start()
        for orchestrator in self.orchestrators:
            orchestrator.wait_ready()
        for number in range(computes):
            self.start_compute(f"node-{number}")

    def orchestrator_settings(self, name: str) -> dict[str, str]:
        secrets = self.root / "shared" / "secrets"
        return {
            "DataDir": str(self.root / name),
            "Orchestrator.NATS.Servers": self.nats_urls(name),
            "Orchestrator.NATS.IssuerSeedFile": str(secrets / "issuer.nkey"),
            "Orchestrator.NATS.NKeyFile": str(secrets / "orchestrator.nkey"),
            "Orchestrator.NATS.IntegrationSecretFile": str(secrets / "integration.secret"),
            "Orchestrator.Auth.TokenFile": str(secrets / "join.secret"),
            "Orchestrator.TaskSecrets.KeyFile": str(secrets / "task-secrets.key"),
            "Publishers.Types.S3Managed.Bucket": self.bucket,
            "Publishers.Types.S3Managed.Key": "results",
            "Publishers.Types.S3Managed.Region": REGION,
            "Publishers.Types.S3Managed.Endpoint": self.s3.endpoint,
        }

    def _orchestrator(self, name: str, port: int) -> Orchestrator:
        values = self.orchestrator_settings(name) | {"API.Port": str(port)}
        command = [sys.executable, "-m", "tarpon", "serve", "--orchestrator", *_flags(values)]
        environment = self.environment(name) | self.s3.environment()
        return Orchestrator(name, port, command, environment, self.root / f"{name}.log")

    def node_settings(self, name: str) -> dict[str, str]:
        return {
            "DataDir": str(self.root / name),
            "NameProvider": name,
            "Compute.Orchestrators": self.nats_urls(name),
            "Compute.Auth.TokenFile": str(self.root / "shared" / "secrets" / "join.secret"),
            "Compute.Heartbeat.Interval": "1s",
            "Compute.DrainTimeout": "0s",
            "Engines.Types.Process.Enabled": "true",
            "Engines.Types.Process.Sandbox": "off",  # tasks write down where tests look that they have run
        }

    def start_compute(self, name: str) -> None:
        command = [str(node_python()), "-m", "tarpon", "serve", "--compute", *_flags(self.node_settings(name))]
        self.computes[name] = Service(command, self.environment(name), self.root / f"{name}.log")
        self.computes[name].start()
        for orchestrator in self.orchestrators:
            wait_until(
                lambda: name in self._connected(orchestrator),  # noqa: B023  # it is called before the next round
                within=START_SECONDS,
                what=f"{orchestrator.name} says that {name} is connected",
            )

    @staticmethod
    def _connected(orchestrator: Orchestrator) -> set[str]:
        nodes = orchestrator.api("/orchestrator/nodes")["Nodes"]
        return {node["Info"]["NodeID"] for node in nodes if node["Connection"] == "CONNECTED"}

    def stop(self) -> None:
        """Stop all in good order, and check that nobody left a credential anywhere."""
        for each in (*self.computes.values(), *self.orchestrators, *self.nats):
            if each.is_running:
                each.stop()
        assert_nothing_leaked(self.root, [], self._secrets())

    def kill(self) -> None:
        for each in (*self.computes.values(), *self.orchestrators, *self.nats):
            if each.is_running:
                each.kill()

    def _secrets(self) -> set[str]:
        found = {self.s3.orchestrator.secret, self.s3.admin.secret, "X-Amz-Signature", "X-Amz-Credential"}
        return found | {path.read_text().strip() for path in (self.root / "shared" / "secrets").iterdir()}

    # ---- as a user ----------------------------------------------------------------------------------------------

    @property
    def present(self) -> list[Orchestrator]:
        return [each for each in self.orchestrators if not each.is_away]

    def wait_leader(self, *, within: float = START_SECONDS) -> Orchestrator:
        """Who leads, when all that are present say the same."""

        def leader() -> Orchestrator | None:
            try:
                said = [each.api("/agent/node") for each in self.present]
            except OSError:
                return None
            names = {each["Leader"] for each in said}
            led = [one for one, told in zip(self.present, said, strict=True) if told["NodeID"] == told["Leader"]]
            return led[0] if len(names) == 1 and len(led) == 1 else None

        found = wait_until(leader, within=within, what="one of the orchestrators leads")
        assert isinstance(found, Orchestrator)
        return found
