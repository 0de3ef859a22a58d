"""How long until all nodes are back, after their connections have ended or their orchestrator was away."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from benchmarks.rig import Rig
from tests.e2e.stack import wait_until
from tests.servers import HOST

API = "/api/v1/orchestrator"
BACK_SECONDS = 60.0
LOOK_SECONDS = 0.3
"""How often it is asked who is back: the list of all nodes costs the orchestrator something."""


def after_nats(made: Rig, nodes: int) -> float:
    """Seconds from the death of the NATS server until the orchestrator has heard of every node again."""
    begun = time.time()
    os.kill(made.stack.nats_pid(), signal.SIGKILL)
    wait_heard(made, nodes, begun)
    return round(time.time() - begun, 1)


def after_restart(made: Rig, nodes: int) -> dict[str, float]:
    """Seconds from the start of an orchestrator that was stopped in order until it answers, and until all are back."""
    assert made.stack.orchestrator is not None
    begun = time.time()
    made.stack.orchestrator.stop()
    stopped = time.time()
    made.start_orchestrator()
    ready = time.time()
    wait_heard(made, nodes, stopped)
    return {
        "stopped_s": round(stopped - begun, 1),
        "ready_s": round(ready - stopped, 1),
        "all_nodes_s": round(time.time() - stopped, 1),
        "rss_mib": made.meter().memory_mib()["orchestrator"],
    }


def wait_heard(made: Rig, nodes: int, since: float) -> None:
    """Return when the orchestrator has heard of every node after `since`, in seconds since 1970."""

    def are_heard() -> bool:
        time.sleep(LOOK_SECONDS)
        try:
            with http_client(made) as client:
                found = _all_nodes(client)
        except OSError:
            return False
        seen = [each["ConnectionState"]["LastHeartbeat"] for each in found]
        return sum(at is not None and seconds(at) > since for at in seen) >= nodes

    wait_until(are_heard, within=BACK_SECONDS, what=f"{nodes} nodes are heard again")


@contextmanager
def http_client(made: Rig) -> Iterator[http.client.HTTPConnection]:
    """A connection to the API, over TLS where that has it."""
    trust, port = made.stack.trust(), made.stack.api_port
    client = http.client.HTTPConnection(HOST, port, timeout=30)
    if trust is not None:
        client = http.client.HTTPSConnection(HOST, port, timeout=30, context=trust)
    try:
        yield client
    finally:
        client.close()


def get(client: http.client.HTTPConnection, path: str) -> bytes:
    client.request("GET", path)
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{path}: {answer.status} {body[:300]!r}")
    return body


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _all_nodes(client: http.client.HTTPConnection) -> list[dict[str, Any]]:
    found, token = [], ""
    while True:
        page = json.loads(get(client, f"{API}/nodes?next_token={token}"))
        found += page["Nodes"]
        token = page.get("NextToken", "")
        if not token:
            return found
