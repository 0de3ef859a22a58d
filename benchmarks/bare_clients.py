"""Bare clients of NATS over TLS: `python -m benchmarks.bare_clients COUNT SERVER AUTHORITY_FILE`.

Each shakes hands, says CONNECT and hears PONG, and there is nothing of Tarpon's behind the server: no sooner can
anything written in Python be back on this machine. Prints a line when it is ready; for each line on standard input it
connects all of them at once, prints the seconds and lets them go.
"""

import asyncio
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import uvloop

from benchmarks.nats_wire import NatsWire, connect
from benchmarks.rig import ROOT, SIMULATED_PROCESSES, Rig
from shared.runtime.tls.trust import trusting_file
from tarpon.devstack.dies_with_parent import tied_command
from tests.own_nats import OwnNats

TRIES = 3


def all_at_once(made: Rig, count: int) -> list[float]:
    """The seconds that `count` of them took, in as many processes as simulated nodes share, for each try."""
    authority = made.stack.authority_file
    certificate, folder = authority.with_name("server.pem"), made.stack.root / "bare"
    folder.mkdir()
    tls = f'cert_file: "{certificate}", key_file: "{certificate}", handshake_first: true, min_version: "1.2"'
    server = OwnNats(folder, f"tls {{ {tls} }}\n")
    server.start()
    with ExitStack() as stack:
        stack.callback(server.kill)
        clients = []
        for number in range(SIMULATED_PROCESSES):
            share = str(len(range(number, count, SIMULATED_PROCESSES)))
            command = [sys.executable, "-m", "benchmarks.bare_clients", share, server.tls_url, str(authority)]
            started = subprocess.Popen(
                tied_command(command, signal.SIGKILL),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(started.communicate)
            stack.callback(started.kill)
            clients.append(started)
        for each in clients:
            _said(each)
        return [round(max(_asked(clients)), 2) for _ in range(TRIES)]


def _asked(clients: Sequence["subprocess.Popen[str]"]) -> list[float]:
    for each in clients:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return [float(_said(each)) for each in clients]


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def main(count: int, server: str, authority: str) -> None:
    trust = trusting_file(authority)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            made = [group.create_task(_one(server, trust), name=f"client {number}") for number in range(count)]
        print(time.perf_counter() - began, flush=True)
        for each in made:
            each.result().close()


async def _one(server: str, trust: ssl.SSLContext) -> NatsWire:
    return await connect(server, deliver=lambda *_: None, trust=trust)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
