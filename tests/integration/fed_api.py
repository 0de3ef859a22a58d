"""The HTTP API over a model that a test fills itself, without NATS and S3 (no tests in here)."""

import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import aiohttp
from aiohttp import web

from orchestrator.admission.bounds.company import Company
from orchestrator.admission.bounds.held_back import Bound
from orchestrator.admission.result_signing import ResultSigner
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.api.app import Api
from orchestrator.assembly import Assembly, input_resolvers
from orchestrator.inputs.input_nodes import InputNodes
from orchestrator.inputs.listings import Listings
from orchestrator.inputs.sent_data import data_service
from orchestrator.inputs.shares import InputShares, no_archives
from orchestrator.jobs.joint_submissions import JointSubmissions
from orchestrator.jobs.removal.removals import Removals
from orchestrator.jobs.submissions import Submissions
from orchestrator.jobs.waits import JobWaits
from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.nodes.orchestrators import Orchestrators
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import Event, NodeRecord, SpecRecord, with_event
from orchestrator.s3.locations import Locations
from orchestrator.schedules.changes import ScheduleChanges
from orchestrator.schedules.runs import ScheduledRuns
from orchestrator.state.model import Model
from orchestrator.storage.lease import Lease
from orchestrator.storage.store import Store
from orchestrator.storage.stream_usage import StreamUsage
from orchestrator.telemetry.hour import LastHour
from orchestrator.telemetry.measures import Measures
from orchestrator.telemetry.traces import Traces
from orchestrator.webhooks.totals import WebhookTotals
from shared.ids import JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo, RunOutput
from shared.runtime.tracing import OFF
from shared.settings.config import ApiAuth, ApiSettings, BatchDefaults, Config
from shared.settings.secret import Secret
from shared.settings.sent_data import SentDataSettings
from tests.audit_logs import audit_in
from tests.builders import new_execution, new_job, new_job_record, new_task
from tests.integration.running import Answer, ask
from tests.nats_bus import new_user_seed
from tests.servers import HOST

JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
ANONYMOUS = Config(api=ApiSettings(auth=ApiAuth(anonymous=True)))
"""Most tests are not about who asks."""


class UnusedConnection(Connection):
    """There is no NATS, and nobody asks for it."""

    @property
    def connected(self) -> bool:
        return True


class FedApi:
    """Jobs are j-0001, j-0002 ..., created and changed a second apart, the latter in the opposite order."""

    def __init__(
        self, config: Config | None = None, *, audit_folder: Path | None = None, sign_in: SignIn | None = None
    ) -> None:
        connection, locations = UnusedConnection(["nats://127.0.0.1:1"]), Locations(None)
        self.model = Model(max_attempts=3)
        self.nodes = Nodes(self.model, disconnect_seconds=60.0)
        self.store = Store(connection, self.model)
        self.store.ready.set()
        self._folder = Path(gettempdir()) / f"tarpon-audit-{os.urandom(8).hex()}"
        self.audit = audit_in(audit_folder or self._folder)
        self._measures = Measures()
        self.last_hour = LastHour(self.model, self.store)
        traces = Traces(OFF, self.model, leads=lambda: True)
        secrets = TaskSecrets(self.model, self.store, Secret("of-the-tests"))
        listings = Listings(locations)
        data = data_service(self.model, self.store, locations, SentDataSettings())
        submissions = Submissions(
            self.model,
            self.store,
            defaults=BatchDefaults(),
            check_publisher=lambda: None,
            traces=traces,
            secrets=secrets,
            inputs=input_resolvers(Config(), locations, listings, data),
        )
        assembly = Assembly(
            config=config or ANONYMOUS,
            name="o-test",
            audit=self.audit,
            connection=connection,
            intake=connection,
            locations=locations,
            model=self.model,
            store=self.store,
            nodes=self.nodes,
            waits=JobWaits(self.model, self.nodes, unreachable=dict, leads=lambda: True),
            lease=Lease(connection, "o-test"),
            traces=traces,
            changing=Company(),
            measures=self._measures,
            submissions=submissions,
            joint_submissions=JointSubmissions(self.model, self.store, submissions),
            schedules=ScheduleChanges(self.model, self.store, ScheduledRuns(self.model, self.store, submissions)),
            removals=Removals(self.model, self.store, submissions, locations, with_results=False),
            secrets=secrets,
            listings=listings,
            data=data,
            shares=InputShares(self.model, listings),
            input_nodes=InputNodes(self.model, InputKeepers(), no_archives),
            certificates={},
            streams=StreamUsage(connection),
            orchestrators=Orchestrators(connection),
            last_hour=self.last_hour,
            session_key=Secret("of-the-tests"),
            result_signer=ResultSigner(Secret(new_user_seed())),
            webhooks=WebhookTotals(),
            webhook_secret=Secret(),
        )
        self.api = Api(assembly, disconnect=_nobody, sign_in=sign_in)
        self.port = 0
        self.connections: Callable[[], int] = int
        self._http: aiohttp.ClientSession | None = None
        self._revision = 0

    def held_back(self, bound: Bound) -> int:
        return self._measures.held_back.in_all[bound]

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.port}{path}"

    async def ask(self, path: str, method: str = "GET", body: Any = None, **more: Any) -> Answer:
        assert self._http is not None
        return await ask(self._http, self.url(path), method, body, **more)

    async def names(self, path: str) -> list[str]:
        """The names, or else the ids, of what is listed."""
        answer = await self.ask(path)
        assert answer.status == 200, answer.body
        items = answer.json["Items"] if "Items" in answer.json else [node["Info"] for node in answer.json["Nodes"]]
        return [item.get("Name") or item.get("NodeID") or item["ID"] for item in items]

    def feed(self, key: str, record: Any) -> None:
        self._revision += 1
        self.model.apply(key, record, self._revision)
        self.model.hear(key, self._revision)
        self.model.news.settle(self._revision)

    def job(self, number: int, *, version: int = 1, namespace: str = "default", count: int = 1, **labels: str) -> JobId:
        job = JobId(f"j-{number:04}")
        task = new_task()
        spec = new_job(f"job-{number}", count=count, tasks=(task,), namespace=namespace, labels=labels)
        record = new_job_record(
            job,
            namespace=namespace,
            name=f"job-{number}",
            version=version,
            at=number * 10**9,
            modify_time=(100_000 - number) * 10**9,
        )
        self.feed(subjects.spec_record(job, version), SpecRecord(job=spec))
        self.feed(subjects.job_record(job), record)
        return job

    def execution(
        self,
        job: JobId,
        partition: int,
        state: ExecutionState,
        *,
        version: int = 1,
        told: bool = False,
        exit_code: int | None = None,
    ) -> None:
        key = execution_key(job, version, partition, 0)
        record = new_execution(
            state,
            of=job,
            version=version,
            partition=partition,
            create_time=partition * 10**9,
            modify_time=(100_000 - partition) * 10**9,
            events=with_event((), Event(time=partition * 10**9, topic="Scheduling", message="Placed")) if told else (),
            output=None if exit_code is None else RunOutput(exit_code=exit_code),
        )
        self.feed(subjects.execution_record(key), record)

    def node(self, name: str, *, cpu: float = 1.0, **labels: str) -> None:
        info = NodeInfo(node_id=NodeId(name), version="0.1.0", labels=labels, capacity=Capacity(cpu=cpu))
        self.feed(subjects.node_record(info.node_id), NodeRecord(info=info))

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["FedApi"]:
        runner = web.AppRunner(self.api.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        self.connections = lambda: len(runner.server.connections if runner.server else ())
        try:
            with socket.create_server((HOST, 0)) as listening:
                self.port = listening.getsockname()[1]
                async with (
                    self.audit,
                    self.api.listener.serving(runner, listening, tls),
                    aiohttp.ClientSession() as self._http,
                ):
                    yield self
        finally:
            await runner.cleanup()
            shutil.rmtree(self._folder, ignore_errors=True)


async def _nobody(_: NodeId) -> None:
    """No node is connected."""
