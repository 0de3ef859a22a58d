"""A desk where jobs are submitted: what takes them in, over a model of its own and a real store (no tests in here)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.assembly import input_resolvers
from orchestrator.inputs.listings import Listings
from orchestrator.inputs.sent_data import data_service
from orchestrator.jobs.joint_submissions import JointSubmissions
from orchestrator.jobs.submissions import PublisherNotReady, Submissions
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.telemetry.traces import Traces
from shared.errors import InvalidJob
from shared.jobs.spec import Job
from shared.messaging.transport import Connection
from shared.runtime.aio import background
from shared.runtime.tracing import OFF
from shared.settings.config import BatchDefaults, Config
from shared.settings.schedules import ScheduleSettings
from shared.settings.secret import Secret
from shared.settings.sent_data import SentDataSettings


class Desk:
    """What takes jobs in, over a model of its own."""

    def __init__(self, connection: Connection, schedules: ScheduleSettings = ScheduleSettings()) -> None:  # noqa: B008  # as below
        self.model, locations = Model(max_attempts=1), Locations(None)
        self.store = Store(connection, self.model)
        self.publisher_problem: PublisherNotReady | None = None
        secrets = TaskSecrets(self.model, self.store, Secret("of-the-tests"))
        self.submissions = Submissions(
            self.model,
            self.store,
            defaults=BatchDefaults(),
            check_publisher=self._check_publisher,
            traces=Traces(OFF, self.model, leads=lambda: True),
            secrets=secrets,
            inputs=input_resolvers(
                Config(),
                locations,
                Listings(locations),
                data_service(self.model, self.store, locations, SentDataSettings()),
            ),
            schedules=schedules,
        )
        self.secrets = secrets
        self.joint = JointSubmissions(self.model, self.store, self.submissions)

    def _check_publisher(self) -> None:
        if self.publisher_problem is not None:
            raise self.publisher_problem

    async def submit(self, *jobs: Job, token: str = "", force: bool = False) -> list[tuple[str, int]]:
        return [(each.job_id, each.version) for each in await self.joint.submit(jobs, token=token, force=force)]

    async def problems(self, *jobs: Job) -> tuple[str, ...]:
        with pytest.raises(InvalidJob) as caught:
            await self.submit(*jobs)
        assert not self.model.jobs, "none of them is stored"
        return caught.value.problems


@asynccontextmanager
async def desk_over(
    connection: Connection,
    schedules: ScheduleSettings = ScheduleSettings(),  # noqa: B008  # it is immutable
) -> AsyncIterator[Desk]:
    made = Desk(connection, schedules)
    async with background(model=made.store.keep_model()):
        await made.store.ready.wait()
        yield made
