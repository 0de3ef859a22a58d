#!/usr/bin/env python3
"""Starts what compose.yaml says without Docker: each service in a network, mount and host name of its own.

machines.py [--secrets FOLDER] [--folder FOLDER] [-- COMMAND ...]

Beside the programs themselves (tarpon, nats-server, weed, haproxy, prometheus on PATH) it needs root, iproute2 and
util-linux. Everything runs until Ctrl-C, or until COMMAND has ended, which sees the machines by their names and has the
operator's key; then all of it is gone, but for what is in --folder: logs, volumes, and the number of each process, by
which one can be killed.
"""

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
INSIDE = "MACHINES_INSIDE"
NETWORK, GATEWAY = "machines", "10.77.0.1/24"
ENTRYPOINTS = {
    "tarpon-orchestrator": ["tarpon", "serve", "--orchestrator"],
    "tarpon-node": ["tarpon", "serve", "--compute"],
}
READY = "http://proxy:1234/readyz"
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
# What a container has of its own: a /run and a /var/lib with nothing of the machine's, and additions to /etc.
PRIVATE = """
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secrets", type=Path, default=HERE / "secrets", help="what init.sh has made")
    parser.add_argument("--folder", type=Path, help="where logs and volumes are; else they go with it")
    parser.add_argument("command", nargs="*", help="what runs beside the machines")
    given = parser.parse_args()
    go_apart()
    with contextlib.ExitStack() as stack:
        folder = given.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="tarpon-machines-"))
        folder = Path(folder).resolve()
        prepare(services(), folder)
        machines = [Machine(name, service, folder, given.secrets) for name, service in services().items()]
        stack.callback(stop, machines)
        for machine in machines:
            machine.start()
        wait_ready(machines)
        print(f"Tarpon answers at http://proxy:1234; logs are in {folder / 'logs'}.", file=sys.stderr)
        return beside(given.command, given.secrets)


def go_apart() -> None:
    """Begin this program again in namespaces of its own, with which all that it starts ends."""
    if INSIDE not in os.environ:
        apart = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        os.execvpe(apart[0], [*apart, sys.executable, *sys.orig_argv[1:]], {**os.environ, INSIDE: "1"})


def services() -> dict[str, Any]:
    """Those of compose.yaml, by their names."""
    found: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
    return found


def prepare(named: dict[str, Any], folder: Path) -> None:
    """The switch between the machines, and their names."""
    for name in ("logs", "pids", "volumes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [f"{address(service)} {name}" for name, service in named.items()]
    hosts = folder / "hosts"
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    run("mount", "--bind", str(hosts), "/etc/hosts")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", NETWORK, "type", "bridge")
    run("ip", "address", "add", GATEWAY, "dev", NETWORK)
    run("ip", "link", "set", NETWORK, "up")


def address(service: dict[str, Any]) -> str:
    return str(service["networks"][NETWORK]["ipv4_address"])


class Machine:
    """A service in namespaces of its own."""

    def __init__(self, name: str, service: dict[str, Any], folder: Path, secrets: Path) -> None:
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._service = service
        self._folder = folder
        self._secrets = secrets

    def start(self, path: str = "") -> None:
        """With the programs of this PATH, or of the one that there is."""
        script = "\n".join(["set -e", "read -r _", *self._mounts(), f"exec {shlex.join(self._command())}"])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "--mount", "--uts", "--", "sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={"PATH": path or os.environ["PATH"], **self._environment()},
                cwd="/",
            )
        (self._folder / "pids" / self.name).write_text(str(self.process.pid))
        self._connect(self.process)

    def _connect(self, process: "subprocess.Popen[bytes]") -> None:
        """Plug it into the switch, and let it begin."""
        own = Path(f"/proc/{process.pid}/ns/net")
        while own.readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.005)
        ends = f"to-{process.pid}"
        run("ip", "link", "add", ends, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        run("ip", "link", "set", ends, "master", NETWORK, "up")
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()

    def _mounts(self) -> Iterator[str]:
        yield f"hostname {self.name}"
        yield "ip link set lo up && ip link set eth0 up"
        yield f"ip address add {address(self._service)}/24 dev eth0"
        yield f"{PRIVATE}mount --bind {shlex.quote(str(self._folder / 'hosts'))} /etc/hosts"
        for volume in self._service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            path, at = shlex.quote(str(self._source(source))), shlex.quote(target)
            make = f"mkdir -p {at}" if not Path(target).suffix else f"mkdir -p $(dirname {at}) && touch {at}"
            yield f"{make} && mount --bind {path} {at}"

    def _source(self, text: str) -> Path:
        if text.startswith("./secrets"):
            return self._secrets.resolve() / text.removeprefix("./secrets").lstrip("/")
        if text.startswith("."):
            return HERE / text
        volume = self._folder / "volumes" / text
        volume.mkdir(exist_ok=True)
        return volume

    def _command(self) -> list[str]:
        image = self._service["image"].partition(":")[0]
        entrypoint = self._service.get("entrypoint") or ENTRYPOINTS[image]
        return [*entrypoint, *self._service.get("command", ())]

    def _environment(self) -> dict[str, str]:
        own = {"HOME": "/var/lib", "TARPON_DIR": "/var/lib/tarpon", "LANG": "C.UTF-8"}
        own.update(self._service.get("environment", {}))
        return own


def wait_ready(machines: Iterable[Machine]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        for machine in machines:
            if machine.process is None or machine.process.poll() is not None:
                sys.exit(f"{machine.name} has ended:\n{machine.log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(READY, timeout=5).close()
            return
        if time.monotonic() > deadline:
            sys.exit(f"No orchestrator was ready within {READY_SECONDS:.0f} s.")
        time.sleep(0.1)


def beside(command: list[str], secrets: Path) -> int:
    """Run the command, and give what it ends with; without one, wait for a signal."""
    if not command:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        return 0
    key = (secrets / "operator.key").read_text()
    ours = {"TARPON_API_HOST": "proxy", "TARPON_API_KEY": key, "TARPON_API_TLS_PLAINTEXT": "true"}
    return subprocess.run(command, env={**os.environ, **ours}, check=False).returncode


def stop(machines: Iterable[Machine]) -> None:
    """Nodes first, so that they can still say what has become of their tasks; then what they speak with."""
    running = [each.process for each in reversed(list(machines)) if each.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
