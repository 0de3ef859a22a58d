"""The whole set of deploy/compose, for trials that are too long for the tests (no tests in here).

Who wants it calls `go_apart` first, and has tarpon, nats-server, weed, haproxy and prometheus on PATH.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.environments import ROOT

COMPOSE = ROOT / "deploy" / "compose"
BACK_SECONDS = 90.0


class Machines:
    """Those of compose.yaml, in namespaces of this process."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self._module = machines_module()
        services = self._module.services()
        self._module.prepare(services, folder)
        self.all = {name: self._module.Machine(name, each, folder, secrets) for name, each in services.items()}

    def start(self) -> None:
        for machine in self.all.values():
            machine.start()
        self._module.wait_ready(self.all.values())
        wait_until(lambda: all(self.is_back(name) for name in self.all), "all are there")

    def stop(self) -> None:
        self._module.stop(self.all.values())

    def is_back(self, name: str) -> bool:
        kind = name.split("-", maxsplit=1)[0]
        if kind == "node":
            request = urllib.request.Request("http://proxy:1234/api/v1/orchestrator/nodes", headers=self.headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                nodes = json.load(answer)["Nodes"]
            return any(each["Info"]["NodeID"] == name and each["Connection"] == "CONNECTED" for each in nodes)
        if kind in {"orchestrator", "proxy"}:
            urllib.request.urlopen(f"http://{name}:1234/readyz", timeout=5).close()
        return True

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {os.environ['TARPON_API_KEY']}"}


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if is_so():
                return
        if time.monotonic() > deadline:
            sys.exit(f"Not within {BACK_SECONDS:.0f} s: {what}.")
        time.sleep(0.1)


def machines_module() -> Any:
    """deploy/compose/machines.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("machines", COMPOSE / "machines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def go_apart() -> None:
    """Begin this program again in namespaces of its own, with which all that it starts ends."""
    machines_module().go_apart()


@contextmanager
def whole_set(folder: Path) -> Iterator[Machines]:
    """All of it is there, and this process is its operator."""
    secrets = folder / "secrets"
    subprocess.run([str(COMPOSE / "init.sh"), str(secrets)], check=True)
    key = (secrets / "operator.key").read_text()
    os.environ.update(TARPON_API_HOST="proxy", TARPON_API_KEY=key, TARPON_API_TLS_PLAINTEXT="true")
    machines = Machines(folder, secrets)
    try:
        machines.start()
        yield machines
    finally:
        machines.stop()
