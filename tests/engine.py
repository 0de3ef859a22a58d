"""A container engine and an image registry of the tests' own (no tests in here).

The engine is the machine's dockerd, started by hand with everything it keeps in one folder and without a bridge, so
that it leaves the machine's network and any other engine alone. It needs root. Its one image is made from the
machine's static busybox, so that nothing is downloaded.
"""

import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.servers import HOST, free_ports

IMAGE = "busybox:1.37.0"
BUSYBOX = Path("/bin/busybox")
CGROUPS = Path("/sys/fs/cgroup")
REQUIRED = "TESTS_REQUIRE_DOCKER"
START_SECONDS = 40.0
STOP_SECONDS = 40.0
POLL_SECONDS = 0.02
USER, PASSWORD = "puller", "s3cret-pull"
_BCRYPT = "$2b$05$EiYgriZd6FYDVxjd.2ShFOVhvp6lBB3l.1.1wsZL6uXCllnV7cnse"
_REGISTRY = "docker-registry"


class CannotStart(Exception):
    """There is no engine here, and why."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class TestEngine:
    """A dockerd that can be killed and started again."""

    __test__ = False

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self.folder = Path(tempfile.mkdtemp(prefix="tarpon-engine-"))
        self.socket = self.folder / "engine.sock"
        self.url = f"unix://{self.socket}"
        self.cgroup = self.folder.name
        """The parent of its containers' control groups, by which its processes are told from any other engine's."""
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None
        self._apart: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start_apart(self) -> None:
        """With all that belongs to it in a mount namespace of its own, until it is restored."""
        self._stop_containerd()
        self._apart = ("unshare", "--mount", "--propagation=private", "--")
        self.start()

    def start(self, *flags: str) -> None:
        if self._containerd is None:
            self._containerd = self._run(*self._apart, *_containerd(self.folder))
            if self._apart:
                _wait(partial(_is_apart, self._containerd.pid), "containerd is apart")
                self._apart = ("nsenter", "--target", str(self._containerd.pid), "--mount", "--")
        command = [
            *("dockerd", "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid"), "-H", self.url, "--config-file", str(self.folder / "none.json")),
            *("--containerd", str(self.folder / "containerd.sock"), "--bridge=none", "--iptables=false"),
            *("--shutdown-timeout=2", f"--cgroup-parent=/{self.cgroup}", *flags),
        ]
        (self.folder / "none.json").write_text("{}")
        self._begin(command, self._environment)

    def _begin(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Its service, until it answers."""
        self._process = self._run(*self._apart, *command, environment=environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{command[0]} does not start:\n{(self.folder / 'log').read_text()[-1500:]}")
            time.sleep(POLL_SECONDS)

    def _run(self, *command: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,  # where Podman 4's monitor notes that the kernel has killed something
                env={**os.environ, **environment} if environment else None,
            )

    def restore(self) -> None:
        """Running as it was at first, whatever a test has done to it."""
        if self._process is not None and self._process.poll() is None:
            self.terminate()
        if self._apart:
            self._apart = ()
            self._stop_containerd()
        self.start()

    def kill(self) -> None:
        """As if it had crashed; its containers go on until it is started again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Nothing of it is left afterwards."""
        with contextlib.suppress(OSError):
            for name in self.containers():
                self.request("DELETE", f"/containers/{name}?force=1&v=1")
        if self._process is not None and self._process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        self._stop_containerd()
        for mount in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        for pattern in (self.cgroup, f"*/{self.cgroup}"):
            for group in CGROUPS.glob(pattern):
                with contextlib.suppress(OSError):
                    group.rmdir()

    def _stop_containerd(self) -> None:
        if self._containerd is not None:
            self._containerd.terminate()
            self._containerd.wait(STOP_SECONDS)
            self._containerd = None

    def mounts(self) -> set[str]:
        """What is mounted in its folder, such as the root of each container that runs."""
        places = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
        return {place for place in places if place.startswith(f"{self.folder}/")}

    def control_groups(self) -> set[Path]:
        """Of its containers."""
        found = (*CGROUPS.glob(f"{self.cgroup}/*/"), *CGROUPS.glob(f"*/{self.cgroup}/*/"))
        return {each for each in found if each.is_dir()}

    def processes(self) -> dict[int, str]:
        """What runs in its containers: the command lines by their numbers."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"/{self.cgroup}/" in (folder / "cgroup").read_text():
                    found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
        return found

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        status, content = self._answer(method, path, body, **headers)
        assert status < 400, f"{method} {path}: {status} {content!r}"
        return content

    def _answer(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = UnixConnection(self.socket)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        self.request("POST", path, json.dumps(body).encode(), Content_Type="application/json")

    def add_image(self, name: str = IMAGE, *, changes: Sequence[str] = (), padding_bytes: int = 0) -> None:
        repository, _, tag = name.rpartition(":")
        query = urlencode([("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", c) for c in changes)])
        self.request("POST", f"/images/create?{query}", busybox_tar(padding_bytes), Content_Type="application/x-tar")

    def push(self, name: str, auth: str = "e30=") -> str:
        """The digest under which the registry has it."""
        told = self.request("POST", f"/images/{name}/push", X_Registry_Auth=auth)
        lines = [json.loads(line) for line in told.splitlines()]
        digests = [line["aux"]["Digest"] for line in lines if "aux" in line]
        assert digests, told
        return str(digests[0])

    def remove_image(self, name: str) -> None:
        self.request("DELETE", f"/images/{name}?force=1")

    def containers(self, label: str = "") -> list[str]:
        filters = json.dumps({"label": [label]} if label else {})
        found = json.loads(self.request("GET", f"/containers/json?{urlencode({'all': 1, 'filters': filters})}"))
        return [str(each["Names"][0]).lstrip("/") for each in found]

    def remove_containers(self, label: str) -> None:
        """Also those that their node is removing at this very moment."""
        for name in self.containers(label):
            status, content = self._answer("DELETE", f"/containers/{name}?force=1")
            assert status < 400 or status in {404, 409}, f"{name}: {status} {content!r}"

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.request("GET", f"/containers/{name}/json"))
        return found

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/_ping") == b"OK"
        except OSError:
            return False


def start_engine(environment: Mapping[str, str] | None = None) -> TestEngine:
    """With these variables beside its own. Raises CannotStart, with the reason."""
    if os.geteuid() != 0:
        raise CannotStart("a private dockerd needs root")
    missing = [program for program in ("dockerd", "containerd", "runc") if shutil.which(program) is None]
    if missing or not BUSYBOX.exists():
        raise CannotStart(f"not installed: {', '.join([*missing, *([] if BUSYBOX.exists() else [str(BUSYBOX)])])}")
    engine = TestEngine(environment)
    try:
        engine.start()
        engine.add_image()
    except BaseException:
        engine.stop()
        raise
    return engine


def _is_apart(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()


def _containerd(folder: Path) -> tuple[str, ...]:
    """As on most machines it is a service of its own, so that containers can outlive their dockerd."""
    config = folder / "containerd.toml"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    places = ("--root", f"{folder}/containerd", "--state", f"{folder}/containerd-state")
    return ("containerd", "--config", str(config), *places, "--address", f"{folder}/containerd.sock")


def busybox_tar(padding_bytes: int = 0) -> bytes:
    """A file system with busybox under the names of all its commands; with padding it is a layer of its own."""
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for name in set(names) - {"busybox"}:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
        users = b"root:x:0:0:root:/:/bin/sh\n"
        passwd = tarfile.TarInfo("etc/passwd")
        passwd.size = len(users)
        archive.addfile(passwd, io.BytesIO(users))
        if padding_bytes:
            padding = tarfile.TarInfo("padding")
            padding.size = padding_bytes
            archive.addfile(padding, io.BytesIO(os.urandom(padding_bytes)))
    return packed.getvalue()


class Registry:
    """A registry on loopback; with `password` it wants USER and PASSWORD."""

    def __init__(self, folder: Path, *, password: bool = False) -> None:
        if shutil.which(_REGISTRY) is None:
            raise CannotStart(f"not installed: {_REGISTRY}")
        self.folder = folder
        self.port = free_ports(1)[0]
        self.host = f"{HOST}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        (folder / "users").write_text(f"{USER}:{_BCRYPT}\n")
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host},
        }
        if password:
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "users")}}
        (folder / "config.yml").write_text(json.dumps(config))

    def start(self) -> None:
        command = [_REGISTRY, "serve", str(self.folder / "config.yml")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _wait(self._answers, "the registry answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/", timeout=2).close()
        except OSError:
            return False
        return True


NewRegistry = Callable[..., Registry]


def publish(
    engine: TestEngine, registry: Registry, auth: str = "e30=", *, tag: str = "1", padding_bytes: int = 0
) -> tuple[str, str]:
    """The name and the digest of an image that is in the registry and not on this machine."""
    name = f"{registry.host}/some/image:{tag}"
    engine.add_image(name, padding_bytes=padding_bytes)
    digest = engine.push(name, auth)
    engine.remove_image(name)
    return name, digest


def _wait(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"not within {START_SECONDS:g} s: {what}"
        time.sleep(POLL_SECONDS)


def is_required() -> bool:
    return os.environ.get(REQUIRED, "") not in {"", "0"}
