"""A Podman of the tests' own, behind its socket for Docker's API (no tests in here).

All that it keeps is in one folder, its locks too, and it sets up no network, so that any other Podman of the machine is
left alone. It needs root.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

from tests.engine import BUSYBOX, IMAGE, CannotStart, TestEngine

REQUIRED = "TESTS_REQUIRE_PODMAN"
_INIT = Path("/usr/bin/catatonit")
_PROGRAMS = ("podman", "conmon", "runc", _INIT.name)


class PodmanEngine(TestEngine):
    """Its containers go on while its service is down: nothing of it runs but one monitor for each."""

    def service(self, *flags: str) -> tuple[str, ...]:
        return ("podman", *self._places, *flags, "system", "service", "--time=0", self.url)

    def start(self, *flags: str) -> None:
        (self.folder / "containers.conf").write_text(_configuration(self.folder))
        self._begin(self.service(*flags), {"CONTAINERS_CONF": str(self.folder / "containers.conf")})

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


def start_podman() -> PodmanEngine:
    """Raises CannotStart, with the reason."""
    if os.geteuid() != 0:
        raise CannotStart("a private Podman needs root")
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing or not BUSYBOX.exists():
        raise CannotStart(f"not installed: {', '.join([*missing, *([] if BUSYBOX.exists() else [str(BUSYBOX)])])}")
    engine = PodmanEngine()
    try:
        engine.start()
        engine.add_image()
    except BaseException:
        engine.stop()
        raise
    return engine


def is_required() -> bool:
    return os.environ.get(REQUIRED, "") not in {"", "0"}
