"""Starts and drains nodes by what waits for them: an example of an autoscaler, with the standard library alone.

    python autoscale.py --value gpu --most 4 -- tarpon serve --compute -c NameProvider={name} -c Labels=pool=gpu ...

Reads tarpon_queue_jobs of an orchestrator (Orchestrator.Scheduler.QueueLabels has the label), starts one node after the
other while jobs wait, and drains and stops one that has been idle. On a cloud the command starts a machine instead.
TARPON_API_HOST, TARPON_API_PORT and TARPON_API_KEY say where the orchestrator is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:1234")
    parser.add_argument("--label", default="pool")
    parser.add_argument("--value", required=True)
    parser.add_argument("--most", type=int, default=4, help="so many nodes at most")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two looks")
    parser.add_argument("--idle", type=int, default=20, help="after so many looks without work a node goes")
    parser.add_argument("command", nargs="+", help="starts a node; {name} is what it is to be called")
    given = parser.parse_args()
    nodes: dict[str, subprocess.Popen[bytes]] = {}
    idle: dict[str, int] = {}
    number = 0
    while True:
        waiting = queue_of(given.url, given.label, given.value)
        busy = {node["Info"]["NodeID"]: node["LiveExecutions"] for node in tarpon_nodes()}
        coming = [name for name in nodes if name not in busy]
        if waiting and not coming and len(nodes) < given.most:
            number += 1
            name = f"auto-{os.getpid()}-{number}"
            print(f"{waiting:.0f} jobs wait: starting {name}", flush=True)
            nodes[name] = subprocess.Popen([part.replace("{name}", name) for part in given.command])
        for name in list(nodes):
            is_idle = name in busy and not busy[name] and not waiting
            idle[name] = idle.get(name, 0) + 1 if is_idle else 0
            if idle[name] > given.idle:
                print(f"{name} has no work: draining it", flush=True)
                tarpon("node", "drain", name)
                nodes[name].terminate()
                nodes.pop(name).wait()
                tarpon("node", "delete", "--force", name)
        time.sleep(given.every)


def queue_of(url: str, label: str, value: str) -> float:
    """How many jobs wait for a node with this label; 0 where the orchestrator does not say."""
    key = os.environ.get("TARPON_API_KEY", "")
    shown = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{url}/metrics", headers=shown)  # noqa: S310  # who runs this names it
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # as above
            text = answer.read().decode()
    except OSError as error:
        print(f"The orchestrator does not answer: {error}", file=sys.stderr)
        return 0.0
    name = re.escape(f'tarpon_queue_jobs{{label="{label}",value="{value}"}} ')
    found = re.search(rf"^{name}(\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def tarpon_nodes() -> list[dict[str, object]]:
    told = tarpon("node", "list", "--output", "json")
    return [node for node in json.loads(told or "[]") if node["Connection"] == "CONNECTED"]


def tarpon(*words: str) -> str:
    command = [sys.executable, "-m", "tarpon", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=120).stdout


main()
