"""The leader: the one orchestrator that places jobs, answers nodes, and takes in their reports."""

import asyncio
import logging
from collections.abc import Callable

from orchestrator.assembly import Assembly
from orchestrator.dispatch.abandoned_uploads import AbandonedUploads
from orchestrator.dispatch.answers import ReplicaAnswers
from orchestrator.dispatch.assignments import Offers
from orchestrator.dispatch.commands import Commands
from orchestrator.dispatch.grants import Grants
from orchestrator.dispatch.judgements import Judgements
from orchestrator.dispatch.node_requests import NodeRequests
from orchestrator.dispatch.receipts import Receipts
from orchestrator.dispatch.reports import ReportIntake
from orchestrator.dispatch.result_records import ResultRecords
from orchestrator.dispatch.scheduler import Scheduler
from orchestrator.dispatch.steps import Steps
from orchestrator.inputs.data_sweep import DataSweep
from orchestrator.inputs.grants import InputGrants
from orchestrator.jobs.removal.retention import Retention
from orchestrator.nats_api.announcements import Announcements
from orchestrator.nodes.key_keeping import keep_keys
from orchestrator.nodes.reachability import unreachable_publishers
from orchestrator.rules.time_outs import SilenceLimits
from orchestrator.schedules.timetable import Timetable
from orchestrator.storage.leaders_store import LeadersStore
from orchestrator.webhooks.secret import secret_bytes
from orchestrator.webhooks.webhooks import Webhooks
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.quantities import parse_bytes, parse_cpu, parse_gpu
from shared.settings.config import MaxCapacity

_log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Leader:
    def __init__(self, assembly: Assembly) -> None:
        self._config = assembly.config
        self._connection = assembly.connection
        self._intake = assembly.intake
        self._model = assembly.model
        self._store = LeadersStore(assembly.store, assembly.connection, assembly.lease.check)
        self._lease = assembly.lease
        self._measures = assembly.measures
        self._traces = assembly.traces
        self._nodes = assembly.nodes
        self._locations = assembly.locations
        self._secrets = assembly.secrets
        self._audit = assembly.audit
        self._data = assembly.data
        self._shares = assembly.shares
        self._input_nodes = assembly.input_nodes
        self._listings = assembly.listings
        self._result_signer = assembly.result_signer
        self._webhook_secret = assembly.webhook_secret
        self._webhooks = assembly.webhooks
        self._submissions = assembly.submissions
        self._offers: Offers | None = None

    async def decide(self) -> None:
        """Lead until cancelled, which stops every decision at once."""
        await self._store.ready.wait()
        await self._catch_up()
        self._nodes.begin()
        try:
            await self._lead()
        finally:
            self._offers = None

    async def _lead(self) -> None:
        abandoned = AbandonedUploads(self._model, self._store, self._locations)
        most_files = self._config.publishers.types.s3managed.most_files
        grants = Grants(self._model, self._store, self._locations, abandoned, self._audit, most_files=most_files)
        async with asyncio.TaskGroup() as group:
            steps = Steps(self._model, self._store)
            offers = self._offers = self._offers_in(group, grants, steps)
            commands = Commands(offers, Receipts(group, self._connection))
            answers, records = ReplicaAnswers(self._locations), self._result_records()
            judgements = Judgements(
                self._model, self._store, steps, answers, measures=self._measures, on_verified=records.note
            )
            scheduler = self._scheduler(offers, steps, commands, judgements.look)
            group.create_task(judgements.run(), name="judgements")
            group.create_task(Announcements(self._connection, self._model).run(), name="announcements")
            group.create_task(abandoned.run(), name="abandoned uploads")
            group.create_task(self._requests(grants, offers, scheduler).run(), name="requests")
            group.create_task(records.run(), name="result records")
            group.create_task(self._reports(steps, commands, answers, records.note).run(), name="reports")
            group.create_task(keep_keys(self._store), name="keys of nodes")
            group.create_task(self._retention(records).run(), name="retention")
            group.create_task(self._data_sweep().run(), name="data sweep")
            group.create_task(self._timetable().run(), name="timetable")
            group.create_task(scheduler.run(), name="scheduler")
            if self._config.orchestrator.webhooks.urls:
                group.create_task(self._telling().run(), name="webhooks")

    def _telling(self) -> Webhooks:
        secret = secret_bytes(self._webhook_secret)
        return Webhooks(self._config.orchestrator.webhooks, secret, self._model, self._store, self._webhooks)

    @property
    def _publish_seconds(self) -> float:
        return float(self._config.publishers.publish_timeout)

    def _offers_in(self, group: asyncio.TaskGroup, grants: Grants, steps: Steps) -> Offers:
        return Offers(
            group=group,
            connection=self._connection,
            model=self._model,
            nodes=self._nodes,
            steps=steps,
            grants=grants,
            publish_seconds=self._publish_seconds,
            check=self._lease.check,
            traces=self._traces,
            secrets=self._secrets,
            audit=self._audit,
            has_provenance=self._config.publishers.provenance,
        )

    def _scheduler(self, offers: Offers, steps: Steps, commands: Commands, judge: Callable[[], None]) -> Scheduler:
        return Scheduler(
            self._model,
            self._store,
            self._nodes,
            offers,
            steps,
            locate=self._locations.locate,
            unreachable=lambda: unreachable_publishers(self._model.nodes, self._locations.current),
            publish_seconds=self._publish_seconds,
            silence=self._silence,
            commands=commands,
            measures=self._measures,
            at_hand=self._input_nodes.of,
            judge=judge,
        )

    @property
    def _silence(self) -> SilenceLimits:
        settings = self._config.orchestrator.node_manager
        return SilenceLimits(answer_seconds=float(settings.answer_timeout), start_seconds=float(settings.start_timeout))

    def _requests(self, grants: Grants, offers: Offers, scheduler: Scheduler) -> NodeRequests:
        return NodeRequests(
            connection=self._intake,
            model=self._model,
            store=self._store,
            nodes=self._nodes,
            grants=grants,
            inputs=InputGrants(self._model, self._locations, self._shares, self._audit),
            offers=offers,
            scheduler=scheduler,
            locations=self._locations,
            most=most_of(self._config.orchestrator.node_manager.max_capacity),
            leads=lambda: self._lease.is_held,
        )

    def _result_records(self) -> ResultRecords:
        is_on = self._config.publishers.types.s3managed.result_records
        return ResultRecords(self._model, self._store, self._locations, self._result_signer, is_on=is_on)

    def _reports(
        self, steps: Steps, commands: Commands, answers: ReplicaAnswers, on_verified: Callable[[ExecutionId], None]
    ) -> ReportIntake:
        return ReportIntake(
            connection=self._connection,
            model=self._model,
            store=self._store,
            nodes=self._nodes,
            steps=steps,
            locations=self._locations,
            answers=answers,
            commands=commands,
            measures=self._measures,
            leads=lambda: self._lease.is_held,
            on_verified=on_verified,
        )

    def _retention(self, records: ResultRecords) -> Retention:
        return Retention(
            self._model,
            self._store,
            self._locations,
            self._listings,
            settings=self._config.orchestrator.job_retention,
            results_seconds=float(self._config.publishers.types.s3managed.retention),
            without_record=records.held_back,
        )

    def _timetable(self) -> Timetable:
        with_results = self._config.publishers.types.s3managed.retention > 0
        return Timetable(self._model, self._store, self._submissions, self._measures, with_results=with_results)

    def _data_sweep(self) -> DataSweep:
        records, manifests = self._data.records, self._data.manifests
        return DataSweep(self._model, self._store, self._locations, manifests, max_age_ns=records.max_age_ns)

    async def _catch_up(self) -> None:
        """Know all that was decided before: what a lagging model does not know would be taken for what never was."""
        while True:
            try:
                await self._store.catch_up()
            except MessagingUnavailable as error:
                _log.info("Nothing is decided yet: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def on_unknown(self, node: NodeId) -> None:
        """A node was heard that has not registered here: ask it to, if this orchestrator leads."""
        if self._offers is not None and self._lease.is_held:
            self._offers.ask_to_register(node)


def most_of(settings: MaxCapacity) -> Capacity:
    """The setting, which has been checked, as amounts."""
    return Capacity(
        cpu=parse_cpu(settings.cpu),
        memory=parse_bytes(settings.memory),
        disk=parse_bytes(settings.disk),
        gpu=parse_gpu(settings.gpu),
    )
