"""What the HTTP API does with jobs, in the words and shapes of the reference, over a whole orchestrator."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.messages import ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from shared.protocol.rest import BASE_PATH
from tests.integration.fed_api import JOBS
from tests.integration.running import Answer, Running, running_orchestrator
from tests.servers import S3Server

BODY = b"an archive"
NOOP = {"Name": "main", "Engine": {"Type": "noop"}, "Timeouts": {"QueueTimeout": 600}}
"""Waits for a node where there is none."""


def job(name: str = "", **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "batch", "Tasks": [NOOP], **more}


async def submitted(running: Running, name: str = "", **more: Any) -> str:
    answer = await running.ask(JOBS, "PUT", {"Job": job(name, **more)})
    assert answer.status == 200, answer.body
    return str(answer.json["JobID"])


async def messages(running: Running, path: str) -> list[str]:
    return [item["Event"]["Message"] for item in (await running.ask(path)).json["Items"]]


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["Code"]


async def test_a_job_is_found_by_its_name_its_id_and_the_beginning_of_its_id(running: Running) -> None:
    made = await submitted(running, "findable")
    for text in (made, made[:12], "findable"):
        assert (await running.ask(f"{JOBS}/{text}")).json["Job"]["ID"] == made


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_the_server_owns_and_what_nobody_knows_is_ignored_with_a_warning_each(
    running: Running, method: str
) -> None:
    owned = {"id": "j-mine", "State": {"StateType": "Completed"}, "Version": 7, "Revision": 8, "CreateTime": 9}
    request = {"Job": job("owned", **owned, ModifyTime=10, Colour="red"), "Shape": "round"}
    answer = await running.ask(JOBS, method, request)
    warnings = answer.json["Warnings"]
    for name in ("ID", "State", "Version", "Revision", "CreateTime", "ModifyTime", "Colour", "Shape"):
        assert sum(f"{name} is" in warning for warning in warnings) == 1, (name, warnings)
    assert len(warnings) == 8
    made = (await running.ask(f"{JOBS}/owned")).json["Job"]
    assert made["ID"] == answer.json["JobID"] != "j-mine"
    assert made["Version"] == 1


async def test_the_empty_fields_that_go_programs_send_give_no_warning(running: Running) -> None:
    empty = {"ID": "", "State": {"StateType": "Undefined", "Message": ""}, "Version": 0, "CreateTime": 0, "Meta": None}
    answer = await running.ask(JOBS, "PUT", {"Job": job("go", **empty), "Force": False})
    assert answer.json["Warnings"] == []


async def test_many_unknown_fields_are_told_briefly(running: Running) -> None:
    unknown = {f"x{number}": number for number in range(500)}
    answer = await running.ask(JOBS, "PUT", {"Job": job("many", **unknown)})
    assert len(answer.json["Warnings"]) == 21
    assert "480 more" in answer.json["Warnings"][-1]


async def test_a_diff_tells_what_a_submit_would_change_and_changes_nothing(running: Running) -> None:
    made = await submitted(running, "compared", Priority=1)
    changed = job("compared", Priority=2, Labels={"team": "a"})
    answer = await running.ask(f"{JOBS}/diff", "PUT", {"Job": changed})
    assert answer.json == {"Diff": '~ Priority: 1 -> 2\n+ Labels.team: "a"', "Warnings": []}
    same = await running.ask(f"{JOBS}/diff", "PUT", {"Job": job("compared", Priority=1)})
    assert same.json["Diff"] == ""
    new = await running.ask(f"{JOBS}/diff", "PUT", {"Job": job("another")})
    assert '+ Name: "another"' in new.json["Diff"]
    assert "no job of this name" in new.json["Warnings"][0]
    assert (await running.ask(f"{JOBS}/{made}")).json["Job"]["Version"] == 1
    assert len((await running.ask(JOBS)).json["Items"]) == 1


async def test_who_replaces_a_version_that_goes_on_is_told_that_it_is_stopped(running: Running) -> None:
    made = await submitted(running, "replaced")
    request = {"Job": job("replaced", Priority=2), "IdempotencyToken": "once"}
    again = await running.ask(JOBS, "PUT", request)
    assert again.json["Warnings"] == ["Version 1 had not ended. It is stopped: version 2 replaces it."]
    assert (await running.ask(JOBS, "PUT", request)).json["Warnings"] == []
    await running.ask(f"{JOBS}/{made}", "DELETE")
    assert (await running.ask(JOBS, "PUT", {"Job": job("replaced", Priority=3)})).json["Warnings"] == []


async def test_an_older_version_is_run_again_as_a_new_one(running: Running) -> None:
    made = await submitted(running, "again", Labels={"which": "first"})
    await submitted(running, "again", Labels={"which": "second"})
    assert code(await running.ask(f"{JOBS}/{made}/rerun", "PUT", {})) == (409, "Conflict")
    await running.ask(f"{JOBS}/{made}", "DELETE")
    assert code(await running.ask(f"{JOBS}/{made}/rerun", "PUT", {"JobVersion": 9})) == (404, "NotFound")
    request = {"JobVersion": 1, "Reason": "it was better", "IdempotencyToken": "once"}
    for _ in range(2):
        answer = await running.ask(f"{JOBS}/{made}/rerun", "PUT", request)
        assert answer.json["JobID"] == made
        assert answer.json["JobVersion"] == 3
    found = (await running.ask(f"{JOBS}/{made}")).json["Job"]
    assert found["Labels"] == {"which": "first"}
    assert found["State"]["StateType"] in {"Pending", "Queued", "Running"}
    assert (await running.ask(f"{JOBS}/{made}?job_version=2")).json["Job"]["Labels"] == {"which": "second"}
    shown = (await running.ask(f"{JOBS}/{made}/versions")).json["Items"]
    assert [(item["Version"], item["Labels"]["which"]) for item in shown] == [(1, "first"), (2, "second"), (3, "first")]
    assert [item["State"]["StateType"] for item in shown[:2]] == ["Stopped", "Stopped"]


async def test_a_history_has_the_events_of_one_version_or_of_all(running: Running) -> None:
    made = await submitted(running, "told")
    await submitted(running, "told", Priority=1)
    await running.ask(f"{JOBS}/{made}", "DELETE", {"reason": "enough"})
    path = f"{JOBS}/{made}/history"
    assert await messages(running, f"{path}?job_version=1") == ["Job submitted"]
    newest = await messages(running, path)
    assert newest[0] == "Job updated to version 2"
    assert "Job stopped: enough" in newest
    assert await messages(running, f"{path}?all_job_versions=true") == ["Job submitted", *newest]
    items = (await running.ask(f"{path}?all_job_versions=true")).json["Items"]
    assert [item["JobVersion"] for item in items] == [1, *[2] * len(newest)]
    included = (await running.ask(f"{JOBS}/{made}?include=history")).json["History"]["Items"]
    assert [item["Event"]["Message"] for item in included] == newest


async def test_a_history_is_followed_page_by_page_until_the_job_has_ended(running: Running) -> None:
    made = await submitted(running, "followed")
    path, seen, token = f"{JOBS}/{made}/history", [], ""
    page = (await running.ask(f"{path}?limit=100")).json
    for _ in range(3):  # nothing more happens, and there is a token all the same
        seen += page["Items"]
        token = page["NextToken"]
        assert token
        page = (await running.ask(f"{path}?next_token={token}")).json
    await running.ask(f"{JOBS}/{made}", "DELETE")
    while token:
        page = (await running.ask(f"{path}?next_token={token}")).json
        seen, token = seen + page["Items"], page["NextToken"]
    whole = (await running.ask(path)).json
    assert seen == whole["Items"]
    assert whole["NextToken"] == ""


async def test_a_history_is_filtered_by_level_execution_and_time(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        made = await running.submit()
        assignment = await node.accept_assignment()
        await node.report(assignment.execution_id, ExecutionStarted())
        await running.wait_state(made, "Running")
        path = f"{JOBS}/{made}/history"
        whole = (await running.ask(path)).json["Items"]
        of_job = (await running.ask(f"{path}?event_type=job")).json["Items"]
        of_execution = (await running.ask(f"{path}?event_type=execution")).json["Items"]
        assert {item["Type"] for item in of_job} == {"JobLevel"}
        assert {item["Type"] for item in of_execution} == {"ExecutionLevel"}
        assert len(of_job) + len(of_execution) == len(whole)
        begun = assignment.execution_id[:10]
        assert (await running.ask(f"{path}?execution_id={begun}")).json["Items"] == of_execution
        assert (await running.ask(f"{path}?execution_id=e-none")).json == {"NextToken": "", "Items": []}
        for since, items in ((whole[0]["Time"], whole), ("0", whole), ("99999999999", [])):
            assert (await running.ask(f"{path}?since={since}")).json["Items"] == items
        for since in ("yesterday", "-1", "nan", "2026-01-01T00:00:00"):
            assert (await running.ask(f"{path}?since={since}")).status == 400


async def test_a_url_of_a_result_is_written_with_its_ampersands(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        made = await running.submit()
        assignment = await node.accept_assignment()
        assert (await running.ask(f"{JOBS}/{made}/results")).json == {"NextToken": "", "Items": []}
        assert assignment.archive is not None
        await running.put(assignment.archive, BODY)
        published = OutputPublished(
            size_bytes=len(BODY),
            md5=hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(BODY).hexdigest(),
            entries=1,
            raw_bytes=1,
        )
        await node.report(assignment.execution_id, TaskEnded(output=RunOutput(), run_seconds=0.1), published)
        await running.wait_state(made, "Completed")
        answer = await running.ask(f"{JOBS}/{made}/results")
        (item,) = answer.json["Items"]
        assert answer.json["NextToken"] == ""
        assert item["Params"]["PreSignedURL"].encode() in answer.body
        assert b"&X-Amz-Signature=" in answer.body
        assert answer.headers["Cache-Control"] == "no-store"
        assert code(await running.ask(f"{JOBS}/{made}", "DELETE")) == (409, "JobEnded")


async def test_stopping_twice_is_no_error_and_the_second_time_does_nothing(running: Running) -> None:
    made = await submitted(running)
    assert (await running.ask(f"{JOBS}/{made}?reason=because", "DELETE")).json["EvaluationID"]
    assert (await running.ask(f"{JOBS}/{made}", "DELETE", {"Reason": ""})).json == {"EvaluationID": ""}
    assert "Job stopped: because" in await messages(running, f"{JOBS}/{made}/history")


async def test_events_come_until_the_job_has_ended_and_go_on_where_a_reader_was(running: Running) -> None:
    made = await submitted(running)
    await running.ask(f"{JOBS}/{made}", "DELETE")
    whole = (await running.ask(f"{JOBS}/{made}/events")).body.decode()
    assert whole.count("event: history") == len((await running.ask(f"{JOBS}/{made}/history")).json["Items"])
    assert '"StateType":"Stopped"' in whole
    rest = (await running.ask(f"{JOBS}/{made}/events", headers={"Last-Event-ID": "1"})).body.decode()
    assert rest.count("event: history") == whole.count("event: history") - 1
    assert "Job submitted" not in rest


async def test_a_publisher_that_is_not_configured_is_a_bad_request(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running:
        task = NOOP | {"Publisher": {"Type": "s3managed"}}
        assert code(await running.ask(JOBS, "PUT", {"Job": job(Tasks=[task])})) == (400, "PublisherNotConfigured")
        assert (await running.ask(f"{BASE_PATH}/agent/node")).json["Publishers"]["S3Managed"] is None


async def test_the_same_job_again_is_a_conflict_unless_it_is_forced(running: Running) -> None:
    made = await submitted(running, "same")
    assert code(await running.ask(JOBS, "PUT", {"Job": job("same")})) == (409, "JobUnchanged")
    assert (await running.ask(JOBS, "PUT", {"Job": job("same"), "Force": True})).json["JobID"] == made
    assert (await running.ask(f"{JOBS}/{made}")).json["Job"]["Version"] == 2


async def test_a_job_that_is_called_like_an_id_takes_no_others_place(running: Running) -> None:
    made = await submitted(running, "victim")
    for name in (made, made[:10], made[:4], f"{made}/stdout", f"{made[:10]}/stdout", "e-" + made[2:]):
        refused = await running.ask(JOBS, "PUT", {"Job": job(name)})
        assert code(refused) == (400, "InvalidJob"), name
        assert "could be taken for the id" in refused.json["Message"]
        diff = await running.ask(f"{JOBS}/diff", "PUT", {"Job": job(name)})
        assert code(diff) == (400, "InvalidJob"), name
    assert (await running.ask(f"{JOBS}/{made}")).json["Job"]["Name"] == "victim"


async def test_a_job_without_a_name_is_submitted_again_under_its_id(running: Running) -> None:
    made = await submitted(running)
    again = await running.ask(JOBS, "PUT", {"Job": job(made, Priority=3)})
    assert (again.status, again.json["JobID"]) == (200, made)
    assert (await running.ask(f"{JOBS}/{made}")).json["Job"]["Version"] == 2
    elsewhere = await running.ask(JOBS, "PUT", {"Job": job(made, Namespace="other")})
    assert code(elsewhere) == (400, "InvalidJob")


async def test_a_token_that_was_used_for_another_job_is_a_conflict(running: Running) -> None:
    made = await running.ask(JOBS, "PUT", {"Job": job(), "IdempotencyToken": "t"})
    again = await running.ask(JOBS, "PUT", {"Job": job(), "IdempotencyToken": "t"})
    assert again.json["JobID"] == made.json["JobID"]
    other = await running.ask(JOBS, "PUT", {"Job": job(Priority=1), "IdempotencyToken": "t"})
    assert code(other) == (409, "IdempotencyTokenUsed")
    assert "token of its own" in other.json["Hint"]


async def test_each_version_has_its_own_times_and_its_own_end(running: Running) -> None:
    never = {"Name": "main", "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}
    made = await submitted(running, "told", Tasks=[never])
    await running.wait_state(made, "Failed")
    await submitted(running, "told", Tasks=[never | {"Timeouts": {"QueueTimeout": 600}}])
    await running.wait_state(made, "Queued")
    await running.ask(f"{JOBS}/{made}", "DELETE", {"Reason": "enough"})
    await submitted(running, "told", Tasks=[never | {"Timeouts": {"QueueTimeout": 700}}])
    await running.wait_state(made, "Queued")
    await submitted(running, "told", Tasks=[never | {"Timeouts": {"QueueTimeout": 800}}])
    found = (await running.wait_state(made, "Queued"))["Job"]
    shown = (await running.ask(f"{JOBS}/{made}/versions")).json["Items"]
    assert [each["State"]["StateType"] for each in shown] == ["Failed", "Stopped", "Stopped", "Queued"]
    assert "No compute node is connected" in shown[0]["State"]["Message"]
    assert shown[1]["State"]["Message"] == "Job stopped: enough"
    assert shown[2]["State"]["Message"] == "A later version took its place."
    times = [time for each in shown for time in (each["CreateTime"], each["ModifyTime"])]
    assert times == sorted(times)
    assert len({each["CreateTime"] for each in shown}) == 4
    assert found["CreateTime"] == shown[0]["CreateTime"], "the job itself was created with its first version"
    one = (await running.ask(f"{JOBS}/{made}?job_version=2")).json["Job"]
    assert (one["State"], one["CreateTime"]) == (shown[1]["State"], shown[1]["CreateTime"])


async def test_what_went_wrong_with_a_version_is_in_the_history_of_that_one_alone(running: Running) -> None:
    never = {"Name": "main", "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}
    made = await submitted(running, "told", Tasks=[never])
    await running.wait_state(made, "Failed")
    await submitted(running, "told", Tasks=[never | {"Timeouts": {"QueueTimeout": 600}}])
    every = (await running.ask(f"{JOBS}/{made}/history?all_job_versions=true")).json["Items"]
    failures = [(item["JobVersion"], item["Event"]["Details"].get("IsError")) for item in every]
    assert failures == [(1, None), (1, "true"), (2, None)]
    events = (await running.ask(f"{JOBS}/{made}?include=history")).json["History"]["Items"]
    assert [item["Event"]["Message"] for item in events] == ["Job updated to version 2"]
    await running.ask(f"{JOBS}/{made}", "DELETE")
    stream = (await running.ask(f"{JOBS}/{made}/events")).body.decode().split("\n\n")
    told = [json.loads(event.partition("data: ")[2]) for event in stream if "event: history" in event]
    assert [(item["JobVersion"], item["Event"]["Details"].get("IsError")) for item in told][:3] == failures


def engine(kind: str, **params: Any) -> dict[str, Any]:
    return job(Tasks=[{"Name": "main", "Engine": {"Type": kind, "Params": params}}])


async def test_a_parameter_that_its_engine_does_not_know_is_named_with_the_one_that_was_meant(running: Running) -> None:
    misspelt = engine("Docker", image="busybox", Paramters=["true"])
    misspelt["Tasks"][0]["Network"] = {"Type": "None"}
    answer = await running.ask(JOBS, "PUT", {"Job": misspelt})
    told = "Tasks[0].Engine.Params.Paramters is not known and was ignored; did you mean Parameters?"
    assert (answer.status, answer.json["Warnings"]) == (200, [told])
    compared = await running.ask(f"{JOBS}/diff", "PUT", {"Job": misspelt})
    assert told in compared.json["Warnings"]


async def test_parameters_that_are_null_are_nothing_to_warn_of(running: Running) -> None:
    task = {"Name": "main", "Engine": {"Type": "noop", "Params": {"A": None}}, "Resources": {"Cpuu": None}}
    wanted = job(Tasks=[task | {"Publisher": {"Type": "s3managed", "Params": {"Bucket": None}}}])
    answer = await running.ask(f"{JOBS}/diff", "PUT", {"Job": wanted})
    assert [told for told in answer.json["Warnings"] if "There is no job of this name" not in told] == []


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            engine("docker", Image="busybox", Parameters="true"),
            "Engine.Params.Parameters: expected a list, found a text",
        ),
        (engine("docker", Image="busybox", Entrypoint=["sh", {}]), "Entrypoint[1]: expected a text, found a mapping"),
        (engine("docker", Image=None), "Engine.Params.Image is missing"),
        (engine("docker", Image="Not An Image"), "'Not An Image' is not the name of an image"),
        (engine("docker", Image="a", IMAGE="b"), "Image is given twice"),
        (engine("process", EnvironmentVariables=["A=1"]), "Engine.Params names no command"),
        (
            engine("process", Entrypoint=["true"], WorkingDirectory=["a"]),
            "WorkingDirectory: expected a text, found a list",
        ),
        (engine("process", Entrypoint=["true"], EnvironmentVariables=["A"]), "'A' is not NAME=value"),
    ],
)
async def test_what_an_engine_can_never_run_is_refused_when_it_is_submitted(
    running: Running, wanted: dict[str, Any], told: str
) -> None:
    answer = await running.ask(JOBS, "PUT", {"Job": wanted})
    assert code(answer) == (400, "InvalidJob")
    assert told in answer.json["Message"]
    assert (await running.ask(JOBS)).json["Items"] == []


async def test_null_is_the_same_as_nothing_and_a_number_is_a_text_where_a_text_belongs(running: Running) -> None:
    wanted = engine(
        "process", entrypoint=["sleep"], Parameters=[10, 0.5], WorkingDirectory=None, EnvironmentVariables=None
    )
    wanted["Tasks"][0] |= {"Publisher": {"Type": "s3managed", "Params": None}, "InputSources": None, "Timeouts": None}
    answer = await running.ask(JOBS, "PUT", {"Job": wanted | {"Name": "plain", "Labels": None}})
    assert (answer.status, answer.json["Warnings"]) == (200, [])
    (task,) = (await running.ask(f"{JOBS}/plain")).json["Job"]["Tasks"]
    assert task["Engine"]["Params"] == {"Entrypoint": ["sleep"], "Parameters": ["10", "0.5"]}
    again = engine("process", Entrypoint=["sleep"], Parameters=["10", "0.5"])["Tasks"]
    again[0] |= {"Publisher": {"Type": "s3managed", "Params": {"Region": None}}}
    assert code(await running.ask(JOBS, "PUT", {"Job": job("plain", Tasks=again)})) == (409, "JobUnchanged")


async def test_an_engine_that_nobody_knows_is_waited_for_with_a_warning(running: Running) -> None:
    wanted = engine("spaceship", Anything=1)
    wanted["Tasks"][0]["Timeouts"] = {"QueueTimeout": 600}
    answer = await running.ask(JOBS, "PUT", {"Job": wanted})
    assert answer.json["Warnings"] == [
        "Tasks[0].Engine.Type 'spaceship' is not an engine that is known; no node offers it."
    ]
    await running.wait_state(answer.json["JobID"], "Queued")


async def test_what_cannot_be_read_and_what_breaks_a_rule_are_told_together(running: Running) -> None:
    wanted = engine("proces", Entrypoint=["true"]) | {"Count": "many", "Type": "bath"}
    answer = await running.ask(JOBS, "PUT", {"Job": wanted})
    assert code(answer) == (400, "InvalidDocument")
    assert answer.json["Message"].splitlines() == [
        "The request is not valid:",
        "  - Job.Count: expected a whole number, found a text",
        "  - Job.Type 'bath' is not a type of job; write `Type: batch`, or `Type: ops` to run on each node.",
        "  - Job.Tasks[0].Engine.Type 'proces' is not an engine; did you mean process?",
    ]


async def test_every_field_that_may_be_left_out_may_be_null(running: Running) -> None:
    resources = dict.fromkeys(("CPU", "Memory", "Disk", "GPU"))
    task: dict[str, Any] = {
        "Name": "main",
        "Engine": {"Type": "noop", "Params": None},
        "Publisher": {"Type": None, "Params": None},
        "Resources": resources,
        "Network": {"Type": None, "Domains": None},
        "Timeouts": dict.fromkeys(("ExecutionTimeout", "QueueTimeout", "TotalTimeout")),
    }
    left_out = dict.fromkeys(("Name", "Namespace", "Priority", "Count", "Constraints", "Meta", "Labels", "ID", "State"))
    request = {"Job": {"Type": "batch", "Tasks": [task], **left_out}, "Force": None, "IdempotencyToken": None}
    answer = await running.ask(JOBS, "PUT", request)
    assert (answer.status, answer.json["Warnings"]) == (200, [])
    more = dict.fromkeys(
        ("Publisher", "Env", "Meta", "InputSources", "ResultPaths", "Resources", "Network", "Timeouts")
    )
    answer = await running.ask(JOBS, "PUT", {"Job": {"Type": "batch", "Tasks": [task | more]}})
    assert (answer.status, answer.json["Warnings"]) == (200, [])
    stopped = await running.ask(f"{JOBS}/{answer.json['JobID']}", "DELETE", {"Reason": None})
    assert stopped.status == 200
    rerun = {"JobVersion": None, "Reason": None, "IdempotencyToken": None}
    assert (await running.ask(f"{JOBS}/{answer.json['JobID']}/rerun", "PUT", rerun)).status == 200
