"""The schedules of the HTTP API: paused, resumed, run at once. They are submitted, shown and stopped as jobs are."""

import asyncio

from aiohttp import web

from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of
from orchestrator.api.job_details import JobDetailRoutes
from orchestrator.api.queries import InNamespace
from orchestrator.api.routes import JOBS, Route
from orchestrator.assembly import Assembly
from orchestrator.inputs.resolvers import LOOK_UP_SECONDS
from shared.protocol.capabilities import WRITE_JOB
from shared.protocol.jobs.rest_schedules import ScheduleRequest, ScheduleResponse

STORE_SECONDS = 15.0


class ScheduleRoutes:
    def __init__(self, assembly: Assembly, details: JobDetailRoutes) -> None:
        self._changes = assembly.schedules
        self._details = details

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "PUT",
                f"{JOBS}/{{job}}/schedule",
                self.change,
                "Pause or resume the schedule of a job, or run it now.",
                ScheduleResponse,
                InNamespace,
                ScheduleRequest,
                needs=WRITE_JOB,
            ),
        )

    async def change(self, request: web.Request) -> web.Response:
        wanted, _ = await body_of(request, ScheduleRequest)
        entry = self._details.entry(request)
        tell(request, entry.id, entry.namespace, detail=wanted.action)
        async with asyncio.timeout(STORE_SECONDS + LOOK_UP_SECONDS):
            return answer(await self._changes.act(entry, wanted))

    def __repr__(self) -> str:
        return f"<ScheduleRoutes by {self._changes!r}>"
