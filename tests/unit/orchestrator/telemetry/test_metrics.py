"""What Prometheus is told is what is so: of a small model, of what was counted, and in the form that it reads."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from compute.upload.delivery import Trouble, UploadTotals
from orchestrator.admission.tls.authority import CertificateUse, new_secret, read_secret, signing
from orchestrator.admission.tls.certificates import LIFE, issue
from orchestrator.admission.tls.served_certificate import Served
from orchestrator.jobs.views import job_state
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import BindingRecord, ExecutionRecord, JobRecord, NodeRecord, SpecRecord, VerifiedResult
from orchestrator.state.by_instant import LEAST_CLEARED, ByInstant
from orchestrator.state.model import Model
from orchestrator.storage.lease import Lease
from orchestrator.storage.store import Store
from orchestrator.storage.stream_usage import StreamUsage
from orchestrator.telemetry.measures import MOST_AT_ONCE, Measures
from orchestrator.telemetry.metrics import Metrics
from orchestrator.telemetry.surroundings import certificate_metrics
from orchestrator.webhooks.totals import WebhookTotals
from shared.ids import JobId, NodeId, execution_key
from shared.jobs.spec import Job
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.protocol.messages import Heartbeat, NodeInfo
from shared.runtime.metrics import Distribution, Gauge, Histogram, Total, connection_metrics, exposition, plain
from shared.settings.secret import Secret
from tests.audit_logs import audit_in
from tests.builders import new_execution, new_job_record, new_task

SECOND = 10**9
NOW = 1000 * SECOND
NODE = NodeId("n-1")
RESULT = VerifiedResult(etag='"a"', size_bytes=700, sha256="f" * 64, publish_seconds=1.5, retries=2, renewals=1)


class Told:
    """A model that is fed, and what Prometheus would be told of it."""

    def __init__(self) -> None:
        self.model = Model(max_attempts=3)
        self.nodes = Nodes(self.model, disconnect_seconds=60.0)
        self.measures = Measures()
        connection = Connection(["nats://127.0.0.1:1"])
        self.metrics = Metrics(
            audit=audit_in(Path("nothing is written")),
            model=self.model,
            store=Store(connection, self.model),
            nodes=self.nodes,
            measures=self.measures,
            connection=connection,
            lease=Lease(connection, "o-1"),
            bucket=lambda: None,
            streams=StreamUsage(connection),
            certificates={},
            webhooks=WebhookTotals(),
            clock=lambda: NOW,
        )
        self._revision = 0

    def feed(self, key: str, record: JobRecord | SpecRecord | ExecutionRecord | NodeRecord) -> None:
        self._revision += 1
        self.model.apply(key, record, self._revision)

    def job(self, name: str, *, at: int = 900, count: int = 1, **more: DesiredState | str) -> JobId:
        task = new_task()
        job, instant = JobId(name), at * SECOND
        self.feed(subjects.spec_record(job, 1), SpecRecord(job=Job(type="batch", count=count, tasks=(task,))))
        record = new_job_record(job, at=instant)
        self.feed(subjects.job_record(job), replace(record, **more))
        return job

    def execution(self, job: JobId, state: ExecutionState, *, partition: int = 0) -> None:
        key = execution_key(job, 1, partition, 0)
        record = new_execution(state, of=job, partition=partition, at=NOW)
        self.feed(subjects.execution_record(key), record)

    def samples(self) -> dict[str, float]:
        return samples(exposition(self.metrics.collect()))


def samples(text: bytes) -> dict[str, float]:
    """As Prometheus reads them: by name and values of labels."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found[" ".join((sample.name, *sample.labels.values()))] = sample.value
    return found


@pytest.fixture
def told() -> Told:
    return Told()


class TestTheState:
    def test_jobs_and_executions_are_counted_by_state(self, told: Told) -> None:
        told.execution(told.job("j-1"), ExecutionState.RUNNING)
        told.execution(told.job("j-2"), ExecutionState.RUNNING)
        told.execution(JobId("j-2"), ExecutionState.COMPLETED)
        told.job("j-3")
        told.model.backlog.explain(told.job("j-4"), "no node has CPU enough")
        found = told.samples()
        jobs = {state: found[f"tarpon_jobs {state}"] for state in JobState}
        assert {state: count for state, count in jobs.items() if count} == {
            "Running": 1,
            "Completed": 1,
            "Pending": 1,
            "Queued": 1,
        }
        executions = {state: found[f"tarpon_executions {state}"] for state in ExecutionState}
        assert {state: count for state, count in executions.items() if count} == {"Running": 1, "Completed": 1}

    def test_a_job_that_need_not_wait_any_more_is_not_queued(self, told: Told) -> None:
        job = told.job("j-1", count=2)
        told.model.backlog.explain(job, "no CPU")
        assert told.samples()["tarpon_jobs Queued"] == 1
        told.model.backlog.unexplain(job)
        found = told.samples()
        assert (found["tarpon_jobs Queued"], found["tarpon_jobs Pending"]) == (0, 1)

    def test_the_job_that_has_waited_longest_is_known_by_its_age(self, told: Told) -> None:
        assert told.samples()["tarpon_oldest_queued_job_seconds"] == 0
        told.job("j-1", at=990)
        old = told.job("j-2", at=940)
        assert told.samples()["tarpon_oldest_queued_job_seconds"] == 60
        told.execution(old, ExecutionState.NEW)
        assert told.samples()["tarpon_oldest_queued_job_seconds"] == 10

    def test_nodes_are_counted_by_connection(self, told: Told) -> None:
        for name in ("n-1", "n-2", "n-3"):
            info = NodeInfo(node_id=NodeId(name), version="1")
            told.feed(subjects.node_record(info.node_id), NodeRecord(info=info))
        told.nodes.on_heartbeat(NODE, Heartbeat(session="s"))
        found = told.samples()
        assert (found["tarpon_nodes CONNECTED"], found["tarpon_nodes DISCONNECTED"]) == (1, 2)

    def test_who_does_not_lead_and_is_not_connected_says_so(self, told: Told) -> None:
        found = told.samples()
        assert (found["tarpon_lease_held"], found["tarpon_nats_connected"]) == (0, 0)
        assert found["tarpon_nats_reconnects_total"] == 0

    def test_what_cannot_be_bounded_is_no_label(self, told: Told) -> None:
        told.execution(told.job("j-secret-name"), ExecutionState.RUNNING)
        told.measures.requests["GET", "/api/v1/orchestrator/jobs/{job}", "200"] += 1
        assert b"j-secret-name" not in exposition(told.metrics.collect())
        assert b"n-1" not in exposition(told.metrics.collect())


class TestTheSurroundings:
    def test_rejected_nodes_are_not_missed(self, told: Told) -> None:
        info = NodeInfo(node_id=NODE, version="1")
        told.feed(subjects.node_record(NODE), NodeRecord(info=info))
        assert told.samples()["tarpon_nodes DISCONNECTED"] == 1
        told.model.rejected[NODE] = BindingRecord(public_key="U", rejected=1)
        assert told.samples()["tarpon_nodes DISCONNECTED"] == 0

    def test_results_that_wait_are_those_of_connected_nodes(self, told: Told) -> None:
        told.feed(subjects.node_record(NODE), NodeRecord(info=NodeInfo(node_id=NODE, version="1")))
        assert told.samples()["tarpon_results_waiting_for_s3"] == 0
        told.nodes.on_heartbeat(NODE, Heartbeat(session="s", waiting_for_s3=3))
        assert told.samples()["tarpon_results_waiting_for_s3"] == 3
        told.nodes.on_heartbeat(NODE, Heartbeat(session="s", waiting_for_s3=3, leaving=True))
        assert told.samples()["tarpon_results_waiting_for_s3"] == 0

    def test_warnings_are_counted_by_code(self, told: Told) -> None:
        told.feed(subjects.node_record(NODE), NodeRecord(info=NodeInfo(node_id=NODE, version="of-old")))
        told.nodes.on_heartbeat(NODE, Heartbeat(session="s"))
        found = told.samples()
        assert (found["tarpon_node_warnings NodeVersionDiffers"], found["tarpon_node_warnings NodeDiskFull"]) == (1, 0)

    def test_the_end_of_a_certificate_is_that_of_the_one_shown_now(self) -> None:
        authority, begun = read_secret(Secret(new_secret(b"0" * 32, now=1.7e9))), (1.7e9, 1.8e9)
        pairs = [issue(signing(authority, CertificateUse.SERVERS, now=at), ("localhost",), now=at) for at in begun]
        served = Served(None, pairs[0])  # type: ignore[arg-type]  # where it is does not matter
        (before,) = certificate_metrics({"api": served})
        served.shown = pairs[1]
        (after,) = certificate_metrics({"api": served})
        assert isinstance(before, Gauge)
        assert isinstance(after, Gauge)
        life = LIFE.total_seconds()
        assert (before.values["api",], after.values["api",]) == (1.7e9 + life, 1.8e9 + life)


class TestTheWork:
    def test_published_results_add_up(self, told: Told) -> None:
        told.measures.published(RESULT)
        told.measures.published(RESULT)
        found = told.samples()
        assert found["tarpon_published_results_total"] == 2
        assert found["tarpon_published_bytes_total"] == 1400
        assert found["tarpon_publish_seconds_total"] == 3
        assert found["tarpon_publish_retries_total"] == 4
        assert found["tarpon_publish_renewals_total"] == 2

    @pytest.mark.parametrize("lie", [-5, 10**18])
    def test_no_node_can_turn_a_counter_back_or_spoil_it(self, told: Told, lie: int) -> None:
        told.measures.published(replace(RESULT, publish_seconds=float(lie), retries=lie, renewals=lie))
        found = told.samples()
        for name in ("seconds", "retries", "renewals"):
            assert 0 <= found[f"tarpon_publish_{name}_total"] <= MOST_AT_ONCE

    def test_latencies_are_in_the_bucket_of_their_bound(self, told: Told) -> None:
        told.measures.placed(50_000_000)
        told.measures.placed(-1)
        told.measures.report_seconds.add(0.3)
        found = told.samples()
        assert found["tarpon_placement_seconds_bucket 0.025"] == 1
        assert found["tarpon_placement_seconds_bucket 0.05"] == 2
        assert (found["tarpon_placement_seconds_count"], found["tarpon_placement_seconds_sum"]) == (2, 0.05)
        assert found["tarpon_report_seconds_bucket 0.25"] == 0
        assert found["tarpon_report_seconds_bucket +Inf"] == 1

    def test_requests_are_told_by_method_route_and_status(self, told: Told) -> None:
        told.measures.requests["GET", "/readyz", "503"] += 3
        assert told.samples()["tarpon_api_requests_total GET /readyz 503"] == 3


class TestTheForm:
    def test_each_kind_is_read_back(self) -> None:
        distribution = Distribution([1, 2.5])
        for value in (0.5, 1.0, 2.0, 9.0):
            distribution.add(value)
        text = exposition(
            [
                Gauge("a", "About a.", {("x",): 1.5, ("y",): 0.0}, ("which",)),
                Total("b", "About b.", plain(7)),
                Histogram("c", "About c.", distribution),
            ]
        )
        found = samples(text)
        assert (found["a x"], found["a y"], found["b_total"]) == (1.5, 0, 7)
        assert [found[f"c_bucket {bound}"] for bound in ("1.0", "2.5", "+Inf")] == [2, 3, 4]
        assert (found["c_sum"], found["c_count"]) == (12.5, 4)
        assert found["process_open_fds"] > 0
        assert b"_created" not in text

    def test_only_a_connection_after_the_first_is_a_reconnection(self) -> None:
        for connections, reconnects in ((0, 0), (1, 0), (4, 3)):
            found = samples(exposition(connection_metrics(connected=True, connections=connections)))
            assert (found["tarpon_nats_reconnects_total"], found["tarpon_nats_connected"]) == (reconnects, 1)


def test_what_happens_to_one_upload_is_counted_for_its_node() -> None:
    totals = UploadTotals()
    for _ in range(2):
        trouble = Trouble(lambda _: None, (), totals)
        trouble.retried()
        trouble.renewed()
        trouble.stored(100)
        assert (trouble.retries, trouble.renewals) == (1, 1)
    assert (totals.bytes, totals.retries, totals.renewals) == (200, 2, 2)


class TestTheOldest:
    @settings(max_examples=100, deadline=None)
    @given(steps=st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 9))))
    def test_is_known_whoever_comes_and_goes(self, steps: list[tuple[str, int | None]]) -> None:
        oldest, there = ByInstant[str](), dict[str, int]()
        for item, instant in steps:
            if instant is None:
                oldest.drop(item)
                there.pop(item, None)
            else:
                oldest.put(item, instant)
                there[item] = instant
            assert oldest.instant == min(there.values(), default=None)
            assert len(oldest) == len(there)

    def test_what_has_gone_takes_no_room_behind_one_that_stays(self) -> None:
        oldest = ByInstant[str]()
        oldest.put("stays", 0)
        for number in range(10 * LEAST_CLEARED):
            oldest.put(f"{number}", number)
            oldest.drop(f"{number}")
        assert oldest.instant == 0
        assert len(oldest._heap) <= 2 * LEAST_CLEARED


@pytest.mark.parametrize("seed", range(5))
def test_counts_stay_those_of_the_model_whatever_happens(told: Told, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        job = JobId(f"j-{chance.randrange(8)}")
        match chance.randrange(5):
            case 0:
                told.job(job, at=chance.randrange(900), count=chance.randrange(1, 4))
            case 1:
                told.execution(job, chance.choice(list(ExecutionState)), partition=chance.randrange(3))
            case 2:
                told.model.backlog.explain(job, chance.choice(["no CPU", "no node", ""]))
            case 3:
                told.model.backlog.unexplain(job)
            case _:
                told.job(job, desired=DesiredState.STOPPED)
    model = told.model
    shown = [job_state(entry, model.backlog.reasons.get(job, "")).state_type for job, entry in model.jobs.items()]
    assert {state: model.backlog.job_states[state] for state in JobState} == {
        state: shown.count(state) for state in JobState
    }
    held = [each.state for entry in model.jobs.values() for each in entry.executions.values()]
    assert {state: model.executions.states[state] for state in ExecutionState} == {
        state: held.count(state) for state in ExecutionState
    }
    waiting = [
        entry.job.submit_time
        for entry in model.jobs.values()
        if entry.progress.state is JobState.PENDING and entry.progress.missing
    ]
    assert model.backlog.oldest.instant == min(waiting, default=None)
