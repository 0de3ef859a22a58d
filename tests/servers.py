"""How the real servers behind the tests are started and stopped (no tests in here).

SeaweedFS checks signatures only when it knows identities, so it always gets some, and the start fails if an unsigned
request is accepted. The orchestrator's identity has no rights of its own: a bucket policy gives it exactly what the
documentation asks of a user, s3:PutObject and s3:GetObject under one prefix, and nothing else.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

HOST = "127.0.0.1"
REGION = "us-east-1"
START_SECONDS = 30.0
LOG_TAIL_BYTES = 8 * 1024
# Where the shared files of the AWS tools are looked for, so that the developer's own ones never matter.
NO_FILE = os.devnull


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str = field(repr=False)


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


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


class S3Server:
    """A SeaweedFS that keeps its ports and its data while it is stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.host = HOST
        self.folder = folder
        self.admin = Keys("AKADMIN" + uuid.uuid4().hex[:9].upper(), uuid.uuid4().hex)
        self.orchestrator = Keys("AKORCHESTRATOR" + uuid.uuid4().hex[:6].upper(), uuid.uuid4().hex)
        names = ("master", "volume", "filer", "s3", "admin")
        ports = free_ports(2 * len(names))
        self._ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        self.port = self._ports["s3"][0]
        self.endpoint = f"http://{self.host}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<S3Server {self.endpoint} {'running' if self._process else 'stopped'}>"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the S3 server is stopped"
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The AWS_* variables that give a process the orchestrator's keys and nothing else."""
        return aws_environment(self.orchestrator)

    def client(self, keys: Keys | None = None) -> Any:
        """A synchronous S3 client of botocore with the admin's keys, or with `keys`."""
        keys = keys or self.admin
        session = botocore.session.Session()
        session.set_config_variable("config_file", NO_FILE)
        session.set_config_variable("credentials_file", NO_FILE)
        return session.create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            config=Config(
                signature_version="s3v4",
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=10,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str:
        """A bucket in which the orchestrator's keys may put and get below `prefix/`, and do nothing else."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        admin = self.client()
        admin.create_bucket(Bucket=name)
        admin.put_bucket_policy(Bucket=name, Policy=json.dumps(_documented_policy(name, prefix)))
        orchestrator = self.client(self.orchestrator)

        def is_in_force() -> bool:
            try:
                orchestrator.get_object(Bucket=name, Key=f"{prefix}/.none" if prefix else ".none")
            except ClientError as error:
                return bool(error.response["Error"]["Code"] == "NoSuchKey")  # AccessDenied until it is
            return True

        self._wait(is_in_force, f"the policy of {name} is in force")
        return name

    def start(self) -> None:
        """Start, and return when a signed PUT has succeeded and an unsigned one has been refused."""
        self.folder.joinpath("data").mkdir(parents=True, exist_ok=True)
        config = self.folder / "identities.json"
        config.write_text(json.dumps(self._identities()))
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._weed_environment()
            )
        try:
            self._wait(self._accepts_a_put, "a PUT succeeds")
            self._assert_unsigned_is_refused()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it. SIGTERM would take seconds, and a test server has nothing to lose."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        for number in (number for pair in self._ports.values() for number in pair):
            for left_over in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                left_over.unlink(missing_ok=True)

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
        program = shutil.which("weed") or str(Path(sys.executable).with_name("weed"))
        command = [program, "-logtostderr=true", "mini", f"-dir={self.folder / 'data'}", f"-s3.config={config}"]
        command += [f"-ip={self.host}", f"-ip.bind={self.host}"]
        for name, (port, grpc_port) in self._ports.items():
            command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc_port}"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        return [*command, "-master.telemetry=false", "-s3.autoCreateBucket=false"]

    def _weed_environment(self) -> dict[str, str]:
        # AWS_ACCESS_KEY_ID would make an identity of its own; HOME may hold a configuration of SeaweedFS.
        return without_aws(dict(os.environ)) | {"HOME": str(self.folder)}

    def _accepts_a_put(self) -> bool:
        client = self.client()
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="is-ready")
            client.put_object(Bucket="is-ready", Key="probe", Body=b"ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _assert_unsigned_is_refused(self) -> None:
        request = urllib.request.Request(f"{self.endpoint}/is-ready/probe", data=b"unsigned", method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        assert status == 403, f"the S3 server answered {status} to an unsigned PUT, so no test of signatures counts"

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "the S3 server ended" if ended else f"{START_SECONDS:.0f} s passed"
                raise AssertionError(f"{why} before {what}; its log ends with:\n{self.log_tail()}")
            time.sleep(0.02)


def start_weed(folder: Path) -> S3Server:
    """A running SeaweedFS with its data below `folder`. The caller stops it."""
    server = S3Server(folder)
    server.start()
    return server


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
