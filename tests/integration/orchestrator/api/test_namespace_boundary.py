"""A namespace is a boundary: with a key for one, nothing of another is seen, counted, signed or stopped."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from orchestrator.api.bodies import answer
from orchestrator.api.routes import JOBS as JOBS_PATH
from orchestrator.api.routes import Route
from orchestrator.jobs import views
from orchestrator.rules.location import Location
from orchestrator.rules.records import DataRecord, SecretRecord
from shared.ids import JobId, execution_key, new_execution_id
from shared.jobs.states import ExecutionState
from shared.protocol.capabilities import READ_JOB
from shared.settings.config import ApiAuth, ApiSettings, Config
from tests.api_keys import Keyed, keyed
from tests.integration.fed_api import JOBS, NODES, FedApi

OWN, FOREIGN = "a", "b"
ID, NAME, LABEL = "j-7777", "job-7777", "hush-label"
SECRET = "hush-key"
DATA, DIGEST = "hush-data", "ab" * 32
EXECUTION, NO_EXECUTION = [new_execution_id(execution_key(JobId(job), 1, 0, 0)) for job in (ID, "j-9999")]
HIDDEN = (ID, NAME, LABEL, SECRET, DATA, DIGEST, EXECUTION, "hush-words")
"""What must stand in no answer, unless the question had it."""
ABSENT = {ID: "j-9999", NAME: "job-9999", FOREIGN: "z", "j-777": "j-999", SECRET: "none-key", DATA: "none-data"} | {
    DIGEST: "cd" * 32,
    DIGEST[:8]: "cd" * 4,
    EXECUTION: NO_EXECUTION,
}
"""For each thing of the other namespace one that is not there at all: both have to be answered alike."""
READ_SECONDS = 0.3


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    async with filled().serving() as fed:
        yield fed


def filled() -> FedApi:
    fed = FedApi(Config(api=ApiSettings(auth=ApiAuth(anonymous=False))))
    fed.job(1, namespace=OWN, team="mine")
    fed.job(7777, namespace=FOREIGN, team=LABEL)
    fed.node("n-1")
    secret = SecretRecord(
        namespace=FOREIGN, name=SECRET, sealed=b"", key_id="", size_bytes=1, create_time=1, modify_time=1
    )
    fed.feed(secret.key, secret)
    data = DataRecord(
        namespace=FOREIGN,
        digest=DIGEST,
        location=Location(bucket="bucket", key=f"inputs/{FOREIGN}/manifests/{DIGEST}", region="us-east-1"),
        manifest_bytes=9,
        files=1,
        size_bytes=1,
        names={DATA: 1},
        ready=1,
        create_time=1,
        last_use=1,
    )
    fed.feed(data.key, data)
    fed.execution(fed_id(1), 0, ExecutionState.RUNNING, told=True)
    fed.execution(fed_id(7777), 0, ExecutionState.RUNNING, told=True)
    return fed


def fed_id(number: int) -> Any:
    return f"j-{number:04}"


def limited(api: FedApi, *capabilities: str, namespaces: tuple[str, ...] = (OWN,)) -> Keyed:
    user = keyed("of-a", *capabilities, namespaces=namespaces)
    api.feed(user.record.key, user.record)
    return user


class Question(NamedTuple):
    method: str
    path: str
    body: Any = None

    def of_nothing(self) -> "Question":
        """The same about what is not there."""
        return Question(self.method, _absent(self.path), _absent_body(self.body))


def _absent(text: str) -> str:
    for there, absent in ABSENT.items():
        text = re.sub(rf"(?<![\w-]){re.escape(there)}(?![\w-])", absent, text)
    return text


def _absent_body(body: Any) -> Any:
    match body:
        case str():
            return _absent(body)
        case dict():
            return {key: _absent_body(value) for key, value in body.items()}
        case list():
            return [_absent_body(each) for each in body]
        case _:
            return body


def questions(route: Route) -> Iterator[Question]:
    """All ways to ask a route about the other namespace. A parameter that is new in a path needs its line here."""
    fill = {
        "job": (ID, NAME, "j-777"),
        "node": ("n-1",),
        "execution": (EXECUTION,),
        "user": ("of-a",),
        "secret": (SECRET,),
        "data": (DATA, DIGEST, DIGEST[:8]),
        "namespace": (FOREIGN,),
        "token": ("none",),
    }
    (parameter,) = re.findall(r"\{(\w+)\}", route.path) or [""]
    paths = [route.path.replace(f"{{{parameter}}}", each) for each in fill[parameter]] if parameter else [route.path]
    task = {"Name": "main", "Engine": {"Type": "noop"}}
    job = {"Name": NAME, "Namespace": FOREIGN, "Tasks": [task]}
    bodies: list[Any] = [None] if route.body is None else [None, {"Job": job, "Namespace": FOREIGN}]
    if route.path.endswith("/submissions"):
        needy = {"Name": "needy", "Tasks": [task], "Needs": [ID, {"Job": NAME}]}
        bodies = [None, {"Jobs": [job], "Namespace": FOREIGN}, {"Jobs": [needy]}]
    ask = ("", f"?namespace={FOREIGN}", "?namespace=*", f"?execution_id={ID}", f"?name={NAME}&namespace=*")
    for path in paths:
        for query in ask:
            for body in bodies:
                yield Question(route.method, f"{path}{query}", body)


async def answered(api: FedApi, question: Question, user: Keyed) -> tuple[int, str]:
    """Status and body; of a stream what comes in a moment."""
    try:
        async with asyncio.timeout(READ_SECONDS * 10):
            found = await api.ask(question.path, question.method, question.body, headers=user.bearer)
    except TimeoutError:
        return 0, ""
    body = re.sub(r'"(RequestID|Link)":"[^"]*"', "", found.body.decode())  # made anew for each answer
    return found.status, re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z?(\+00:00)?", "", body)


async def leaks(api: FedApi, route: Route, user: Keyed) -> list[str]:
    """What the route tells a stranger to the namespace: words of it, or that something is there."""
    found = []
    for question in questions(route):
        status, body = await answered(api, question, user)
        absent = await answered(api, question.of_nothing(), user)
        asked = f"{question.path} {question.body}"
        found += [f"{question}: {word}" for word in HIDDEN if word in body and word not in asked]
        if (status, _absent(body)) != absent:
            found.append(f"{question}: {status} {body[:200]} is not {absent[0]} {absent[1][:200]}")
        if status == 0:
            found.append(f"{question}: is streamed")
    return found


@pytest.mark.parametrize("route", filled().api.routes, ids=lambda route: f"{route.method} {route.path}")
async def test_a_key_for_one_namespace_learns_nothing_of_another(api: FedApi, route: Route) -> None:
    for capabilities in (("*",), ("read:*", "write:*")):
        assert await leaks(api, route, limited(api, *capabilities)) == []


async def test_a_route_that_forgets_to_look_who_asks_is_found() -> None:
    fed = filled()

    async def get_carelessly(request: web.Request) -> web.Response:
        entry = fed.model.names.find(request.match_info["job"], "default")
        return answer(views.job_view(fed.model, entry))

    careless = Route("GET", f"{JOBS_PATH}/{{job}}/careless", get_carelessly, "", needs=READ_JOB)
    fed.api.routes = (*fed.api.routes, careless)
    async with fed.serving():
        assert await leaks(fed, careless, limited(fed, "*"))


# ---- one by one -----------------------------------------------------------------------------------------------------


async def ids(api: FedApi, query: str, user: Keyed) -> list[str]:
    found = await api.ask(f"{JOBS}{query}", headers=user.bearer)
    return [job["ID"] for job in found.json["Items"]]


async def test_all_namespaces_are_all_that_a_key_is_for(api: FedApi) -> None:
    api.job(2, namespace="c")
    both = limited(api, "read:job", namespaces=(OWN, "c"))
    assert await ids(api, "?namespace=*", both) == ["j-0001", "j-0002"]
    assert await ids(api, "?namespace=*&reverse=true&order_by=id", both) == ["j-0002", "j-0001"]
    assert await ids(api, "?namespace=b", both) == []
    everywhere = keyed("all", "read:job")
    api.feed(everywhere.record.key, everywhere.record)
    assert await ids(api, "?namespace=*", everywhere) == ["j-0001", "j-0002", ID]


async def test_the_only_namespace_of_a_key_is_meant_where_none_is_named(api: FedApi) -> None:
    user = limited(api, "read:job")
    assert await ids(api, "", user) == ["j-0001"]
    assert (await api.ask(f"{JOBS}/job-1", headers=user.bearer)).json["Job"]["ID"] == "j-0001"


async def test_the_pages_of_a_list_name_no_job_of_another_namespace(api: FedApi) -> None:
    user = limited(api, "read:job")
    for number in range(2, 6):
        api.job(number, namespace=OWN, team="same")
        api.job(number * 100, namespace=FOREIGN, team="same")
    for number in range(20, 40):
        api.job(number, namespace=OWN)
    for order in ("created_at", "modified_at", "id"):
        seen, query = list[str](), f"?namespace=*&limit=1&order_by={order}&labels=team%3Dsame"
        while True:
            page = (await api.ask(f"{JOBS}{query}", headers=user.bearer)).json
            seen += [job["ID"] for job in page["Items"]]
            if not page["NextToken"]:
                break
            token = base64.urlsafe_b64decode(page["NextToken"] + "==").decode()
            assert token.rpartition(":")[2] in seen
            query = f"?next_token={page['NextToken']}&namespace=*&labels=team%3Dsame"
        assert sorted(seen) == ["j-0002", "j-0003", "j-0004", "j-0005"]


async def test_a_beginning_that_is_of_one_job_here_and_of_others_elsewhere_means_the_one_here(api: FedApi) -> None:
    api.job(778, namespace=OWN)
    api.job(7770, namespace=OWN)
    user = limited(api, "read:job")
    found = await api.ask(f"{JOBS}/j-777", headers=user.bearer)  # j-7777 begins so, too
    assert found.json["Job"]["ID"] == "j-7770"
    everybody = keyed("all", "read:job")
    api.feed(everybody.record.key, everybody.record)
    assert (await api.ask(f"{JOBS}/j-777", headers=everybody.bearer)).json["Details"] == {}


async def test_what_others_run_on_a_node_is_not_counted(api: FedApi) -> None:
    everybody, user = keyed("all", "read:node", "read:job"), limited(api, "read:node", "read:job")
    api.feed(everybody.record.key, everybody.record)
    nodes = [next(iter(api.model.executions.live))]
    api.node(nodes[0])
    for seen_by, live in ((everybody, 2), (user, 1)):
        node = (await api.ask(f"{NODES}/{nodes[0]}", headers=seen_by.bearer)).json["Node"]
        assert node["LiveExecutions"] == live
        assert node["Info"]["ComputeNodeInfo"]["RunningExecutions"] == live
        held = (await api.ask(f"{NODES}/{nodes[0]}/executions", headers=seen_by.bearer)).json["Items"]
        assert [each["JobID"] for each in held] == [ID, "j-0001"][-live:]


async def test_a_job_cannot_be_put_into_a_namespace_that_a_key_is_not_for(api: FedApi) -> None:
    user = limited(api, "write:job")
    task = {"Name": "main", "Engine": {"Type": "noop"}}
    for path, method in ((JOBS, "PUT"), (JOBS, "POST"), (f"{JOBS}/diff", "PUT")):
        found = await api.ask(path, method, {"Job": {"Namespace": FOREIGN, "Tasks": [task]}}, headers=user.bearer)
        assert (found.status, found.json["Details"]["TarponCode"]) == (403, "NamespaceForbidden")


async def test_what_is_about_all_namespaces_takes_a_key_for_all(api: FedApi) -> None:
    user = limited(api, "*")
    for path in ("/metrics", "/api/v1/agent/debug", "/api/v1/agent/uploads", "/api/v1/agent/config"):
        found = await api.ask(path, headers=user.bearer)
        assert (found.status, found.json["Details"]["TarponCode"]) == (403, "NotForAllNamespaces")
