"""Several orchestrators on one NATS cluster: whichever dies or hangs, the others decide, and no job notices."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import REQUEST_SECONDS, Cluster
from tests.e2e.failover import Flow, judge, kill_leader, kill_nats, pause_leader
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
