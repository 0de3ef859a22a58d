"""The example of an autoscaler starts a node for jobs that wait for one, and drains it when there is no more work."""

import os
import sys

from tests.documents import ROOT
from tests.e2e.stack import Service, Stack, _plain_environment, process_job, wait_until
from tests.node_environment import node_python
from tests.sandbox import sandbox_setting
from tests.servers import HOST


def test_a_node_is_started_for_what_waits_and_goes_when_nothing_does(stack: Stack) -> None:
    stack.start_orchestrator(publisher={}, Orchestrator_Scheduler_QueueLabels="pool")
    stack.start_compute("node-a")
    environment = _plain_environment() | {
        "TARPON_API_HOST": HOST,
        "TARPON_API_PORT": str(stack.api_port),
        "TARPON_COMPUTE_AUTH_TOKEN": stack.join_secret(),
        "PYTHONPATH": os.fspath(ROOT),
    }
    settings = {
        "DataDir": f"{stack.root}/{{name}}",
        "NameProvider": "{name}",
        "Compute.Orchestrators": stack.nats_url,
        "Labels": "pool=gpu",
        "Engines.Types.Process.Enabled": "true",
        "Engines.Types.Process.Sandbox": sandbox_setting(),
        "Engines.Types.Docker.Socket": "",
    }
    node = [str(node_python()), "-m", "tarpon", "serve", "--compute"]
    node += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    scaler = Service(
        [
            *(sys.executable, str(ROOT / "deploy" / "examples" / "autoscale.py"), "--url", stack.api_url),
            *("--value", "gpu", "--every", "0.2", "--idle", "2", "--", *node),
        ],
        environment,
        stack.root / "autoscale.log",
    )
    constraint = [{"Key": "pool", "Operator": "=", "Values": ["gpu"]}]
    job = process_job("true", Publisher={"Type": ""}, Timeouts={"QueueTimeout": 120})
    jobs = [stack.submit(job | {"Constraints": constraint, "Name": name}) for name in ("a", "b")]
    scaler.start()
    try:
        for each in jobs:
            assert stack.wait_ended(each, within=90)["Job"]["State"]["StateType"] == "Completed"
        wait_until(lambda: len(stack.nodes()) == 1, within=60, what="the node is drained, stopped and forgotten")
        assert "2 jobs wait: starting auto-" in scaler.text()
    finally:
        scaler.kill()
