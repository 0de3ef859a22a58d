"""The NATS API as a program with nats-py alone uses it, against a whole orchestrator."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from orchestrator.admission.secret_files import integration_password
from orchestrator.nodes.orchestrators import Orchestrators
from shared.messaging.client import taken_in
from shared.messaging.transport import connect
from shared.protocol.messages import ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from shared.runtime.aio import background
from shared.settings.secret import Secret
from tests.integration.running import running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered, eventually

BODY = b"an archive"
PUBLISHED = OutputPublished(
    size_bytes=len(BODY),
    md5=hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
    sha256=hashlib.sha256(BODY).hexdigest(),
    entries=1,
    raw_bytes=1,
)
NOOP = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}


@asynccontextmanager
async def program(running: Any, name: str = "billing", *, password: str = "") -> AsyncIterator[Client]:
    secret = (running.config.data_dir / "orchestrator" / "secrets" / "integration.secret").read_text().strip()
    client = Client()
    try:
        await client.connect(
            running.server,
            user=name,
            password=password or integration_password(Secret(secret), name).reveal(),
            inbox_prefix=f"_INBOX.{name}",
            allow_reconnect=False,
        )
        yield client
    finally:
        await client.close()


async def ask(client: Client, what: str, body: Any = None, *, name: str = "billing") -> Any:
    """The orchestrator that is ready offers the service."""
    answer = await client.request(f"tarpon.v1.api.{name}.{what}", json.dumps(body or {}).encode(), timeout=10)
    return json.loads(answer.data)


async def test_a_program_submits_a_job_and_hears_of_each_step_until_its_end(running: Any) -> None:
    async with running.node("a") as node, program(running) as client:
        await node.register()
        events = await client.subscribe("tarpon.v1.events.default.*.>")
        job = (await ask(client, "jobs.submit", {"Job": NOOP}))["JobID"]
        assignment = await node.accept_assignment()
        await node.report(assignment.execution_id, ExecutionStarted())
        await node.report(assignment.execution_id, TaskEnded(output=RunOutput(), run_seconds=0.1))
        numbers, before, state = [], [], ""
        while state != "Completed":
            event = await events.next_msg(timeout=10)
            assert event.subject.startswith(f"tarpon.v1.events.default.{job}.")
            body = json.loads(event.data)
            if event.subject.endswith(".state"):
                state = body["State"]["StateType"]
            else:
                numbers.append(body["SeqNum"])
                before.append(body["PreviousSeqNum"])
        assert numbers == sorted(set(numbers)), "who hears a number again has heard that event"
        assert before == [0, *numbers[:-1]], "who has not heard the one before has missed something"
        assert len(numbers) >= 4


async def test_orchestrators_of_a_set_hear_of_each_other(running: Any) -> None:
    seed = running.config.data_dir / "orchestrator" / "secrets" / "orchestrator.nkey"
    async with connect([running.server], name="other", nkey_seed=seed.read_text().strip()) as connection:
        seen = Orchestrators(connection)
        async with background(orchestrators=seen.run()):
            await eventually(seen.known)

    async def cluster() -> Any:
        return (await running.ask("/api/v1/agent/cluster")).json

    answer = await answered(cluster, lambda told: told["Leader"])
    assert [each.name for each in seen.known()] == [each["ID"] for each in answer["Orchestrators"]]
    assert answer["Orchestrators"][0]["Leads"]
    assert answer["NATS"]["Embedded"]
    assert answer["NATS"]["Version"]


async def test_a_program_has_a_job_run_by_a_schedule_and_changes_that(running: Any) -> None:
    async with program(running) as client:
        job = (await ask(client, "jobs.submit", {"Job": {**NOOP, "Name": "weekly", "Schedule": "@weekly"}}))["JobID"]
        described = (await ask(client, "jobs.get", {"JobID": "weekly"}))["Job"]
        assert described["Schedule"] == {"Cron": "@weekly"}
        assert len(described["ScheduleStatus"]["Next"]) == 3
        asked = {"JobID": job, "Action": "run-now", "IdempotencyToken": "t-1"}
        run = (await ask(client, "jobs.schedule", asked))["RunID"]
        assert (await ask(client, "jobs.schedule", asked))["RunID"] == run
        assert (await ask(client, "jobs.get", {"JobID": run}))["Job"]["RunOf"]["JobID"] == job
        assert (await ask(client, "jobs.schedule", {"JobID": job, "Action": "pause"}))["Changed"]
        refused = await ask(client, "jobs.schedule", {"JobID": run, "Action": "pause"})
        assert (refused["Status"], refused["Code"]) == (409, "NotASchedule")
        unknown = await ask(client, "jobs.schedule", {"JobID": job, "Action": "stop"})
        assert unknown["Status"] == 400


async def test_who_listens_late_asks_for_what_it_has_missed(running: Any) -> None:
    async with program(running) as client:
        job = (await ask(client, "jobs.submit", {"Job": NOOP}))["JobID"]
        await running.wait_state(job, "Failed")
        items = (await ask(client, "jobs.history", {"JobID": job}))["Items"]
        rest = (await ask(client, "jobs.history", {"JobID": job, "AfterSeqNum": 1}))["Items"]
        assert rest == items[1:]
        assert items[0]["Event"]["Message"] == "Job submitted"


async def test_jobs_are_got_listed_and_stopped(running: Any) -> None:
    async with running.node("a") as node, program(running) as client:
        await node.register()
        job = (await ask(client, "jobs.submit", {"Job": NOOP | {"Name": "by-name"}}))["JobID"]
        await node.accept_assignment()
        found = await ask(client, "jobs.get", {"JobID": "by-name", "Include": ["executions", "history"]})
        assert found["Job"]["ID"] == job
        assert found["Executions"]["Items"][0]["NodeID"] == "a"
        assert [each["ID"] for each in (await ask(client, "jobs.list"))["Items"]] == [job]
        await ask(client, "jobs.stop", {"JobID": job, "Reason": "enough"})
        await running.wait_state(job, "Stopped")
        assert [each["Info"]["NodeID"] for each in (await ask(client, "nodes.list"))["Nodes"]] == ["a"]


async def test_what_a_job_waits_for_is_told(running: Any) -> None:
    async with running.node("a") as node, program(running) as client:
        await node.register()
        needs = [{"Key": "zone", "Operator": "=", "Values": ["nowhere"]}]
        task = {"Name": "main", "Engine": {"Type": "noop"}, "Timeouts": {"QueueTimeout": 600}}
        job = (await ask(client, "jobs.submit", {"Job": NOOP | {"Constraints": needs, "Tasks": [task]}}))["JobID"]
        found = await ask(client, "jobs.waits", {"JobID": job})
        assert found["Summary"] == "1 node with other labels"
        (only,) = found["Nodes"]
        assert (only["NodeID"], only["Standing"]) == ("a", "unfit-labels")
        assert only["Lacks"] == ["its labels do not fulfil zone = nowhere: it has no zone"]


async def test_the_results_of_a_version_and_of_an_execution_are_given(running: Any) -> None:
    async with running.node("a") as node, program(running) as client:
        await node.register()
        executions = []
        for priority in (1, 2):
            job = await running.submit(Name="twice", Priority=priority)
            assignment = await node.accept_assignment()
            await running.put(assignment.archive, BODY)
            await node.report(assignment.execution_id, TaskEnded(output=RunOutput(), run_seconds=0.1), PUBLISHED)
            await running.wait_state(job, "Completed")
            executions.append(assignment.execution_id)

        async def given(**asked: Any) -> list[tuple[str, int]]:
            items = (await ask(client, "jobs.results", {"JobID": "twice"} | asked))["Items"]
            return [(each["Params"]["ExecutionID"], each["Params"]["JobVersion"]) for each in items]

        first, second = (executions[0], 1), (executions[1], 2)
        assert await given() == await given(JobVersion=2) == [second]
        assert await given(JobVersion=1) == await given(ExecutionID=executions[0][:20]) == [first]
        unknown = {"JobID": "twice", "ExecutionID": executions[0], "JobVersion": 2}
        assert (await ask(client, "jobs.results", unknown))["Code"] == "NotFound"
        ambiguous = await ask(client, "jobs.results", {"JobID": "twice", "ExecutionID": "e-"})
        assert (ambiguous["Code"], ambiguous["Status"]) == ("InvalidInput", 400)


async def test_no_name_takes_the_place_of_an_id_and_no_token_that_of_another_job(running: Any) -> None:
    async with program(running) as client:
        job = (await ask(client, "jobs.submit", {"Job": NOOP, "IdempotencyToken": "t"}))["JobID"]
        assert (await ask(client, "jobs.submit", {"Job": NOOP, "IdempotencyToken": "t"}))["JobID"] == job
        other = {"Job": NOOP | {"Priority": 1}, "IdempotencyToken": "t"}
        assert (await ask(client, "jobs.submit", other))["Code"] == "IdempotencyTokenUsed"
        assert (await ask(client, "jobs.submit", {"Job": NOOP | {"Name": job[:12]}}))["Code"] == "InvalidJob"


async def test_a_job_is_told_the_same_over_nats_as_over_http(running: Any) -> None:
    network = {"Type": "HTTP", "Domains": ["example.com"], "Ports": [{"Name": "http", "Static": 8080}]}
    task: dict[str, Any] = {"Name": "main", "Engine": {"Type": "wasm"}, "Publisher": {"Type": "local"}}
    task["Network"], task["InputSources"] = network, [{"Source": {"Type": "ipfs"}, "Target": "/in"}]
    docker = {"Name": "main", "Engine": {"Type": "docker", "Params": {"Image": "busybox"}}}
    waits = {"Timeouts": {"QueueTimeout": 600}}
    async with program(running) as client:

        async def told(job: dict[str, Any]) -> dict[str, Any]:
            """The refusal or the warnings."""
            over_nats = await ask(client, "jobs.submit", {"Job": job})
            over_http = (await running.ask("/api/v1/orchestrator/jobs", "PUT", {"Job": job})).json
            for what in ("Code", "Message", "Warnings"):
                assert over_nats.get(what) == over_http.get(what)
            return dict(over_nats)

        refused = await told({"Type": "service", "Tasks": [task]})
        assert (refused["Code"], refused["Message"].count("not supported yet")) == ("InvalidJob", 5)
        unreadable = await told({"Type": "bath", "Count": "many"})
        assert (unreadable["Code"], unreadable["Message"].count("\n  - Job.")) == ("InvalidDocument", 3)
        (warning,) = (await told({"Type": "batch", "Tasks": [docker | waits]}))["Warnings"]
        assert warning.startswith("The container has no network")
        said = docker | waits | {"Network": {"Type": "None", "Ports": None}}
        assert (await told({"Type": "batch", "Tasks": [said]}))["Warnings"] == []


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("jobs.get", {"JobID": "nowhere"}, "JobNotFound"),
        ("jobs.get", {"JobID": 7}, "JobNotFound"),
        ("jobs.get", {}, "InvalidDocument"),
        ("jobs.submit", {"Job": {"Type": "batch"}}, "InvalidJob"),
        ("jobs.submit", {}, "InvalidDocument"),
        ("jobs.list", [], "InvalidDocument"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told_with_its_code(
    running: Any, what: str, body: Any, code: str
) -> None:
    async with program(running) as client:
        if body == []:
            await ask(client, "jobs.list")
            answer = await client.request(f"tarpon.v1.api.billing.{what}", b"[]", timeout=10)
            assert json.loads(answer.data)["Code"] == code
        else:
            assert (await ask(client, what, body))["Code"] == code


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("$SRV.PING", "ping"),
        ("$SRV.PING.tarpon", "ping"),
        ("$SRV.INFO.tarpon", "info"),
        ("$SRV.STATS", "stats"),
        ("$SRV.STATS.tarpon", "stats"),
    ],
)
async def test_a_program_can_look_at_the_service_as_nats_micro_does(running: Any, subject: str, kind: str) -> None:
    async with program(running) as client:
        told = json.loads((await client.request(subject, timeout=10)).data)
    assert (told["type"], told["name"]) == (f"io.nats.micro.v1.{kind}_response", "tarpon")


async def test_each_orchestrator_answers_who_looks_for_services(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, running: Any
) -> None:
    secrets = running.config.data_dir / "orchestrator" / "secrets"
    await asyncio.to_thread(shutil.copytree, secrets, tmp_path / "b" / "data" / "orchestrator" / "secrets")
    sets = (f"Orchestrator.NATS.Servers={running.server}",)
    async with (
        running_orchestrator(tmp_path / "b", s3_server, monkeypatch, publisher=False, sets=sets),
        program(running) as client,
    ):
        answers = await client.subscribe(client.new_inbox())
        await client.publish("$SRV.PING", reply=answers.subject)
        ids = {json.loads((await answers.next_msg(timeout=10)).data)["id"] for _ in range(2)}
    assert len(ids) == 2


async def test_a_program_cannot_ask_as_another(running: Any) -> None:
    async with program(running) as client:
        await ask(client, "jobs.list")
        with pytest.raises(nats.errors.TimeoutError):
            await client.request("tarpon.v1.api.payroll.jobs.list", b"{}", timeout=0.5)


async def test_a_program_cannot_read_anothers_answers(running: Any) -> None:
    errors: list[str] = []
    async with program(running) as client:

        async def note(error: Exception) -> None:
            errors.append(str(error))

        client._error_cb = note
        await client.subscribe("_INBOX.payroll.>")
        await client.subscribe("tarpon.v1.node.>")
        await client.publish("$JS.API.STREAM.LIST", b"")
        await taken_in(client)
        await eventually(lambda: len(errors) == 3, what="all three are refused")
    assert all("permissions violation" in error.lower() for error in errors), errors


async def test_a_program_with_a_wrong_password_is_refused(running: Any) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        async with program(running, password="guessed"):
            pass


async def test_several_jobs_are_submitted_together_over_nats(running: Any) -> None:
    async with program(running, "billing") as client:
        jobs = [NOOP | {"Name": "first"}, NOOP | {"Name": "second", "Needs": ["first"]}]
        answer = await ask(client, "jobs.submit-all", {"Jobs": jobs, "IdempotencyToken": "t"})
        again = await ask(client, "jobs.submit-all", {"Jobs": jobs, "IdempotencyToken": "t"})
        assert [each["JobID"] for each in again["Jobs"]] == [each["JobID"] for each in answer["Jobs"]]
        refused = await ask(client, "jobs.submit-all", {"Jobs": [NOOP | {"Name": "third", "Needs": ["fourth"]}]})
        assert refused["Code"] == "InvalidJob"
