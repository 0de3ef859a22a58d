"""The description of the HTTP API in OpenAPI 3.1, made from its routes and from the types that they speak.

The format: https://spec.openapis.org/oas/v3.1.1.html
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from orchestrator.api.routes import EVENT_STREAM, JSON, PLAIN_TEXT, Route
from shared.data.json_schemas import schemas_of
from shared.protocol.capabilities import ANY_KEY, OPEN
from shared.protocol.rest import ErrorBody
from shared.runtime.version import version_text

_SCHEMAS = "#/components/schemas/{name}"
_IN_PATH = re.compile(r"\{([a-z]+)\}")
_ABOUT = {
    "job": "A job's name, its id, or the beginning of its id.",
    "execution": "An execution's whole id.",
    "node": "A node's id, or the beginning of it.",
    "user": "A user's name.",
    "token": "The id of a join token.",
    "secret": "The name of a secret.",
    "namespace": "The name of a namespace.",
    "data": "The name of data, its digest, or the beginning of that.",
}
_PLAIN = {JSON: {"type": "object"}, EVENT_STREAM: {"type": "string"}, PLAIN_TEXT: {"type": "string"}}
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "tarpon-session-PORT",
        "description": "A session of the page (POST /api/v1/auth/session); changes need X-Tarpon-CSRF-Token too.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "A user's name with its key, or with its password."},
}
_SECURITY: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
_ABOUT_ALL = (
    "Jobs run on nodes that hold no cloud credentials; their results are in an S3 bucket. Names of fields are matched"
    " whatever their case. Every answer carries X-Request-ID, and every error has the same body."
)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole description as plain data."""
    table = tuple(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    types = _types(table)
    _, schemas = schemas_of(types, ref_template=_SCHEMAS)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tarpon", "version": version_text(), "description": _ABOUT_ALL},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


def _types(table: Iterable[Route]) -> list[Any]:
    """Each type once; only Structs are known by a name."""
    types: dict[Any, None] = {ErrorBody: None}
    for route in table:
        types.update(dict.fromkeys(each for each in (route.answer, route.body) if each is not None))
    return list(types)


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": _needed(route),
        "security": [] if route.needs == OPEN else _SECURITY,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": {**_success(route), "default": {"description": "An error.", "content": _content(ErrorBody)}},
    }
    if route.body is not None:
        operation["requestBody"] = {"content": _content(route.body), "required": route.method != "DELETE"}
    return operation


def _needed(route: Route) -> str:
    if route.needs == OPEN:
        return "It is open to everybody."
    if route.needs == ANY_KEY:
        return "It takes a key, whatever that may do."
    told = f"It takes the capability `{route.needs}`."
    return f"{told} A key that is limited to some namespaces does not do." if route.everywhere else told


def _success(route: Route) -> dict[str, Any]:
    if route.redirects:
        return {"302": {"description": "Elsewhere.", "headers": {"Location": {"schema": {"type": "string"}}}}}
    content = _content(route.answer) if route.answer is not None else {route.media: {"schema": _PLAIN[route.media]}}
    return {"200": {"description": route.summary, "content": content}}


def _content(type_: Any) -> dict[str, Any]:
    (schema,), _ = schemas_of([type_], ref_template=_SCHEMAS)
    return {JSON: {"schema": schema}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": _ABOUT[name]}
        for name in _IN_PATH.findall(path)
    ]


def _query_parameters(query: Any) -> list[dict[str, Any]]:
    _, schemas = msgspec.json.schema_components([query], ref_template=_SCHEMAS)
    return [
        {"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema}
        for name, schema in schemas[query.__name__]["properties"].items()
    ]
