"""An earlier version and this one side by side: on what is stored, on the wire, in journals, and back again.

`make matrix PART=versions` does more of this, with more versions.
"""

from pathlib import Path

from orchestrator.nats_servers.server import find_program
from tests.e2e.stack import Stack, process_job, wait_until
from tests.e2e.versions import Upgrade, there_and_back
from tests.earlier_version import earlier_python


def test_versions_work_side_by_side_upgraded_one_by_one_and_back_again(stack: Stack, tmp_path: Path) -> None:
    there_and_back(Upgrade(stack, str(earlier_python()), tmp_path))


def test_an_earlier_version_decides_nothing_by_a_state_with_a_schedule(stack: Stack) -> None:
    stack.start_orchestrator()
    schedule = stack.submit(process_job("true") | {"Name": "nightly", "Schedule": "@daily"})
    stack.stop()
    earlier = stack.start_orchestrator(
        python=str(earlier_python()), ready=False, Orchestrator_NATS_ServerBinary=find_program()
    )
    wait_until(lambda: "decides nothing" in earlier.text(), within=60, what="it has seen what it does not know")
    earlier.stop()
    stack.start_orchestrator()
    described = stack.describe(schedule)
    assert described["Job"]["State"]["StateType"] == "Running"
    assert described["Job"]["ScheduleStatus"].keys() == {"Next"}
    assert not described["Executions"]["Items"]
