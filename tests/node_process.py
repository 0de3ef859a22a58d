"""A compute node as a process of its own, which a test can kill (the program and its handle; no tests in here)."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

from compute import service
from shared.jobs.durations import Duration
from shared.runtime.aio import background, stop_requested
from shared.settings.config import (
    OFF,
    AllocatedCapacity,
    Auth,
    Compute,
    Config,
    Engines,
    EngineTypes,
    Env,
    HeartbeatSettings,
    ProcessSettings,
)
from shared.settings.secret import Secret

TOKEN = "TARPON_COMPUTE_AUTH_TOKEN"
READY = b"ready"
STOP_SECONDS = 40.0


def node_config(data_dir: Path, name: str, server: str, token: str, *, drain_seconds: float = 0.0) -> Config:
    return Config(
        data_dir=data_dir,
        name_provider=name,
        labels={"zone": "a"},
        compute=Compute(
            orchestrators=(server,),
            auth=Auth(token=Secret(token)),
            heartbeat=HeartbeatSettings(interval=Duration(0.2)),
            allocated_capacity=AllocatedCapacity(cpu="2", memory="2GB", disk="1GB"),
            queue_capacity=1,
            drain_timeout=Duration(drain_seconds),
            env=Env(allow_list=("ALLOWED_*",)),
        ),
        # Tasks write down where tests look that they have run.
        engines=Engines(types=EngineTypes(process=ProcessSettings(enabled=True, sandbox=OFF))),
    )


class NodeProcess:
    """Starts the node again and again in the same folder; everything it logs is kept.

    `within` is a command that becomes the node's in the end.
    """

    def __init__(self, data_dir: Path, name: str, server: str, token: str, *, within: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.name = name
        self.drain_seconds = 0.0
        self.log_file = data_dir.with_name(f"{name}.log")
        self._server = server
        self._token = token
        self._within = within
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<NodeProcess {self.name}>"

    def start(self) -> Self:
        environment = dict(os.environ) | {TOKEN: self._token, "ALLOWED_GREETING": "hello"}
        command = [*self._within, sys.executable, "-m", "tests.node_process", str(self.data_dir), self.name]
        command += [self._server, str(self.drain_seconds)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == READY, self.log
        return self

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def terminate(self) -> int:
        return self._signal(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def _signal(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._process is not None:
            self.kill()
        if error is not None:
            sys.stderr.write(self.log)


def announce() -> None:
    os.write(1, READY + b"\n")


async def main(data_dir: str, name: str, server: str, drain_seconds: str) -> None:
    config = node_config(Path(data_dir), name, server, os.environ[TOKEN], drain_seconds=float(drain_seconds))
    async with stop_requested() as stop, background(node=service.run(config, ready=announce)):
        await stop.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    uvloop.run(main(*sys.argv[1:]))
