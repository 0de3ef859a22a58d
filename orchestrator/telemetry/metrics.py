"""Metrics of an orchestrator for Prometheus: from the model at that moment, and from what was counted."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from orchestrator.admission.bounds.held_back import Bound
from orchestrator.admission.budgets import Traffic
from orchestrator.admission.tls.served_certificate import Served
from orchestrator.audit.recorder import Audit
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.warnings import NodeWarning, warnings_about
from orchestrator.s3.bucket import Bucket
from orchestrator.state.model import Model
from orchestrator.storage.lease import Lease
from orchestrator.storage.store import Store
from orchestrator.storage.stream_usage import StreamUsage
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from orchestrator.telemetry.queue_metrics import queue_metrics
from orchestrator.telemetry.schedule_metrics import schedule_metrics
from orchestrator.telemetry.surroundings import backup_metrics, bucket_metrics, certificate_metrics, stream_metrics
from orchestrator.webhooks.totals import WebhookTotals
from shared.ids import NodeId
from shared.jobs.states import ExecutionState, JobState
from shared.messaging.transport import Connection
from shared.protocol.rest_nodes import CONNECTED, DISCONNECTED
from shared.runtime.metrics import Gauge, Histogram, Metric, Total, Values, build_metric, connection_metrics, plain
from shared.runtime.version import version_text


class Metrics:
    """`clock` gives nanoseconds since 1970. Nothing here takes longer because there are more jobs."""

    def __init__(
        self,
        *,
        model: Model,
        store: Store,
        nodes: Nodes,
        measures: Measures,
        connection: Connection,
        lease: Lease,
        audit: Audit,
        bucket: Callable[[], Bucket | None],
        streams: StreamUsage,
        certificates: Mapping[str, Served],
        webhooks: WebhookTotals,
        queue_labels: Sequence[str] = (),
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._model = model
        self._store = store
        self._nodes = nodes
        self._measures = measures
        self._connection = connection
        self._lease = lease
        self._audit = audit
        self._bucket = bucket
        self._streams = streams
        self._certificates = certificates
        self._webhooks = webhooks
        self._queue_labels = queue_labels
        self._clock = clock

    def collect(self) -> tuple[Metric, ...]:
        return (
            *self._state(),
            *self._work(),
            *self._audited(),
            *bucket_metrics(self._bucket()),
            *backup_metrics(self._model.backed_up),
            *stream_metrics(self._streams.streams),
            Gauge("tarpon_webhooks_waiting", "Webhooks that are to be sent still.", plain(self._webhooks.waiting)),
            *schedule_metrics(self._model, self._measures, now=self._clock()),
            *queue_metrics(self._model, self._queue_labels, now=self._clock()),
            *certificate_metrics(self._certificates),
            build_metric(version_text()),
            *connection_metrics(connected=self._connection.connected, connections=self._connection.connections),
        )

    def _state(self) -> tuple[Metric, ...]:
        model = self._model
        model.find_out()
        jobs: Values = {(state.value,): float(model.backlog.job_states[state]) for state in JobState}
        executions: Values = {(state.value,): float(model.executions.states[state]) for state in ExecutionState}
        connections = Counter(self._nodes.is_connected(node) for node in model.nodes if node not in model.rejected)
        nodes: Values = {(CONNECTED,): float(connections[True]), (DISCONNECTED,): float(connections[False])}
        waiting = sum(map(self._waiting_for_s3, model.nodes))
        oldest = model.backlog.oldest.instant
        age = max(0, self._clock() - oldest) / 1e9 if oldest is not None else 0.0
        return (
            Gauge("tarpon_jobs", "Jobs, by state.", jobs, ("state",)),
            Gauge("tarpon_executions", "Executions, also ended ones, by state.", executions, ("state",)),
            Gauge(
                "tarpon_oldest_queued_job_seconds",
                "For how long the job that has waited longest has waited for a node; 0 where none waits.",
                plain(age),
            ),
            Gauge("tarpon_nodes", "Compute nodes that are not rejected, by connection.", nodes, ("connection",)),
            Gauge("tarpon_node_warnings", "Connected nodes with a warning, by its code.", self._warnings(), ("code",)),
            Gauge("tarpon_results_waiting_for_s3", "Results that S3 does not take from the nodes.", plain(waiting)),
            Gauge(
                "tarpon_unfinished_uploads",
                "Executions that have left an upload in parts which could not be aborted yet.",
                plain(len(model.endings.uploads)),
            ),
            Gauge("tarpon_jobs_being_removed", "Jobs that are being removed.", plain(len(model.endings.removals))),
            Gauge("tarpon_lease_held", "Whether this orchestrator leads.", plain(self._lease.is_held)),
        )

    def _waiting_for_s3(self, node: NodeId) -> int:
        present = self._nodes.presence(node)
        if present is None or present.heartbeat is None or not self._nodes.is_connected(node):
            return 0
        return present.heartbeat.waiting_for_s3

    def _warnings(self) -> Values:
        found = Counter(
            warning.code
            for record in self._model.nodes.values()
            for warning in warnings_about(record, self._nodes, version=version_text())
        )
        return {(code.value,): float(found[code.value]) for code in NodeWarning}

    def _audited(self) -> tuple[Metric, ...]:
        health = self._audit.health
        return (
            Gauge(
                "tarpon_audit_writable",
                "Whether the audit log can be written; nothing is changed while it cannot.",
                plain(health.problem is None),
            ),
            Gauge("tarpon_audit_last_line", "The number of the last line of the audit log.", plain(health.seq)),
            Total("tarpon_audit_lost_events", "Events that have no line in the audit log.", plain(health.lost)),
        )

    def _work(self) -> tuple[Metric, ...]:
        counted = self._measures
        over: Values = {(kind.value,): float(self._nodes.budgets.over_in_all[kind]) for kind in Traffic}
        held_back: Values = {(bound.value,): float(counted.held_back.in_all[bound]) for bound in Bound}
        requests: Values = {labels: float(count) for labels, count in counted.requests.items()}
        return (
            Histogram(
                "tarpon_placement_seconds",
                "From a job's submit until a part of it is assigned to a node for the first time.",
                counted.placement_seconds,
            ),
            Histogram(
                "tarpon_report_seconds",
                "From a report's arrival until it is stored, with the look at its result in S3.",
                counted.report_seconds,
            ),
            Total(
                "tarpon_reports_set_aside",
                "Reports that were not understood, or spoke of what their node does not hold.",
                plain(counted.reports_set_aside),
            ),
            Total(
                "tarpon_node_messages_over_budget",
                "What nodes sent beyond their budgets: reports come again later, the rest is dropped or refused.",
                over,
                ("kind",),
            ),
            Total(
                "tarpon_held_back",
                "What people, programs and strangers did beyond their bounds, which made them wait or was refused.",
                held_back,
                ("bound",),
            ),
            Total(
                "tarpon_records_not_taken",
                "Stored records that could not be taken in, by a fault of Tarpon.",
                plain(self._store.failures),
            ),
            Total(
                "tarpon_returned_records",
                "Records that were removed, that NATS has brought back, and that are removed again.",
                plain(self._store.returned.total),
            ),
            Total("tarpon_published_results", "Results that were verified in S3.", plain(counted.published_results)),
            Total("tarpon_published_bytes", "Bytes of these results, packed.", plain(counted.published_bytes)),
            Total("tarpon_publish_seconds", "How long nodes published these results.", plain(counted.publish_seconds)),
            Total("tarpon_publish_retries", "Repeated uploads for these results.", plain(counted.publish_retries)),
            Total("tarpon_publish_renewals", "Renewed URLs for these results.", plain(counted.publish_renewals)),
            Total(
                "tarpon_replicas_outvoted",
                "Replicas of parts that gave another result than others had agreed about.",
                plain(counted.outvoted),
            ),
            Total(
                "tarpon_webhooks",
                "Tries to send a webhook, by what became of each.",
                {(outcome,): float(count) for outcome, count in self._webhooks.counts.items()},
                ("outcome",),
            ),
            Total("tarpon_api_requests", "Requests to the API that were answered.", requests, _REQUEST_LABELS),
        )

    def __repr__(self) -> str:
        return f"<Metrics of {self._model!r}>"


_REQUEST_LABELS = ("method", "route", "status")
