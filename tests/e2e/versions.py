"""One orchestrator and its nodes, upgraded one by one and back again while jobs run (no tests in here)."""

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator.nats_servers.server import find_program
from tests.e2e.stack import NO_SANDBOX, Stack, process_job


class Upgrade:
    """`old` is the interpreter with the other version; each process is started with it, or with the tests' own."""

    def __init__(self, stack: Stack, old: str, gates: Path) -> None:
        self.stack = stack
        self.old = old
        self._gates = gates

    def orchestrate(self, python: str = sys.executable) -> None:
        """By another version, on the same data."""
        if self.stack.orchestrator is not None:
            self.stack.orchestrator.stop()
        self.stack.start_orchestrator(python=python, Orchestrator_NATS_ServerBinary=find_program())

    def node(self, name: str, python: str = "", *, token: str | None = None) -> None:
        self.stack.start_compute(name, python=python, token=token, Engines_Types_Process_Sandbox=NO_SANDBOX)

    def running_job(self, gate: str) -> str:
        """A job that runs until its gate is opened."""
        wait = f"until [ -e {self._gates / gate} ]; do sleep 0.1; done; echo {gate} > outputs/file"
        job = self.stack.submit(process_job(wait))
        self.stack.wait_state(job, "Running")
        return job

    def open(self, gate: str) -> None:
        (self._gates / gate).touch()

    def completes(self, job: str) -> dict[str, Any]:
        ended = self.stack.wait_ended(job)
        assert ended["Job"]["State"]["StateType"] == "Completed", ended["Job"]["State"]
        return ended

    def run_job(self) -> dict[str, Any]:
        return self.completes(self.stack.submit(process_job("echo hello > outputs/file")))

    def is_as_before(self, *ended: dict[str, Any]) -> None:
        for known in ended:
            assert executions_of(self.stack.describe(known["Job"]["ID"])) == executions_of(known)


def executions_of(described: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["ID"], each["NodeID"]) for each in described["Executions"]["Items"]]


def there_and_back(upgrade: Upgrade) -> None:
    """Orchestrator first, then a node with its journal, a new node with an old token, and the orchestrator back."""
    stack = upgrade.stack
    upgrade.orchestrate(upgrade.old)
    upgrade.node("node-a", upgrade.old)
    before = upgrade.run_job()
    token = json.loads(stack.cli("node", "token", "create", "--output", "json").stdout)["Text"]
    first = upgrade.running_job("first")

    upgrade.orchestrate()
    upgrade.open("first")
    assert len(executions_of(upgrade.completes(first))) == 1, "an old node goes on with a new orchestrator"
    upgrade.run_job()
    second = upgrade.running_job("second")
    stack.computes["node-a"].kill()
    upgrade.open("second")
    upgrade.node("node-a")
    upgrade.completes(second)
    upgrade.node("node-b", token=token)
    third = upgrade.running_job("third")
    after = upgrade.run_job()

    upgrade.orchestrate(upgrade.old)
    upgrade.open("third")
    assert len(executions_of(upgrade.completes(third))) == 1, "a new node goes on with an old orchestrator"
    last = upgrade.run_job()
    upgrade.is_as_before(before, after, last)
    stack.cli("job", "get", last["Job"]["ID"], "--output-dir", str(stack.root / "got"))
    upgrade.orchestrate()
    upgrade.is_as_before(before, after, last)
    stack.cli("job", "verify", after["Job"]["ID"])


def nodes_first(upgrade: Upgrade) -> None:
    """A node of this version with an orchestrator of the other one from the beginning, and back to a node of that."""
    upgrade.orchestrate(upgrade.old)
    upgrade.node("node-a")
    before = upgrade.run_job()
    held = upgrade.running_job("held")
    upgrade.stack.computes["node-a"].kill()
    upgrade.open("held")
    upgrade.node("node-a", upgrade.old)
    upgrade.completes(held)
    upgrade.run_job()
    upgrade.is_as_before(before)
