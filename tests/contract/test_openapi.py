"""The description of the HTTP API is what is served: the same routes, and answers that fit its schemas."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest

from shared.ids import NodeId
from shared.jobs.states import ExecutionState
from shared.protocol.messages import Registration
from shared.protocol.rest import BASE_PATH
from tests.documents import text_of
from tests.integration.fed_api import JOBS, NODES, FedApi

EXECUTIONS = f"{BASE_PATH}/orchestrator/executions"
TOKENS = f"{BASE_PATH}/orchestrator/tokens"
JOB = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
NAMESPACES = f"{BASE_PATH}/orchestrator/namespaces"
DATA = f"{BASE_PATH}/orchestrator/data"
SECRETS = f"{BASE_PATH}/orchestrator/secrets"
TEMPLATES = {
    f"{JOBS}/j-none": f"{JOBS}/{{job}}",
    f"{JOBS}/j-0001": f"{JOBS}/{{job}}",
    f"{JOBS}/j-0001/schedule": f"{JOBS}/{{job}}/schedule",
    f"{EXECUTIONS}/e-none": f"{EXECUTIONS}/{{execution}}",
    f"{NODES}/n-1": f"{NODES}/{{node}}",
    f"{NODES}/n-1/key": f"{NODES}/{{node}}/key",
    f"{NODES}/n-1/executions": f"{NODES}/{{node}}/executions",
    f"{TOKENS}/none": f"{TOKENS}/{{token}}",
    f"{NAMESPACES}/a.b": f"{NAMESPACES}/{{namespace}}",
    f"{SECRETS}/none": f"{SECRETS}/{{secret}}",
}

EXAMPLES: list[tuple[str, str, Any]] = [
    ("GET", f"{JOBS}?limit=1&namespace=*", None),
    ("GET", f"{JOBS}/j-0001?include=history,executions", None),
    ("GET", f"{JOBS}/j-0001/history?limit=1", None),
    ("GET", f"{JOBS}/j-0001/executions?all_job_versions=true", None),
    ("GET", f"{JOBS}/j-0001/executions?partitions=0-49,60", None),
    ("GET", f"{JOBS}/j-0001/parts", None),
    ("GET", f"{EXECUTIONS}/e-none", None),
    ("GET", f"{JOBS}/j-0001/versions", None),
    ("GET", f"{NODES}/n-1/executions?limit=10", None),
    ("GET", f"{JOBS}/j-none/results", None),
    ("GET", f"{JOBS}/j-0001/waits?limit=1", None),
    ("PUT", f"{JOBS}/diff", {"Job": JOB}),
    ("PUT", f"{JOBS}/validate", {"Job": {"Count": 0}}),
    ("PUT", f"{JOBS}/validate", {"Job": JOB}),
    ("PUT", JOBS, {"Job": {}}),
    ("PUT", JOBS, {"Job": JOB}),
    ("DELETE", f"{JOBS}/j-0001", {"Reason": ""}),
    ("PUT", f"{JOBS}/j-0001/schedule", {"Action": "pause"}),
    ("GET", f"{NODES}?filter-status=connected", None),
    ("GET", f"{NODES}/n-1", None),
    ("PUT", f"{NODES}/n-1", {"Action": "approve"}),
    ("PUT", f"{NODES}/n-1", {"Action": "delete"}),
    ("PUT", f"{NODES}/n-1/key", {}),
    ("PUT", TOKENS, {"Labels": {"team": "a"}}),
    ("PUT", TOKENS, {"Labels": {"": "a"}}),
    ("GET", TOKENS, None),
    ("DELETE", f"{TOKENS}/none", None),
    ("GET", NAMESPACES, None),
    ("PUT", f"{NAMESPACES}/a.b", {"Weight": 2}),
    ("GET", f"{SECRETS}?namespace=a", None),
    ("PUT", f"{SECRETS}/none", {"Value": ""}),
    ("DELETE", f"{SECRETS}/none", None),
    ("GET", f"{BASE_PATH}/agent/alive", None),
    ("GET", f"{BASE_PATH}/agent/version", None),
    ("GET", f"{BASE_PATH}/agent/node", None),
    ("GET", f"{BASE_PATH}/agent/cluster", None),
    ("GET", f"{BASE_PATH}/agent/history", None),
    ("GET", f"{BASE_PATH}/agent/config", None),
    ("GET", f"{BASE_PATH}/agent/authconfig", None),
    ("GET", f"{BASE_PATH}/agent/debug", None),
    ("GET", f"{BASE_PATH}/auth", None),
    ("GET", f"{BASE_PATH}/auth/session", None),
    ("POST", f"{BASE_PATH}/auth/session", {"Key": "nonsense"}),
    ("POST", f"{BASE_PATH}/auth/link", None),
    ("POST", f"{BASE_PATH}/auth/provider", None),
    ("GET", "/readyz", None),
]


@pytest.fixture
def described() -> dict[str, Any]:
    return document(FedApi())


def document(fed: FedApi) -> dict[str, Any]:
    return dict(json.loads(fed.api._document()))


def test_the_page_about_the_api_lists_each_route_and_no_other(described: dict[str, Any]) -> None:
    listed = set(re.findall(r"`([A-Z]+ /\S*)`", text_of("docs/http-api.md")))
    assert listed == {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolved(described: dict[str, Any], reference: str) -> Any:
    found: Any = described
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


PAGE = {("GET", "/"), ("GET", "/page/{name}"), ("GET", "/page/{folder}/{name}")}
"""Files that a browser shows, and no part of the API."""


def test_every_route_that_is_served_is_described_and_no_other() -> None:
    fed = FedApi()
    served = {
        (route.method, route.resource.canonical)
        for route in fed.api.application().router.routes()
        if route.resource is not None and route.method != "HEAD"
    } - PAGE
    assert served == set(operations(document(fed)))


def test_every_reference_leads_to_a_schema(described: dict[str, Any]) -> None:
    found = set(references(described))
    assert len(found) > 20
    for reference in found:
        assert "type" in resolved(described, reference)


def test_every_schema_is_one_and_is_used(described: dict[str, Any]) -> None:
    used = set(references(described))
    for name, schema in described["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used


def test_every_operation_has_a_name_of_its_own_and_every_place_in_a_path_a_parameter(described: dict[str, Any]) -> None:
    found = operations(described)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for (_, path), operation in found.items():
        places = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert places == {part.strip("{}") for part in path.split("/") if part.startswith("{")}
        assert all(each["description"] and each["schema"] for each in operation["parameters"])


def test_parameters_are_described_with_their_names_and_choices(described: dict[str, Any]) -> None:
    by_name = {each["name"]: each for each in described["paths"][NODES]["get"]["parameters"]}
    assert by_name["filter-status"]["schema"]["enum"] == ["", "connected", "disconnected"]
    assert by_name["labels"]["schema"] == {"type": "array", "items": {"type": "string"}, "default": []}


@pytest.mark.parametrize(("method", "path", "body"), EXAMPLES)
async def test_an_answer_fits_its_schema_and_a_request_too(method: str, path: str, body: Any) -> None:
    async with FedApi().serving() as fed:
        fill(fed)
        answer = await fed.ask(path, method, body)
        described = (await fed.ask(f"{BASE_PATH}/openapi.json")).json
    split = urlsplit(path)
    operation = operations(described)[method, template(split.path)]
    responses = operation["responses"]
    response = responses.get(str(answer.status), responses["default"])
    validate(described, response["content"]["application/json"]["schema"], answer.json)
    if body is not None and answer.status == 200:
        validate(described, operation["requestBody"]["content"]["application/json"]["schema"], body)
    assert {name for name, _ in parse_qsl(split.query)} <= {each["name"] for each in operation["parameters"]}


def test_an_answer_that_does_not_fit_would_be_found(described: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(described, {"$ref": "#/components/schemas/JobResponse"}, {"Job": {"ID": 1}})


def fill(fed: FedApi) -> None:
    job = fed.job(1, count=2, team="a")
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.execution(job, 1, ExecutionState.RUNNING)
    fed.job(2)
    fed.node("n-1", zone="a")
    info = fed.model.nodes[NodeId("n-1")].info
    fed.nodes.on_registration(NodeId("n-1"), Registration(info=info, session="s", inventory=1))


def template(path: str) -> str:
    for example, place in TEMPLATES.items():
        path = path.replace(example, place)
    return path


def validate(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)
