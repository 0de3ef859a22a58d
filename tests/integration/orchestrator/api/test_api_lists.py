"""Lists of jobs, executions and nodes: what they hold, in which order, and page by page."""

import base64
import sys
import time
from types import FrameType
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from orchestrator.api.paging import MAX_PAGE
from orchestrator.jobs import views
from orchestrator.rules.records import BindingRecord, KeyLife, NodeKeysRecord
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.protocol.messages import Heartbeat, Registration, UploadProgress
from tests.integration.fed_api import JOBS, NODES, FedApi

LIST_SECONDS = 0.005
"""Of processor time, the client's part included."""


async def all_pages(fed: FedApi, path: str) -> list[list[str]]:
    """The names on every page; the token alone asks for each further one."""
    pages: list[list[str]] = []
    query = path
    while True:
        answer = await fed.ask(query)
        pages.append([item["Name"] for item in answer.json["Items"]])
        if not answer.json["NextToken"]:
            return pages
        query = f"{path.partition('?')[0]}?next_token={answer.json['NextToken']}"


async def test_without_parameters_all_jobs_are_listed_and_the_oldest_comes_first(fed: FedApi) -> None:
    for number in range(12):
        fed.job(number)
    assert await fed.names(JOBS) == [f"job-{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("order_by=created_at", ["job-1", "job-2", "job-3"]),
        ("order_by=create_time&reverse=true", ["job-3", "job-2", "job-1"]),
        ("order_by=modified_at", ["job-3", "job-2", "job-1"]),
        ("order_by=modify_time&reverse=True", ["job-1", "job-2", "job-3"]),
        ("order_by=id", ["job-1", "job-2", "job-3"]),
        ("order_by=id&reverse=true", ["job-3", "job-2", "job-1"]),
        ("reverse=false&limit=1", ["job-1"]),
        ("reverse=true&limit=1", ["job-3"]),
        ("limit=0&labels=&order_by=&next_token=", ["job-1", "job-2", "job-3"]),
    ],
)
async def test_jobs_are_ordered_as_asked(fed: FedApi, query: str, names: list[str]) -> None:
    for number in (2, 1, 3):
        fed.job(number)
    assert await fed.names(f"{JOBS}?{query}") == names


async def test_pages_follow_each_other_in_the_order_that_the_first_asked_for(fed: FedApi) -> None:
    for number in range(5):
        fed.job(number)
    pages = await all_pages(fed, f"{JOBS}?limit=2&reverse=true")
    assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    pages = await all_pages(fed, f"{JOBS}?limit=2&order_by=created_at")
    assert pages == [["job-0", "job-1"], ["job-2", "job-3"], ["job-4"]]


async def test_an_answer_has_fewer_jobs_than_asked_for_where_they_are_large(
    fed: FedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        fed.job(number)
    (one,) = (await fed.ask(f"{JOBS}?limit=1")).json["Items"]
    monkeypatch.setattr("orchestrator.api.jobs.MAX_LIST_BYTES", int(2.5 * len(msgspec.json.encode(one))))
    pages = await all_pages(fed, f"{JOBS}?limit=4")
    assert pages == [["job-0", "job-1"], ["job-2", "job-3"], ["job-4"]]
    monkeypatch.setattr("orchestrator.api.jobs.MAX_LIST_BYTES", 1)
    assert await all_pages(fed, f"{JOBS}?reverse=true") == [[f"job-{number}"] for number in reversed(range(5))]


@pytest.mark.parametrize(
    ("token", "pages"),
    [
        (":N:2:2", [["job-2", "job-1"], ["job-0"]]),
        ("created_at:N:2:2", [["job-2", "job-1"], ["job-0"]]),
        (":Y:2:2", [["job-2", "job-3"], ["job-4"]]),
        ("modified_at:N:2:2", [["job-2", "job-3"], ["job-4"]]),
        ("modified_at:Y:2:2", [["job-2", "job-1"], ["job-0"]]),
    ],
)
async def test_a_token_from_when_the_newest_came_first_goes_on_as_it_was_begun(
    fed: FedApi, token: str, pages: list[list[str]]
) -> None:
    """As the version before gave them: the newest first, and with Y the oldest."""
    for number in range(5):
        fed.job(number)
    given = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    assert await all_pages(fed, f"{JOBS}?next_token={given}") == pages


async def test_a_token_overrides_the_other_values(fed: FedApi) -> None:
    for number in range(5):
        fed.job(number)
    token = (await fed.ask(f"{JOBS}?limit=2&reverse=true")).json["NextToken"]
    assert await fed.names(f"{JOBS}?limit=4&reverse=false&order_by=modified_at&next_token={token}") == [
        "job-2",
        "job-1",
    ]


async def test_namespaces_are_listed_one_by_one_or_all(fed: FedApi) -> None:
    fed.job(1)
    fed.job(2, namespace="other")
    assert await fed.names(JOBS) == ["job-1"]
    assert await fed.names(f"{JOBS}?namespace=other") == ["job-2"]
    assert await fed.names(f"{JOBS}?namespace=*") == ["job-1", "job-2"]


async def test_labels_select_jobs_and_all_selectors_have_to_hold(fed: FedApi) -> None:
    fed.job(1, team="a", env="prod")
    fed.job(2, team="a", env="test")
    fed.job(3)
    assert await fed.names(f"{JOBS}?labels=team%3Da") == ["job-1", "job-2"]
    assert await fed.names(f"{JOBS}?labels={quote('team=a,env in (prod,x)')}") == ["job-1"]
    assert await fed.names(f"{JOBS}?labels=team%3Da&labels=env%21%3Dprod") == ["job-2"]
    assert await fed.names(f"{JOBS}?labels=%21team") == ["job-3"]


@pytest.mark.parametrize(
    "query",
    [
        "labels=a%20b",
        "limit=-1",
        "limit=ten",
        "next_token=10",
        "order_by=colour",
        "state=Sleeping",
        "exit_code=one",
        "since=yesterday",
        "since=12x",
        f"name={'a' * 201}",
        "reverse=perhaps",
    ],
)
async def test_a_list_that_cannot_be_made_is_a_bad_request(fed: FedApi, query: str) -> None:
    answer = await fed.ask(f"{JOBS}?{query}")
    assert answer.status == 400
    assert answer.json["Code"] in {"InvalidDocument", "InvalidInput"}


async def test_an_order_of_another_list_cannot_come_in_by_a_token(fed: FedApi) -> None:
    token = (await fed.ask(f"{NODES}?order_by=available_cpu&limit=1")).json["NextToken"]
    assert token == ""  # the orchestrator is alone
    fed.node("n-1")
    fed.node("n-2")
    token = (await fed.ask(f"{NODES}?order_by=available_cpu&limit=1")).json["NextToken"]
    answer = await fed.ask(f"{JOBS}?next_token={token}")
    assert answer.status == 400
    assert "is not a token of this list" in answer.json["Message"]


async def test_the_beginning_of_an_id_has_to_be_unambiguous(fed: FedApi) -> None:
    fed.job(1001)
    fed.job(1002)
    fed.job(2001)
    assert (await fed.ask(f"{JOBS}/j-2001")).json["Job"]["Name"] == "job-2001"
    assert (await fed.ask(f"{JOBS}/j-20")).json["Job"]["Name"] == "job-2001"
    ambiguous = await fed.ask(f"{JOBS}/j-10")
    assert (ambiguous.status, ambiguous.json["Code"]) == (400, "JobAmbiguous")
    assert (await fed.ask(f"{JOBS}/job-1001")).json["Job"]["ID"] == "j-1001"
    assert (await fed.ask(f"{JOBS}/job-1001?namespace=other")).status == 404


async def test_names_that_may_have_been_meant_are_told(fed: FedApi) -> None:
    fed.job(1001)
    fed.job(2002)
    fed.node("alpha-1")
    assert (await fed.ask(f"{JOBS}/jib-1001")).json["Hint"].startswith("Did you mean 'job-1001'? ")
    assert "Did you mean" not in (await fed.ask(f"{JOBS}/jib-1001?namespace=other")).json["Hint"]
    assert "Did you mean" not in (await fed.ask(f"{JOBS}/something-else")).json["Hint"]
    assert (await fed.ask(f"{NODES}/alhpa-1")).json["Hint"].startswith("Did you mean 'alpha-1'? ")


async def test_jobs_are_found_by_all_conditions_together(fed: FedApi) -> None:
    for number, code in enumerate([0, 1, 137], start=1):
        job = fed.job(number, team="a" if number < 3 else "b")
        fed.execution(job, 0, ExecutionState.COMPLETED, exit_code=code)
    fed.execution(fed.job(4, team="a"), 0, ExecutionState.RUNNING)

    async def found(query: str) -> list[str]:
        return await fed.names(f"{JOBS}?{query}")

    assert await found("state=completed") == ["job-1", "job-2", "job-3"]
    assert await found("state=Running,Queued") == ["job-4"]
    assert await found("exit_code=1") == ["job-2"]
    assert await found("exit_code=1,137&exit_code=0") == ["job-1", "job-2", "job-3"]
    assert await found("exit_code=nonzero") == ["job-2", "job-3"]
    assert await found("exit_code=nonzero&labels=team%3Da&state=Completed") == ["job-2"]
    assert await found("since=3") == ["job-3", "job-4"]
    assert await found("since=1970-01-01T00:00:04Z") == ["job-4"]
    assert await found("since=12h") == []
    assert await found("since=90000d") == ["job-1", "job-2", "job-3", "job-4"]
    assert await found("name=job-2") == ["job-2"]
    assert await found(f"name={quote('job-[13]')}") == ["job-1", "job-3"]
    assert await found("name=*-*&order_by=modified_at&exit_code=nonzero") == ["job-2", "job-3"]


async def test_how_far_results_are_is_told_as_their_nodes_tell(fed: FedApi) -> None:
    fed.node("n-1")
    job = fed.job(1, count=2)
    fed.execution(job, 0, ExecutionState.PUBLISHING)
    fed.execution(job, 1, ExecutionState.RUNNING)
    first, second = (each["ID"] for each in (await fed.ask(f"{JOBS}/{job}/executions")).json["Items"])
    of_first = UploadProgress(
        execution_id=ExecutionId(first), done_bytes=1 << 30, total_bytes=4 << 30, bytes_per_second=85 << 20
    )
    of_second = UploadProgress(execution_id=ExecutionId(second), done_bytes=7)
    fed.nodes.on_heartbeat(NodeId("n-1"), Heartbeat(session="s", uploads=(of_first, of_second)))
    fed.nodes.on_heartbeat(NodeId("n-2"), Heartbeat(session="s", uploads=(of_first,)))
    publishing, running = (await fed.ask(f"{JOBS}/{job}/executions")).json["Items"]
    assert publishing["ComputeState"]["Message"] == "Publishing: 1.0 GiB of 4.0 GiB, 85.0 MiB/s"
    assert publishing["Upload"] == {"DoneBytes": 1 << 30, "TotalBytes": 4 << 30, "BytesPerSecond": 85 << 20}
    assert running["Upload"] is None
    assert (await fed.ask(f"{JOBS}/{job}/waits")).json["Upload"] == publishing["Upload"]


async def test_exit_codes_are_counted_over_the_parts_of_the_newest_version(fed: FedApi) -> None:
    job = fed.job(1, count=4)
    for part, code in enumerate([0, 0, 2]):
        fed.execution(job, part, ExecutionState.COMPLETED, exit_code=code)
    fed.execution(job, 3, ExecutionState.RUNNING)
    assert (await fed.ask(JOBS)).json["Items"][0]["ExitCodes"] == {"0": 2, "2": 1}
    fed.job(1, version=2)
    fed.execution(job, 0, ExecutionState.COMPLETED, version=2, exit_code=5)
    versions = (await fed.ask(f"{JOBS}/{job}/versions")).json["Items"]
    assert [each["ExitCodes"] for each in versions] == [{"0": 2, "2": 1}, {"5": 1}]


async def test_executions_are_ordered_and_paged(fed: FedApi) -> None:
    job = fed.job(1, count=3)
    for partition in range(3):
        fed.execution(job, partition, ExecutionState.COMPLETED if partition else ExecutionState.RUNNING)
    path = f"{JOBS}/{job}/executions"

    async def partitions(query: str) -> list[int]:
        return [item["PartitionIndex"] for item in (await fed.ask(f"{path}?{query}")).json["Items"]]

    assert await partitions("") == [0, 1, 2]
    assert await partitions("order_by=created_at&reverse=true") == [2, 1, 0]
    assert await partitions("order_by=modified_at") == [2, 1, 0]
    assert await partitions("order_by=state&reverse=true&limit=2") == [2, 1]
    token = (await fed.ask(f"{path}?limit=2")).json["NextToken"]
    assert await partitions(f"next_token={token}") == [2]


async def test_executions_of_some_parts_are_listed(fed: FedApi) -> None:
    job = fed.job(1, count=6)
    for partition in range(6):
        fed.execution(job, partition, ExecutionState.RUNNING)
    asked = await fed.ask(f"{JOBS}/{job}/executions?partitions=0-1,%204,9-12")
    assert [item["PartitionIndex"] for item in asked.json["Items"]] == [0, 1, 4]


async def test_each_part_has_a_letter_for_how_it_stands(fed: FedApi) -> None:
    job = fed.job(1, count=7)
    fed.execution(job, 1, ExecutionState.NEW)
    fed.execution(job, 2, ExecutionState.RUNNING)
    fed.execution(job, 3, ExecutionState.PUBLISHING)
    fed.execution(job, 4, ExecutionState.COMPLETED)
    fed.execution(job, 5, ExecutionState.REJECTED)
    told = (await fed.ask(f"{JOBS}/{job}/parts")).json
    assert told == {"JobID": job, "JobVersion": 1, "Total": 7, "States": "wnrpcaw"}


async def test_an_earlier_version_has_its_own_parts(fed: FedApi) -> None:
    job = fed.job(1, count=2)
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.execution(job, 1, ExecutionState.FAILED)
    fed.job(1, version=2, count=1)
    assert (await fed.ask(f"{JOBS}/{job}/parts")).json["States"] == "w"
    assert (await fed.ask(f"{JOBS}/{job}/parts?job_version=1")).json["States"] == "cf"


async def test_executions_are_told_with_the_job_in_their_version(fed: FedApi) -> None:
    job = fed.job(1, team="a")
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.job(1, version=2, team="b")
    fed.execution(job, 0, ExecutionState.RUNNING, version=2)

    def jobs(items: list[dict[str, Any]]) -> list[tuple[int, str]]:
        return sorted((each["Job"]["Version"], each["Job"]["Labels"]["team"]) for each in items)

    every = await fed.ask(f"{JOBS}/{job}/executions?all_job_versions=true")
    assert jobs(every.json["Items"]) == [(1, "a"), (2, "b")]
    described = await fed.ask(f"{JOBS}/{job}?include=executions")
    assert jobs(described.json["Executions"]["Items"]) == [(2, "b")]


async def test_many_executions_of_a_large_job_are_told_without_it(fed: FedApi) -> None:
    job = fed.job(1, count=50, note="x" * 200_000)
    for partition in range(50):
        fed.execution(job, partition, ExecutionState.RUNNING)
    answer = await fed.ask(f"{JOBS}/{job}/executions")
    assert len(answer.json["Items"]) == 50
    assert not any("Job" in each for each in answer.json["Items"])
    few = await fed.ask(f"{JOBS}/{job}/executions?limit=5")
    assert all(each["Job"]["ID"] == job for each in few.json["Items"])


async def test_a_limit_counts_beside_the_token_of_a_history(fed: FedApi) -> None:
    job = fed.job(1, count=9)
    for partition in range(9):
        fed.execution(job, partition, ExecutionState.RUNNING, told=True)
    first = (await fed.ask(f"{JOBS}/{job}/history?limit=2")).json
    more = await fed.ask(f"{JOBS}/{job}/history?limit=4&next_token={first['NextToken']}")
    assert (len(first["Items"]), len(more.json["Items"])) == (2, 4)


async def test_executions_of_the_newest_version_are_shown_unless_others_are_asked_for(fed: FedApi) -> None:
    job = fed.job(1)
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.job(1, version=2)
    fed.execution(job, 0, ExecutionState.RUNNING, version=2)

    async def versions(path: str) -> list[int]:
        return [item["JobVersion"] for item in (await fed.ask(f"{JOBS}/{job}{path}")).json["Items"]]

    assert await versions("/executions") == [2]
    assert await versions("/executions?job_version=1") == [1]
    assert sorted(await versions("/executions?all_job_versions=true")) == [1, 2]
    assert (await fed.ask(f"{JOBS}/{job}/executions?job_version=3")).json["Code"] == "NotFound"
    shown = (await fed.ask(f"{JOBS}/{job}/versions")).json["Items"]
    assert [(item["Version"], item["State"]["StateType"]) for item in shown] == [(1, "Completed"), (2, "Running")]


async def test_nodes_are_filtered_and_ordered(fed: FedApi) -> None:
    fed.node("n-1", cpu=1.0, zone="a")
    fed.node("n-2", cpu=8.0, zone="b")
    fed.node("n-3", cpu=4.0, zone="a")
    fed.nodes.on_registration(
        NodeId("n-2"), Registration(info=fed.model.nodes[NodeId("n-2")].info, session="s", inventory=1)
    )
    assert await fed.names(NODES) == ["n-1", "n-2", "n-3", "o-test"]
    assert await fed.names(f"{NODES}?reverse=true&limit=2") == ["o-test", "n-3"]
    assert await fed.names(f"{NODES}?order_by=type") == ["o-test", "n-1", "n-2", "n-3"]
    assert await fed.names(f"{NODES}?order_by=available_cpu") == ["n-2", "n-3", "n-1", "o-test"]
    assert await fed.names(f"{NODES}?order_by=status") == ["n-2", "o-test", "n-1", "n-3"]
    assert await fed.names(f"{NODES}?labels=zone%3Da") == ["n-1", "n-3"]
    assert await fed.names(f"{NODES}?filter-status=connected") == ["n-2", "o-test"]
    assert await fed.names(f"{NODES}?filter_status=DISCONNECTED") == ["n-1", "n-3"]
    assert await fed.names(f"{NODES}?filter-approval=approved") == ["n-1", "n-2", "n-3", "o-test"]
    assert await fed.names(f"{NODES}?filter-approval=pending") == []
    assert (await fed.ask(f"{NODES}?filter-status=asleep")).status == 400


async def test_the_beginning_of_a_nodes_id_names_it(fed: FedApi) -> None:
    fed.node("alpha-1")
    fed.node("alpha-2")
    fed.node("beta")
    fed.feed(subjects.binding_record(NodeId("beta")), BindingRecord(public_key="U"))
    keys = NodeKeysRecord(node=NodeId("beta"), lives=(KeyLife(public_key="U"),))
    fed.feed(keys.key, keys)
    assert (await fed.ask(f"{NODES}/be")).json["Node"]["Info"]["NodeID"] == "beta"
    several = await fed.ask(f"{NODES}/alpha")
    assert (several.status, several.json["Code"]) == (409, "MultipleNodesFound")
    assert (await fed.ask(f"{NODES}/gamma")).json["Code"] == "NotFound"
    assert (await fed.ask(f"{NODES}/beta", "PUT", {"Action": "approve"})).json["Success"]
    assert (await fed.ask(f"{NODES}/beta", "PUT", {"Action": "delete"})).json["Code"] == "NodeConnected"
    assert (await fed.ask(f"{NODES}/beta", "PUT", {"Action": "paint"})).status == 400


async def test_a_page_of_many_jobs_makes_only_the_views_that_it_shows(fed: FedApi) -> None:
    for number in range(1000):
        fed.job(number, team="a")
    made: list[str] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is views.job_view.__code__:
            made.append("a view")

    sys.setprofile(watch)
    try:
        assert len(await fed.names(f"{JOBS}?limit=10&labels=team%3Da")) == 10
    finally:
        sys.setprofile(None)
    assert len(made) == 10
    assert len(await fed.names(f"{JOBS}?limit=5000")) == MAX_PAGE


async def test_a_page_of_many_jobs_takes_little_work(fed: FedApi) -> None:
    for number in range(1000):
        fed.job(number)
    took = []
    for _ in range(50):
        began = time.process_time()
        await fed.ask(f"{JOBS}?limit=10")
        took.append(time.process_time() - began)
    assert sorted(took)[5] < LIST_SECONDS  # others may use the machine meanwhile
