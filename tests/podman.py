"""A Podman of the tests' own, behind its socket for Docker's API (no tests in here).

All that it keeps is in one folder, its locks too, and it sets up no network, so that any other Podman of the machine is
left alone. It needs root, also where it runs as an ordinary user, who is made for it and removed afterwards.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

from tests.engine import BUSYBOX, IMAGE, CannotStart, TestEngine
from tests.servers import HOST

REQUIRED = "TESTS_REQUIRE_PODMAN"
E = TypeVar("E", bound="PodmanEngine")
_INIT = Path("/usr/bin/catatonit")
_PROGRAMS = ("podman", "conmon", "runc", _INIT.name)


class PodmanEngine(TestEngine):
    """Its containers go on while its service is down: nothing of it runs but one monitor for each."""

    def service(self, *flags: str) -> tuple[str, ...]:
        return ("podman", *self._places, *flags, "system", "service", "--time=0", self.url)

    def start(self, *flags: str) -> None:
        (self.folder / "containers.conf").write_text(_configuration(self.folder))
        registries = self.folder / "registries.conf"
        registries.write_text(f'[[registry]]\nlocation = "{HOST}"\ninsecure = true\n')
        variables = {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "PATH": f"{_without_packages(self.folder)}:{os.environ['PATH']}",
        }
        self._begin(self.service(*flags), variables)

    def terminate(self) -> None:
        """Asked to end, it would wait for all connections of its clients, for seconds."""
        self.kill()

    def command(self, *arguments: str) -> str:
        """What an operator does at the machine, without the service."""
        environment = os.environ | {"CONTAINERS_CONF": str(self.folder / "containers.conf")}
        command = ["podman", *self._places, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    def add_image(self, name: str = IMAGE, **content: object) -> None:
        """The service drops the tag of what it imports."""
        super().add_image("imported:latest", **content)  # type: ignore[arg-type]
        repository, _, tag = name.rpartition(":")
        self.request("POST", f"/v1.41/images/imported/tag?{urlencode({'repo': repository, 'tag': tag})}")

    def processes(self) -> dict[int, str]:
        raise NotImplementedError

    @property
    def _places(self) -> tuple[str, ...]:
        folder = self.folder
        places = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp")
        return (*places, "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc")


class RootlessPodman(PodmanEngine):
    """The same of an ordinary user: the users of its containers are the user's further ones of /etc/subuid."""

    def __init__(self, user: pwd.struct_passwd) -> None:
        super().__init__()
        self.user = user
        os.chown(self.folder, user.pw_uid, user.pw_gid)

    def as_user(self, *command: str) -> tuple[str, ...]:
        user, runtime = self.user, self.folder / "runtime"
        places = (f"HOME={self.folder}", f"XDG_RUNTIME_DIR={runtime}", f"USER={user.pw_name}")
        become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        return (*become, "env", "--chdir", str(self.folder), *places, *command)

    def service(self, *flags: str) -> tuple[str, ...]:
        runtime = self.folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        os.chown(runtime, self.user.pw_uid, self.user.pw_gid)
        return self.as_user(*super().service(*flags))

    def stop(self) -> None:
        super().stop()
        for folder in Path("/proc").glob("[0-9]*"):  # it keeps the user's namespace by a process that sleeps
            with suppress(OSError):
                if folder.stat().st_uid == self.user.pw_uid:
                    os.kill(int(folder.name), signal.SIGKILL)


@contextmanager
def throw_away_user() -> Iterator[pwd.struct_passwd]:
    name = f"tarpon-{uuid.uuid4().hex[:12]}"
    try:
        _run("useradd", "--no-create-home", "--shell=/usr/sbin/nologin", "--add-subids-for-system", "--system", name)
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotStart(f"{command[0]}: {done.stderr.strip()}")


@contextmanager
def rootless_podman() -> Iterator[RootlessPodman]:
    """Raises CannotStart, with the reason."""
    _check((*_PROGRAMS, "newuidmap", "newgidmap", "setpriv", "useradd", "userdel"))
    with throw_away_user() as user:
        engine = _started(lambda: RootlessPodman(user))
        try:
            yield engine
        finally:
            engine.stop()


def _configuration(folder: Path) -> str:
    lines = [
        "[containers]",
        'default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]',
        f"init_path = {json.dumps(str(_INIT))}",
        "[engine]",
        'lock_type = "file"',
        f"events_logfile_path = {json.dumps(str(folder / 'events'))}",
    ]
    return "\n".join(lines) + "\n"


def _without_packages(folder: Path) -> Path:
    """Programs that Podman finds first. It asks dpkg for the package of each of its helpers, which takes seconds."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (programs / "dpkg-query").chmod(0o755)
    return programs


def start_podman() -> PodmanEngine:
    """Raises CannotStart, with the reason."""
    _check(_PROGRAMS)
    return _started(PodmanEngine)


def _check(programs: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        raise CannotStart("a private Podman needs root")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing or not BUSYBOX.exists():
        raise CannotStart(f"not installed: {', '.join([*missing, *([] if BUSYBOX.exists() else [str(BUSYBOX)])])}")


def _started(make: Callable[[], E]) -> E:
    engine = make()
    try:
        engine.start()
        engine.add_image()
    except BaseException:
        engine.stop()
        raise
    return engine


def is_required() -> bool:
    return os.environ.get(REQUIRED, "") not in {"", "0"}
