"""The assembly: which components an orchestrator has, for all that serves or decides. Nothing is started here."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.admission.bounds.company import Company
from orchestrator.admission.budgets import Budgets
from orchestrator.admission.result_signing import ResultSigner
from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.admission.tls.served_certificate import Served
from orchestrator.audit.recorder import Audit
from orchestrator.inputs.allowed import Allowed
from orchestrator.inputs.input_nodes import InputNodes
from orchestrator.inputs.listings import Listings
from orchestrator.inputs.resolvers import InputResolvers, Resolver
from orchestrator.inputs.s3_objects import S3Objects
from orchestrator.inputs.sent_data import DataService, data_service
from orchestrator.inputs.sent_data_inputs import SentDataInputs
from orchestrator.inputs.shares import InputShares
from orchestrator.jobs.joint_submissions import JointSubmissions
from orchestrator.jobs.removal.removals import Removals
from orchestrator.jobs.result_inputs import ResultArchives
from orchestrator.jobs.submissions import PublisherNotConfigured, PublisherNotReady, Submissions
from orchestrator.jobs.waits import JobWaits
from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.nodes.orchestrators import Orchestrators
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.reachability import unreachable_publishers
from orchestrator.rules.attempts import AttemptBackoff
from orchestrator.s3.locations import Locations
from orchestrator.schedules.changes import ScheduleChanges
from orchestrator.schedules.runs import ScheduledRuns
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.model import Model
from orchestrator.storage.lease import Lease
from orchestrator.storage.store import Store
from orchestrator.storage.stream_usage import StreamUsage
from orchestrator.telemetry.hour import LastHour
from orchestrator.telemetry.measures import Measures
from orchestrator.telemetry.traces import Traces
from orchestrator.webhooks.totals import WebhookTotals
from shared.jobs.inputs.kinds import ManagedInputParams, S3InputParams
from shared.messaging.transport import Connection
from shared.runtime.tracing import Tracing
from shared.settings.config import Config
from shared.settings.secret import Secret

MOST_REPLICAS = 3


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What the leader and both APIs are given, each of which takes from it what it works with."""

    config: Config
    name: str
    audit: Audit
    connection: Connection
    intake: Connection
    """Over which comes what nodes send at will: heartbeats and requests."""
    locations: Locations
    model: Model
    store: Store
    nodes: Nodes
    waits: JobWaits
    lease: Lease
    traces: Traces
    measures: Measures
    changing: Company
    """Who changes something over any of the APIs."""
    submissions: Submissions
    joint_submissions: JointSubmissions
    removals: Removals
    schedules: ScheduleChanges
    secrets: TaskSecrets
    listings: Listings
    data: DataService
    shares: InputShares
    input_nodes: InputNodes
    session_key: Secret
    """What the keys of the page's sessions follow from, which all orchestrators of a set share."""
    result_signer: ResultSigner
    certificates: Mapping[str, Served]
    """What is shown at each listener that has TLS."""
    streams: StreamUsage
    orchestrators: Orchestrators
    last_hour: LastHour
    webhooks: WebhookTotals
    webhook_secret: Secret


def assembled(
    config: Config,
    name: str,
    *,
    audit: Audit,
    index: JobIndex,
    connection: Connection,
    intake: Connection,
    locations: Locations,
    tracing: Tracing,
    budgets: Budgets,
    secrets_key: Secret,
    session_key: Secret,
    result_signer: ResultSigner,
    certificates: Mapping[str, Served],
    webhook_secret: Secret = Secret(),  # noqa: B008  # it is immutable
) -> Assembly:
    settings = config.orchestrator.scheduler
    backoff = AttemptBackoff(
        floor_seconds=float(settings.backoff.floor), ceiling_seconds=float(settings.backoff.ceiling)
    )
    model = Model(max_attempts=settings.max_attempts, backoff=backoff, index=index)
    mark_seconds = float(config.orchestrator.nats.removal_marks)
    lease = Lease(connection, name)
    store = Store(connection, model, replicas=replicas(config), mark_seconds=mark_seconds, is_led=lambda: lease.is_led)
    traces = Traces(tracing, model, leads=lambda: lease.is_held)
    secrets = TaskSecrets(model, store, secrets_key)
    listings = Listings(locations)
    data = data_service(model, store, locations, config.orchestrator.sent_data)
    submissions = Submissions(
        model,
        store,
        defaults=config.job_defaults.batch,
        check_publisher=lambda: check_publisher(locations),
        traces=traces,
        secrets=secrets,
        inputs=input_resolvers(config, locations, listings, data),
        schedules=config.orchestrator.schedules,
    )
    nodes = _nodes(config, model, budgets, rest_seconds=backoff.floor_seconds)
    archives = ResultArchives(model)
    with_results = config.publishers.types.s3managed.retention > 0
    return Assembly(
        config=config,
        name=name,
        audit=audit,
        connection=connection,
        intake=intake,
        locations=locations,
        model=model,
        store=store,
        nodes=nodes,
        waits=_waits(model, nodes, locations, lease),
        lease=lease,
        traces=traces,
        measures=Measures(),
        changing=Company(),
        submissions=submissions,
        joint_submissions=JointSubmissions(model, store, submissions),
        schedules=ScheduleChanges(model, store, ScheduledRuns(model, store, submissions)),
        removals=Removals(model, store, submissions, locations, with_results=with_results),
        secrets=secrets,
        listings=listings,
        data=data,
        shares=InputShares(model, listings, archives.of),
        input_nodes=InputNodes(model, InputKeepers(), archives.of),
        session_key=session_key,
        result_signer=result_signer,
        certificates=certificates,
        streams=StreamUsage(connection),
        orchestrators=Orchestrators(connection),
        last_hour=LastHour(model, store),
        webhooks=WebhookTotals(),
        webhook_secret=webhook_secret,
    )


def _nodes(config: Config, model: Model, budgets: Budgets, *, rest_seconds: float) -> Nodes:
    settings = config.orchestrator.node_manager
    return Nodes(
        model,
        disconnect_seconds=float(settings.disconnect_timeout),
        rest_seconds=rest_seconds,
        rest_after_differences=settings.rest_after_differences,
        return_seconds=float(settings.return_timeout),
        budgets=budgets,
    )


def _waits(model: Model, nodes: Nodes, locations: Locations, lease: Lease) -> JobWaits:
    return JobWaits(
        model,
        nodes,
        unreachable=lambda: unreachable_publishers(model.nodes, locations.current),
        leads=lambda: lease.is_held,
    )


def input_resolvers(config: Config, locations: Locations, listings: Listings, data: DataService) -> InputResolvers:
    """One for each kind of input that is looked up when a job is submitted."""
    managed = locations.current.location if locations.current is not None else None
    allowed = Allowed(config.input_sources.types.s3.allow, managed)
    resolvers: dict[str, Resolver] = {
        "s3": S3Objects(S3InputParams, allowed, locations),
        "s3managed": S3Objects(ManagedInputParams, allowed, locations),
        "upload": SentDataInputs(data.records, data.contents),
    }
    return InputResolvers(resolvers, listings, size_limit=config.input_sources.size_limit)


def replicas(config: Config) -> int:
    """On how many servers the state is. Two would be worse than one: both would have to be there."""
    settings = config.orchestrator.nats
    return settings.replicas or (MOST_REPLICAS if len(settings.servers) >= MOST_REPLICAS else 1)


def check_publisher(locations: Locations) -> None:
    """Raise PublisherNotConfigured or PublisherNotReady unless results can be stored."""
    if locations.current is None:
        raise PublisherNotConfigured
    problem = locations.current.health.outcome.problem
    if problem is not None:
        raise PublisherNotReady(
            f"The publisher s3managed cannot be used at present: {problem.message}",
            hint=problem.hint,
            details={"Cause": problem.code},
        )
