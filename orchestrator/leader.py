"""What the one orchestrator that leads does: places jobs, answers nodes, and takes in their reports."""

import asyncio

from orchestrator.abandoned_uploads import AbandonedUploads
from orchestrator.announcements import Announcements
from orchestrator.assignments import Assignments
from orchestrator.grants import Grants
from orchestrator.heartbeats import take_heartbeats
from orchestrator.locations import Locations
from orchestrator.model import Model
from orchestrator.nodes import Nodes
from orchestrator.reach import unreachable_publishers
from orchestrator.receipts import Receipts
from orchestrator.reports import Reports
from orchestrator.requests import Requests
from orchestrator.scheduler import Scheduler
from orchestrator.store import Store
from shared.config import Config
from shared.transport import Connection


class Leader:
    def __init__(
        self,
        *,
        config: Config,
        connection: Connection,
        model: Model,
        store: Store,
        nodes: Nodes,
        locations: Locations,
    ) -> None:
        self._config = config
        self._connection = connection
        self._model = model
        self._store = store
        self._nodes = nodes
        self._locations = locations

    async def decide(self) -> None:
        """Lead until cancelled, which stops every decision at once."""
        await self._store.ready.wait()
        publish_seconds = float(self._config.publishers.publish_timeout)
        abandoned = AbandonedUploads(self._locations)
        grants = Grants(self._model, self._store, self._locations, abandoned)
        async with asyncio.TaskGroup() as group:
            assignments = Assignments(
                group=group,
                connection=self._connection,
                model=self._model,
                store=self._store,
                nodes=self._nodes,
                grants=grants,
                publish_seconds=publish_seconds,
            )
            scheduler = Scheduler(
                self._model,
                self._store,
                self._nodes,
                assignments,
                locate=self._locations.locate,
                unreachable=lambda: unreachable_publishers(self._model.nodes, self._locations.current),
                publish_seconds=publish_seconds,
                on_end=abandoned.on_end,
            )
            requests = Requests(
                connection=self._connection,
                model=self._model,
                store=self._store,
                nodes=self._nodes,
                grants=grants,
                assignments=assignments,
                scheduler=scheduler,
            )
            reports = Reports(
                connection=self._connection,
                model=self._model,
                store=self._store,
                nodes=self._nodes,
                locations=self._locations,
                receipts=Receipts(group, self._connection),
                on_end=abandoned.on_end,
            )
            heartbeats = take_heartbeats(self._connection, self._nodes, assignments.ask_to_register)
            group.create_task(heartbeats, name="heartbeats")
            group.create_task(Announcements(self._connection, self._model).run(), name="announcements")
            group.create_task(abandoned.run(), name="abandoned uploads")
            group.create_task(requests.run(), name="requests")
            group.create_task(reports.run(), name="reports")
            group.create_task(scheduler.run(), name="scheduler")
