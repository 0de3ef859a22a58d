"""Several orchestrators on one NATS cluster: whichever dies or hangs, the others decide, and no job notices."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.cluster import REQUEST_SECONDS, Cluster, Orchestrator
from tests.e2e.failover import Flow, judge, kill_leader, kill_nats, pause_leader
from tests.e2e.stack import assert_nothing_leaked, wait_until
from tests.servers import S3Server

TAKE_OVER_SECONDS = 5.0


@pytest.fixture
def cluster(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), s3_server)
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.kill()


def test_no_job_is_lost_or_doubled_while_leaders_are_killed_and_paused(cluster: Cluster) -> None:
    flow = Flow(cluster)
    with flow.going():
        faults = [kill_leader(cluster), pause_leader(cluster), kill_leader(cluster), pause_leader(cluster)]
        faults.append(kill_nats(cluster, 0))
    outcome = judge(cluster, flow, faults)
    assert outcome.accepted > 50
    assert outcome.lost == {}
    assert outcome.doubled == {}
    assert outcome.executions == outcome.accepted, "no node died, so each part ran once"
    assert max(outcome.take_overs["kill"] + outcome.take_overs["pause"]) < TAKE_OVER_SECONDS
    assert [each for each in outcome.failed_reads if each[0] > REQUEST_SECONDS] == []
    assert len(outcome.failed_reads) <= len(faults)
    assert outcome.differing == {}


def test_a_secret_that_one_orchestrator_stored_is_given_by_whichever_leads(cluster: Cluster) -> None:
    value = "correct-horse-battery-staple"
    task = {
        "Name": "main",
        "Engine": {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", "[ ${#PASSWORD} = 28 ]"]}},
        "Env": {"PASSWORD": "secret:db"},
        "FailOnExitCode": True,
    }
    leader = cluster.wait_leader()
    other = next(each for each in cluster.orchestrators if each is not leader)
    other.api("/orchestrator/secrets/db", {"Value": value}, "PUT")
    for asked in (leader, other):
        job = asked.api("/orchestrator/jobs", {"Job": {"Type": "batch", "Tasks": [task]}}, "PUT")["JobID"]
        wait_until(partial(has_completed, asked, job), within=30, what="the job has completed")
        if asked is leader:
            leader.kill()
            leader.is_away = True
            cluster.wait_leader()
    assert_nothing_leaked(cluster.root, [], {value})


def has_completed(orchestrator: Orchestrator, job: str) -> bool:
    return bool(orchestrator.api(f"/orchestrator/jobs/{job}")["Job"]["State"]["StateType"] == "Completed")
