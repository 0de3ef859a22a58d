"""A whole Tarpon of real processes on loopback, to be killed and started again (no tests in here).

The orchestrator runs from the checkout's environment and alone has S3 keys. Compute nodes run from an environment in
which boto is not installed, without any AWS variable. When a stack ends, every file that it left, every log and every
command line is searched for credentials.
"""

import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.runtime.tls.trust import AuthorityUnreadable, trusting_file
from tests.canary import LETS_IN, LOG_LEVEL
from tests.node_environment import node_python
from tests.sandbox import sandbox_setting
from tests.servers import HOST, REGION, S3Service, free_ports, without_aws

START_SECONDS = 60.0
STOP_SECONDS = 40.0
POLL_SECONDS = 0.05
WARNINGS = "error,ignore::DeprecationWarning:nats.micro.service"
"""As in pyproject.toml, which is read by pytest alone."""
NO_AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Those of the machine take a tenth of the time in which a process starts, and sign for nobody on loopback."""
TERMINAL = {"Completed", "Failed", "Stopped"}
NO_SANDBOX = "off"
"""For a node whose tasks write where tests look."""


def wait_until(is_so: Callable[[], Any], *, within: float, what: str) -> Any:
    """Give the first true answer; fail, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return answer


class Service:
    """One `tarpon serve`, with its log in a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self.log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert not self.is_running, "nobody would stop the one that runs"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; kill it if that does not end it."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop within {STOP_SECONDS:g} s:\n{self.tail()}") from None

    def text(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        return self.text()[-4000:]


class Stack:
    """Starts nothing by itself: call `start_orchestrator` and `start_compute`."""

    def __init__(self, root: Path, s3: S3Service, *, prefix: str = "results", encrypted: bool = False) -> None:
        """`encrypted` has NATS and the API speak TLS, although all is on loopback."""
        self.root = root
        self.s3 = s3
        self.encrypted = encrypted
        self.bucket = s3.create_bucket(prefix=prefix)
        self.prefix = prefix
        self.api_port, self.nats_port = free_ports(2)
        self.orchestrator: Service | None = None
        self.computes: dict[str, Service] = {}
        self.environments: list[Mapping[str, str]] = []
        self.shown: Path | None = None
        """A folder that tasks on the machine itself may read."""
        self.key = ""
        """What is shown over TCP, where the orchestrator asks for a key."""
        self.secret = secrets.token_urlsafe(32)

    # ---- processes ----------------------------------------------------------------------------------------------

    def publisher_settings(self, **changes: str) -> dict[str, str]:
        settings = {"Bucket": self.bucket, "Key": self.prefix, "Region": REGION, "Endpoint": self.s3.endpoint}
        return {f"Publishers.Types.S3Managed.{key}": value for key, value in (settings | changes).items() if value}

    def start_orchestrator(
        self,
        *,
        publisher: Mapping[str, str] | None = None,
        aws: Mapping[str, str] | None = None,
        ready: bool = True,
        started: bool = True,
        flags: Sequence[str] = (),
        role: Sequence[str] = ("--orchestrator",),
        join_secret: bool = True,
        python: str = sys.executable,
        **settings: str,
    ) -> Service:
        """`aws` are the variables with its credentials; `settings` have `_` for `.` in their names.

        One that is not `started` is for commands with its settings.

        It has a join secret, so that nodes can be started without a token for each, unless that is not wanted.
        """
        values = {
            "DataDir": str(self.root / "orchestrator"),
            "API.Port": str(self.api_port),
            "Orchestrator.Port": str(self.nats_port),
            "Orchestrator.Host": HOST,
            **({"API.TLS.SelfSigned": "true", "Orchestrator.TLS.PlainText": "never"} if self.encrypted else {}),
            **(self.publisher_settings() if publisher is None else publisher),
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        environment = _plain_environment() | dict(self.s3.environment() if aws is None else aws)
        if join_secret and "Orchestrator_Auth_TokenFile" not in settings:
            environment |= {"TARPON_ORCHESTRATOR_AUTH_TOKEN": self.secret}
        self.environments.append(environment)
        command = [python, "-m", "tarpon", "serve", *role, *flags, *_flags(values)]
        self.orchestrator = Service(command, environment, self.root / "orchestrator.log")
        if started:
            self.orchestrator.start()
        if started and ready:
            self.wait_ready()
        return self.orchestrator

    def start_asking_orchestrator(self, **settings: Any) -> Service:
        """One that asks for a key, which everybody here shows from then on."""
        service = self.start_orchestrator(ready=False, API_Auth_Anonymous="false", **settings)
        environment = _plain_environment() | {"TARPON_DIR": str(self.root / "orchestrator")}
        command = [sys.executable, "-m", "tarpon", "user", "bootstrap", "--output", "json"]

        def bootstrapped() -> str:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
            return str(json.loads(done.stdout)["Key"]) if done.returncode == 0 else ""

        self.key = wait_until(bootstrapped, within=START_SECONDS, what="the first user is made")
        self.wait_ready()
        return service

    def wait_ready(self, *, within: float = START_SECONDS) -> None:
        def is_ready() -> bool:
            assert self.orchestrator is not None
            assert self.orchestrator.is_running, f"the orchestrator ended:\n{self.orchestrator.tail()}"
            try:
                health = self.api("/agent/node")["Publishers"]["S3Managed"]
                self.api("/orchestrator/nodes")
            except (urllib.error.URLError, ConnectionError, AuthorityUnreadable):
                return False
            return health is None or bool(health["Ready"])

        wait_until(is_ready, within=within, what="the orchestrator is ready")

    def start_compute(
        self,
        name: str,
        *,
        token: str | None = None,
        connected: bool = True,
        python: str = "",
        variables: Mapping[str, str] | None = None,
        become: Sequence[str] = (),
        **settings: str,
    ) -> Service:
        """With the interpreter of an environment without boto, unless it is given. `become` runs it as another user."""
        values = {
            "DataDir": str(self.root / name),
            "NameProvider": name,
            "Compute.Orchestrators": self.nats_url,
            **({"Compute.TLS.CACert": str(self.authority_file)} if self.encrypted else {}),
            "Compute.Heartbeat.Interval": "1s",
            "Compute.DrainTimeout": "0s",
            "Engines.Types.Process.Enabled": "true",
            "Engines.Types.Process.Sandbox": sandbox_setting(),
            **({"Engines.Types.Process.ReadOnlyPaths": str(self.shown)} if self.shown else {}),
            **{key.replace("_", "."): value for key, value in settings.items()},
        }
        secret = self.join_secret() if token is None else token
        environment = _plain_environment() | {"TARPON_COMPUTE_AUTH_TOKEN": secret} | dict(variables or {})
        self.environments.append(environment)
        command = [*become, python or str(node_python()), "-m", "tarpon", "serve", "--compute", *_flags(values)]
        service = Service(command, environment, self.root / f"{name}.log")
        service.start()
        self.computes[name] = service
        if connected:
            self.wait_connected(name)
        return service

    def wait_connected(self, name: str) -> None:
        def is_connected() -> bool:
            assert self.computes[name].is_running, f"the node ended:\n{self.computes[name].tail()}"
            return any(node["Info"]["NodeID"] == name and node["Connection"] == "CONNECTED" for node in self.nodes())

        wait_until(is_connected, within=START_SECONDS, what=f"node {name} is connected")

    def wait_disconnected(self, name: str) -> None:
        def is_disconnected() -> bool:
            return all(each["Connection"] != "CONNECTED" for each in self.nodes() if each["Info"]["NodeID"] == name)

        wait_until(is_disconnected, within=START_SECONDS, what=f"node {name} is disconnected")

    def nodes(self) -> list[dict[str, Any]]:
        """Those of compute."""
        listed = self.api("/orchestrator/nodes")["Nodes"]
        return [node for node in listed if node["Info"]["NodeType"] == "Compute"]

    @property
    def api_url(self) -> str:
        return f"{'https' if self.encrypted else 'http'}://{HOST}:{self.api_port}"

    @property
    def nats_url(self) -> str:
        return f"{'tls' if self.encrypted else 'nats'}://{HOST}:{self.nats_port}"

    @property
    def authority_file(self) -> Path:
        """That of the orchestrator's own authority, once it has started."""
        return self.root / "orchestrator" / "orchestrator" / "tls" / "authority.pem"

    def trust(self) -> ssl.SSLContext | None:
        return trusting_file(self.authority_file) if self.encrypted else None

    def nats_pid(self) -> int:
        return int((self.root / "orchestrator" / "orchestrator" / "nats" / "nats-server.pid").read_text())

    def join_secret(self) -> str:
        return self.secret

    def stop(self) -> None:
        """Stop all in good order, and check that nobody left a credential anywhere."""
        services = [*self.computes.values(), *([self.orchestrator] if self.orchestrator else [])]
        lines = [_command_line(each.process.pid) for each in services if each.is_running]
        with contextlib.suppress(FileNotFoundError):  # it never ran
            lines.append(_command_line(self.nats_pid()))
        for each in services:
            each.stop()
        assert_nothing_leaked(self.root, lines, self.secrets())

    def secrets(self) -> set[str]:
        """What must be nowhere but in the files of secrets."""
        found = {self.s3.orchestrator.secret, self.s3.admin.secret, "X-Amz-Signature", "X-Amz-Credential"}
        found |= {self.key} - {""}
        for path in self.root.glob("*/orchestrator/secrets/*"):
            found.add(path.read_text().strip())
        for path in self.root.glob("*/compute/*nkey*"):
            found.add(path.read_text().strip())
        for environment in self.environments:
            found.update(value for name, value in environment.items() if "SECRET" in name or "TOKEN" in name)
        return {each for each in found if each}

    # ---- as a user ----------------------------------------------------------------------------------------------

    def api(self, path: str, body: Any = None, method: str = "GET", headers: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.api_url}/api/v1{path}"
        shown = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(url, data=data, method=method, headers={**shown, **(headers or {})})
        with urllib.request.urlopen(request, timeout=30, context=self.trust()) as answer:
            return json.load(answer)

    def user_environment(self) -> dict[str, str]:
        found = _plain_environment() | {"TARPON_API_PORT": str(self.api_port), "TARPON_API_HOST": HOST}
        found |= {"TARPON_API_KEY": self.key} if self.key else {}
        return found | ({"TARPON_API_TLS_CAFILE": str(self.authority_file)} if self.encrypted else {})

    def shell(self, script: str, *, cwd: Path) -> str:
        """What a user's lines print; each has to go well."""
        environment = self.user_environment()
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        command = ["/bin/sh", "-ec", script]
        return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=True).stdout

    def cli(
        self, *arguments: str, check: bool = True, stdin: str = "", more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        """A command of a user; `more` are variables of its environment."""
        done = subprocess.run(
            [sys.executable, "-m", "tarpon", *arguments],
            env={**self.user_environment(), **more},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            cwd=self.root,
        )
        assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
        return done

    def submit(self, job: Mapping[str, Any]) -> str:
        return str(self.api("/orchestrator/jobs", {"Job": job}, "PUT")["JobID"])

    def describe(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api(f"/orchestrator/jobs/{job}?include=history,executions")
        return found

    def state(self, job: str) -> str:
        return str(self.api(f"/orchestrator/jobs/{job}")["Job"]["State"]["StateType"])

    def wait_ended(self, job: str, *, within: float = 40.0) -> dict[str, Any]:
        wait_until(lambda: self.state(job) in TERMINAL, within=within, what=f"job {job} has ended")
        return self.describe(job)

    def wait_state(self, job: str, state: str, *, within: float = 20.0) -> None:
        wait_until(lambda: self.state(job) == state, within=within, what=f"job {job} is {state}")

    def objects(self) -> list[str]:
        """The keys of all archives in the bucket."""
        return [key for key in self.all_keys() if key.endswith(".tar.gz")]

    def all_keys(self) -> list[str]:
        """Of all objects in the bucket."""
        keys: list[str] = []
        client = self.s3.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            keys += [item["Key"] for item in page.get("Contents", [])]
        return keys


def process_job(script: str, **task: Any) -> dict[str, Any]:
    """A job that runs `script` with the process engine and publishes what it leaves."""
    engine = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", script]}}
    publisher = {"Type": "s3managed"}
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, "Publisher": publisher, **task}]}


def assert_nothing_leaked(root: Path, command_lines: Sequence[str], secrets: set[str]) -> None:
    needles = {secret: secret.encode() for secret in secrets}
    for line in command_lines:
        assert not [name for name in needles if name in line], f"a credential is in a command line: {line[:60]}"
    for path in root.rglob("*"):
        if not path.is_file() or path.is_symlink() or _is_secret_file(path):
            continue
        content = path.read_bytes()
        leaked = [name for name, needle in needles.items() if needle in content]
        if path.suffix == ".log":
            leaked += LETS_IN.findall(content.decode(errors="replace"))
        assert not leaked, f"{path.relative_to(root)} contains {leaked[0][:16]}..."


def _is_secret_file(path: Path) -> bool:
    if "secrets" not in path.parts and "nkey" not in path.name and path.name != "credentials":
        return False
    mode = path.stat().st_mode & 0o777
    assert mode == 0o600, f"{path} holds a secret and has mode {mode:o}"
    return True


def _plain_environment() -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    ours = {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": WARNINGS, **NO_AUTHORITIES}
    ours |= {"TARPON_LOGGING_LEVEL": os.environ[LOG_LEVEL]} if LOG_LEVEL in os.environ else {}
    return without_aws(environment) | ours | {"TARPON_API_AUTH_ANONYMOUS": "true"}  # most are not about who asks


def _flags(values: Mapping[str, str]) -> list[str]:
    return [part for key, value in values.items() for part in ("-c", f"{key}={value}")]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
