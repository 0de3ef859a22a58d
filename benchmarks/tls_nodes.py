"""What TLS costs many nodes at once: `python -m benchmarks.tls_nodes [--nodes 1000] [--plain] [STEP...]`.

Whole nodes with connections of their own, but without tasks, all on this machine, whose work at a reconnection counts.
Steps, all of them by default:

- `floor`: seconds until as many bare clients (benchmarks/bare_clients.py) have connected to a server with nothing
  behind it, in as many processes as the nodes share: three tries;
- `killed`: seconds from the death of the NATS server until the orchestrator has heard of every node again;
- `restart`: the same for an orchestrator that is stopped in order, with its NATS server, and started;
- `renewal`: the certificate becomes due while jobs go on and streams of events and logs are read over TLS. It is
  renewed by the orchestrator itself, within seconds. The times are of the server's own list of connections:
  `back_s` is from the first connection of a node that ended to the last one that was made.

Prints one JSON object. `--plain` does the second and the third without TLS, to be compared with.
"""

import argparse
import asyncio
import json
import os
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.bare_clients import all_at_once
from benchmarks.connections import Connections, NodeConnection, connections
from benchmarks.open_streams import OpenStreams
from benchmarks.returns import after_nats, after_restart, wait_heard
from benchmarks.rig import Rig, rig
from benchmarks.running import end_on_sigterm, run_to_the_end, tell, warn_of_load
from orchestrator.admission.tls.authority import CertificateUse, read_secret, signing
from orchestrator.admission.tls.certificates import LIFE, RENEWED_EARLY, issue
from shared.settings.secret import Secret
from tests.servers import HOST

STEPS = ("floor", "killed", "restart", "renewal")
RENEWED_SECONDS = 60.0
"""It is long: an orchestrator looks at its certificate every ten seconds."""
BACK_SECONDS = 60.0
LOOK_SECONDS = 0.5
STEADY_SECONDS = 3.0
"""For so long it is looked whether a connection ends again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--in-flight", type=int, default=32, help="jobs while the certificate is renewed")
    parser.add_argument("--streams", type=int, default=20, help="of events, and as many of logs")
    wanted = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    steps = wanted.steps or (STEPS[1:3] if wanted.plain else STEPS)
    if set(steps) - set(STEPS):
        parser.error(f"a step is one of {', '.join(STEPS)}")
    with (
        tempfile.TemporaryDirectory() as folder,
        rig(
            Path(folder), sink="discard", sync="default", tls=not wanted.plain, Orchestrator_TLS_RenewalPatience="0s"
        ) as made,
    ):
        made.start_orchestrator()
        made.simulate_nodes(wanted.nodes)
        answer: dict[str, Any] = {"nodes": wanted.nodes, "tls": not wanted.plain, "load": os.getloadavg()[0]}
        for step in steps:
            match step:
                case "floor":
                    answer[step] = all_at_once(made, wanted.nodes)
                case "killed":
                    answer[step] = after_nats(made, wanted.nodes)
                case "restart":
                    answer[step] = after_restart(made, wanted.nodes)
                case _:
                    made.start_nodes(1)
                    renewal = Renewal(made, nodes=wanted.nodes + 1, in_flight=wanted.in_flight, streams=wanted.streams)
                    answer[step] = run_to_the_end(renewal.run())
            tell(f"{step}: {answer[step]}, load {os.getloadavg()[0]:.1f}")
    print(json.dumps(answer, indent=2))


class Renewal:
    """Of the certificate of NATS and the API, while they are used."""

    def __init__(self, made: Rig, *, nodes: int, in_flight: int, streams: int) -> None:
        self._made = made
        self._nodes = nodes
        self._in_flight = in_flight
        self._streams = streams
        self._tls = made.stack.authority_file.parent

    def __repr__(self) -> str:
        return f"<Renewal of {self._made!r}>"

    async def run(self) -> dict[str, Any]:
        async with connections(self._made) as told, self._using() as load:
            before = await told.standing()
            shown = await asyncio.to_thread(self._shown)
            await asyncio.to_thread(self._make_due)
            began = time.time()
            ended = await self._ended(told, began)
            back = await self._back(told, before)
            await asyncio.to_thread(wait_heard, self._made, self._nodes, min(each.ended for each in ended))
            heard = time.time()
            await asyncio.sleep(STEADY_SECONDS)
            ended = [each for each in await told.ended() if each.ended >= began]
            figures = {
                "renewed": shown != await asyncio.to_thread(self._shown),
                "nodes": len(before),
                "times_ended": dict(Counter(Counter(each.name for each in ended).values())),
                "reasons": dict(Counter(each.reason for each in ended)),
                "tries": max(each.cid for each in back) - max(each.cid for each in before),
                "back_s": round(max(each.began for each in back) - min(each.ended for each in ended), 1),
                "heard_s": round(heard - min(each.ended for each in ended), 1),
                "load": os.getloadavg()[0],
            }
        return figures | load.figures()

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[OpenStreams]:
        """Jobs and streams, all of which have begun, and which end in good order."""
        flag = self._made.stack.root / "enough"
        connector = aiohttp.TCPConnector(ssl=self._made.stack.trust() or False, limit=0)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session,
            asyncio.TaskGroup() as group,
        ):
            load = OpenStreams(self._made.stack.api_url, session, streams=self._streams)
            for number in range(self._streams):
                group.create_task(load.read(flag), name=f"streams {number}")
            async with asyncio.timeout(BACK_SECONDS):
                await load.heard.wait()
            for number in range(self._in_flight):
                group.create_task(load.flow(), name=f"jobs {number}")
            try:
                yield load
            finally:
                load.stop()
                flag.touch()

    def _make_due(self) -> None:
        """Put in its place a certificate of the same authority that was made ten months ago."""
        secret = Secret((self._tls.parent / "secrets" / "authority.secret").read_text().strip())
        now = time.time()
        then = now - (LIFE - RENEWED_EARLY).total_seconds() - 86400
        pair = issue(signing(read_secret(secret), CertificateUse.SERVERS, now=now), (HOST, "localhost"), now=then)
        draft = self._tls / "due.pem"
        draft.touch(mode=0o600)
        draft.write_bytes(pair.certificate + pair.key)
        draft.replace(self._tls / "server.pem")

    def _shown(self) -> str:
        return ssl.get_server_certificate((HOST, self._made.stack.nats_port), timeout=10)

    @staticmethod
    async def _ended(told: Connections, since: float) -> list[NodeConnection]:
        async with asyncio.timeout(RENEWED_SECONDS):
            while True:
                if ended := [each for each in await told.ended() if each.ended >= since]:
                    return ended
                await asyncio.sleep(LOOK_SECONDS)

    @staticmethod
    async def _back(told: Connections, before: Sequence[NodeConnection]) -> list[NodeConnection]:
        """The connections of the same nodes that were made later."""
        old, names = {each.cid for each in before}, {each.name for each in before}
        async with asyncio.timeout(BACK_SECONDS):
            while True:
                found = [each for each in await told.standing() if each.cid not in old]
                if names <= {each.name for each in found}:
                    return found
                await asyncio.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
