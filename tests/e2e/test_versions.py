"""An earlier version and this one side by side: on what is stored, on the wire, in journals, and back again."""

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator.nats_servers.server import find_program
from tests.e2e.stack import NO_SANDBOX, Stack, process_job
from tests.earlier_version import earlier_python


class Upgrade:
    """One orchestrator and its nodes, each of which is started with one version and then with another."""

    def __init__(self, stack: Stack, gates: Path) -> None:
        self.stack = stack
        self.old = str(earlier_python())
        self._gates = gates

    def orchestrate(self, python: str = sys.executable) -> None:
        """By another version, on the same data."""
        if self.stack.orchestrator is not None:
            self.stack.orchestrator.stop()
        self.stack.start_orchestrator(python=python, Orchestrator_NATS_ServerBinary=find_program())

    def node(self, name: str, python: str = "", **settings: Any) -> None:
        self.stack.start_compute(name, python=python, Engines_Types_Process_Sandbox=NO_SANDBOX, **settings)

    def running_job(self, gate: str) -> str:
        """A job that runs until its gate is opened."""
        wait = f"until [ -e {self._gates / gate} ]; do sleep 0.1; done; echo {gate} > outputs/file"
        job = self.stack.submit(process_job(wait, Publisher={"Type": "s3managed"}))
        self.stack.wait_state(job, "Running")
        return job

    def open(self, gate: str) -> None:
        (self._gates / gate).touch()

    def completes(self, job: str) -> dict[str, Any]:
        ended = self.stack.wait_ended(job)
        assert ended["Job"]["State"]["StateType"] == "Completed", ended["Job"]["State"]
        return ended


def executions_of(described: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["ID"], each["NodeID"]) for each in described["Executions"]["Items"]]


def test_versions_work_side_by_side_upgraded_one_by_one_and_back_again(stack: Stack, tmp_path: Path) -> None:
    upgrade = Upgrade(stack, tmp_path)
    upgrade.orchestrate(upgrade.old)
    upgrade.node("node-a", upgrade.old)
    before = upgrade.completes(stack.submit(process_job("echo before > outputs/file")))
    line = json.loads(stack.cli("node", "token", "create", "--output", "json").stdout)
    first = upgrade.running_job("first")

    upgrade.orchestrate()
    upgrade.open("first")
    assert len(executions_of(upgrade.completes(first))) == 1, "an old node goes on with a new orchestrator"
    upgrade.completes(stack.submit(process_job("true")))
    second = upgrade.running_job("second")
    stack.computes["node-a"].kill()
    upgrade.open("second")
    upgrade.node("node-a")
    upgrade.completes(second)
    upgrade.node("node-b", token=line["Text"])
    third = upgrade.running_job("third")
    after = upgrade.completes(stack.submit(process_job("echo after > outputs/file")))

    upgrade.orchestrate(upgrade.old)
    upgrade.open("third")
    assert len(executions_of(upgrade.completes(third))) == 1, "a new node goes on with an old orchestrator"
    for known in (before, after):
        assert executions_of(stack.describe(known["Job"]["ID"])) == executions_of(known)
    last = upgrade.completes(stack.submit(process_job("echo last > outputs/file")))
    stack.cli("job", "get", last["Job"]["ID"], "--output-dir", str(tmp_path / "got"))
    upgrade.orchestrate()
    for known in (before, after, last):
        assert executions_of(stack.describe(known["Job"]["ID"])) == executions_of(known)
