"""A real Prometheus watches a real stack as deploy/ has it: the dashboard has data, and alerts come and go."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.documents import ROOT
from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, process_job, wait_until
from tests.e2e.test_backups import admin
from tests.programs import require_program
from tests.prometheus import Prometheus
from tests.servers import HOST, S3Server, free_ports, start_weed

DASHBOARD = ROOT / "deploy" / "grafana" / "tarpon.json"
WITHIN = 60.0


class Watched(NamedTuple):
    stack: Stack
    s3: S3Server
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """With TLS and keys, as the documents have it, and an S3 server of its own."""
    require_program("prometheus")
    s3 = start_weed(tmp_path_factory.mktemp("s3"))
    stack = Stack(tmp_path_factory.mktemp("watched"), s3, encrypted=True)
    stack.shown = tmp_path_factory.getbasetemp()
    (port,) = free_ports(1)
    try:
        orchestrator = stack.start_asking_orchestrator(publisher=stack.publisher_settings(ProbeInterval="1s"))
        admin(orchestrator, "backup", str(stack.root / "state.backup"))
        stack.start_compute("node-a", Compute_Metrics_Address=f"{HOST}:{port}")
        made = json.loads(
            stack.cli("user", "create", "prometheus", "--capability", "read:agent", "--output", "json").stdout
        )
        prometheus = Prometheus(
            tmp_path_factory.mktemp("watching") / "prometheus",
            targets={"tarpon-orchestrator": [f"{HOST}:{stack.api_port}"], "tarpon-compute": [f"{HOST}:{port}"]},
            key=made["Key"],
            authority=stack.authority_file,
        )
        prometheus.start()
        try:
            stack.wait_ended(stack.submit(process_job("echo hello")))
            yield Watched(stack, s3, prometheus)
        finally:
            prometheus.stop()
    finally:
        ended(stack)
        s3.stop()


def expressions() -> list[str]:
    """Every query of the dashboard, with the interval that Grafana would put in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [each.replace("$__rate_interval", "10s") for each in found]


def test_every_query_of_the_dashboard_gives_data(watched: Watched) -> None:
    left = expressions()
    assert len(left) > 30
    assert not [each for each in left if "$" in each]

    def is_drawn() -> bool:
        left[:] = [each for each in left if not watched.prometheus.query(each)]
        return not left

    wait_until(is_drawn, within=WITHIN, what=f"every query has data, but {left}")


def test_every_metric_of_the_alerts_is_there(watched: Watched) -> None:
    text = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()
    names = set(re.findall(r"\btarpon_[a-z0-9_]+", " ".join(re.findall(r"(?s)expr: (.*?)\n +(?:for|labels)", text))))
    assert len(names) > 20
    wait_until(
        lambda: not [each for each in names if not watched.prometheus.query(each)],
        within=WITHIN,
        what=f"all of {sorted(names)}",
    )


def test_nothing_is_wrong_with_a_stack_that_is_well(watched: Watched) -> None:
    wait_until(lambda: watched.prometheus.query("tarpon_bucket_usable == 1"), within=WITHIN, what="it is scraped")
    wait_until(
        lambda: watched.prometheus.firing() <= {"TarponNodeNotIsolated", "TarponDiskFills", "TarponNodeDiskFull"},
        within=WITHIN,
        what="no alert but those of this machine",
    )


def test_an_alert_fires_while_s3_is_away_and_ends_when_it_is_back(watched: Watched) -> None:
    stack, s3, prometheus = watched
    wait_until(lambda: "TarponBucketUnusable" not in prometheus.firing(), within=WITHIN, what="the bucket is usable")
    s3.stop()
    job = stack.submit(process_job("echo hello"))
    wait_until(
        lambda: {"TarponBucketUnusable", "TarponResultsWaitForS3"} <= prometheus.firing(),
        within=WITHIN,
        what="the alerts fire",
    )
    s3.start()
    wait_until(
        lambda: not {"TarponBucketUnusable", "TarponResultsWaitForS3"} & prometheus.firing(),
        within=WITHIN,
        what="the alerts have ended",
    )
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"


def test_an_alert_fires_while_a_node_is_away(watched: Watched) -> None:
    stack, _, prometheus = watched
    stack.computes["node-a"].stop()
    wait_until(
        lambda: {"TarponNodesDisconnected", "TarponNoNodes", "TarponNodeMetricsDown"} <= prometheus.firing(),
        within=WITHIN,
        what="the alerts fire",
    )
    stack.computes["node-a"].start()
    stack.wait_connected("node-a")
    wait_until(
        lambda: not {"TarponNodesDisconnected", "TarponNoNodes"} & prometheus.firing(),
        within=WITHIN,
        what="the alerts have ended",
    )
