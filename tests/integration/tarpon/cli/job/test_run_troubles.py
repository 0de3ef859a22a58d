"""What a run on the command line comes to when the orchestrator fails meanwhile; a test plays it."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from shared.errors import OrchestratorUnreachable, RemoteError
from shared.jobs.spec import JobView, StateView, Task
from shared.protocol import execution_lines as lines
from shared.protocol.rest import (
    ErrorBody,
    EventView,
    ExecutionView,
    HistoryItem,
    JobResponse,
    LogEnd,
    LogFrame,
    LogLine,
    Page,
    SubmitResponse,
)
from shared.settings.config import ApiSettings, Config
from tarpon import Client
from tarpon.cli.console.outcomes import JobFailed
from tarpon.cli.job.run import BegunJob, JobRun
from tarpon.cli.job.run_options import RunOptions
from tarpon.http.watching import JobNotEnded
from tarpon.results.rest_of_output import OutputNotKept
from tests.servers import HOST, free_ports

JOB = JobView(
    id="j-1",
    name="job",
    namespace="default",
    type="batch",
    count=2,
    tasks=(Task(),),
    state=StateView(state_type="Completed"),
    version=1,
    revision=1,
    create_time=0,
    modify_time=0,
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarpon.http.calls.FIRST_BACKOFF_SECONDS", 0.01)


class Orchestrator:
    """It has one job, of which one part wrote something. `refusals` says how often to refuse what, and how."""

    def __init__(self, job: JobView) -> None:
        self.job = job
        self.refusals: Counter[str] = Counter()
        self.status = 503
        self.is_behind_proxy = False
        self.keeps_logs = True

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = request.path.rpartition("/")[2]
        if self.refusals[what]:
            self.refusals[what] -= 1
            if self.is_behind_proxy:
                return web.Response(text="<html>Bad gateway</html>", status=502, content_type="text/html")
            return told(ErrorBody(message="Not now.", code="Refused", status=self.status), self.status)
        match what:
            case "events":
                event = EventView(message=f"{lines.RUNNING_ON}n-1", topic=lines.RUNNING, timestamp=NOW)
                item = HistoryItem(seq_num=1, type="x", job_id="j-1", execution_id="e-1", event=event, time=NOW)
                text = "".join(
                    f"event: {kind}\ndata: {msgspec.json.encode(data).decode()}\n\n"
                    for kind, data in (("history", item), ("job", self.job))
                )
                return web.Response(text=text, content_type="text/event-stream")
            case "executions":
                return told(Page(items=(ExecutionView(id="e-1", job_id="j-1", partition_index=1),)))
            case "logs":
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                for frame in (
                    LogFrame(value=LogLine(type=1, line="written\n")),
                    LogFrame(end=LogEnd(whole=self.keeps_logs)),
                ):
                    await socket.send_str(msgspec.json.encode(frame).decode())
                return socket
            case _:
                return told(JobResponse(job=self.job))


def told(body: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


@asynccontextmanager
async def playing(orchestrator: Orchestrator) -> AsyncIterator[ApiSettings]:
    application = web.Application()
    application.router.add_get("/{path:.*}", orchestrator.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        (port,) = free_ports(1)
        await web.TCPSite(runner, HOST, port).start()
        yield ApiSettings(host=HOST, port=port)
    finally:
        await runner.cleanup()


def run(orchestrator: Orchestrator, options: RunOptions, parts: int | None = 2) -> JobRun:
    """A run that refuses from when its job has begun."""
    refusals, orchestrator.refusals = orchestrator.refusals, Counter()

    async def begin(client: Client) -> BegunJob:
        await client.get("j-1")
        orchestrator.refusals = refusals
        return BegunJob(SubmitResponse(job_id="j-1", job_version=1), parts, "Job j-1 runs.")

    return JobRun(begin, options)


@pytest.mark.parametrize("is_behind_proxy", [False, True])
async def test_what_parts_write_is_followed_over_a_restart_of_the_orchestrator(
    capsys: pytest.CaptureFixture[str], *, is_behind_proxy: bool
) -> None:
    orchestrator = Orchestrator(JOB)
    orchestrator.is_behind_proxy = is_behind_proxy
    orchestrator.refusals.update(dict.fromkeys(("events", "logs", "executions", "j-1"), 6))
    async with playing(orchestrator) as api:
        await run(orchestrator, RunOptions(follow=True))._main(Config(api=api))
    shown = capsys.readouterr()
    assert shown.out == "0001 | written\n"
    assert "Not all is shown" not in shown.err


async def test_a_run_that_nobody_answers_any_more_says_that_its_job_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarpon.cli.display.outages.TOLD_AFTER_SECONDS", 0.0)
    orchestrator = Orchestrator(JOB)
    orchestrator.refusals["events"] = 1 << 20

    async def begin(client: Client) -> BegunJob:
        await client.get("j-1")
        monkeypatch.setattr(client, "_patience", 1.0)
        return BegunJob(SubmitResponse(job_id="j-1", job_version=1), 2, "Job j-1 runs.")

    async with playing(orchestrator) as api:
        with pytest.raises(OrchestratorUnreachable, match="it is not ready"):
            await JobRun(begin, RunOptions(output="json"))._main(Config(api=api))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("it is not ready (Not now). Waiting for it; the job goes on meanwhile.") == 1
    assert "No longer watching; job j-1 goes on." in shown.err
    assert "answers again" not in shown.err


async def test_an_outage_is_told_on_stderr_alone_and_once_when_it_is_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarpon.cli.display.outages.TOLD_AFTER_SECONDS", 0.0)
    orchestrator = Orchestrator(JOB)
    orchestrator.refusals["events"] = 6
    async with playing(orchestrator) as api:
        await run(orchestrator, RunOptions(output="json"))._main(Config(api=api))
    shown = capsys.readouterr()
    assert json.loads(shown.out)["JobID"] == "j-1"
    told = [line for line in shown.err.splitlines() if "answers" in line]
    assert [line.partition(":")[0] for line in told] == ["Warning", "The orchestrator answers again."]


async def test_that_the_job_failed_counts_also_where_the_document_cannot_be_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    orchestrator = Orchestrator(replace(JOB, state=StateView(state_type="Failed", message="It went wrong.")))
    orchestrator.status = 404
    orchestrator.refusals["j-1"] = 1
    async with playing(orchestrator) as api:
        with pytest.raises(JobFailed, match="went wrong"):
            await run(orchestrator, RunOptions(output="json"))._main(Config(api=api))
    assert "Not now." in capsys.readouterr().err


async def test_the_id_of_what_has_begun_is_told_although_nothing_else_can_be_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    orchestrator = Orchestrator(JOB)
    orchestrator.status = 404
    orchestrator.refusals["j-1"] = 1
    async with playing(orchestrator) as api:
        made = run(orchestrator, RunOptions(), parts=None)
        with pytest.raises(RemoteError, match="Not now"):
            await made._main(Config(api=api))
    assert made.job_id == "j-1"
    assert capsys.readouterr().out == "Job j-1 runs.\n"


async def test_a_run_that_may_wait_no_longer_waits_no_longer_for_the_orchestrator_either(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither for what it asks first, nor for the document of what has become of the job until then."""
    orchestrator = Orchestrator(JOB)
    orchestrator.refusals["j-1"] = sys.maxsize
    async with playing(orchestrator) as api, asyncio.timeout(30):  # the client is patient for 120 s
        with pytest.raises(JobNotEnded, match=r"within 0\.2 s; it goes on"):
            await run(orchestrator, RunOptions(wait_seconds=0.2, output="json"), parts=None)._main(Config(api=api))
    assert "Not now." in capsys.readouterr().err


async def test_logs_are_followed_over_a_restart_of_the_orchestrator() -> None:
    orchestrator = Orchestrator(JOB)
    async with playing(orchestrator) as api, Client(api.host, api.port) as client:
        await client.get("j-1")
        orchestrator.refusals["executions"] = 6
        assert [each.line async for each in client.logs("j-1", follow=True)] == ["written\n"]


async def test_the_rest_of_the_logs_is_looked_for_over_a_restart_of_the_orchestrator() -> None:
    """In the result, of which there is none here."""
    orchestrator = Orchestrator(JOB)
    orchestrator.keeps_logs = False
    async with playing(orchestrator) as api, Client(api.host, api.port) as client:
        await client.get("j-1")
        orchestrator.refusals["executions"] = 6
        with pytest.raises(OutputNotKept, match="it published no result"):
            async for _ in client.logs("j-1", execution_id="e-1", follow=True):
                pass
