"""How the pages about the NATS API are made from the message types: `python -m tests.nats_api_page` (no tests in here).

A test compares the pages with what this makes, so that they stay true.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.data.json_schemas import Schema, schemas_of
from shared.ids import JobId
from shared.protocol import subjects
from shared.protocol.nats_api import EVENTS, REQUESTS

FOLDER = Path(__file__).resolve().parents[1] / "docs"

_JOB = "j-2f1c3a60-7d0b-4a53-9d43-0f7e9c1f8a11"
_TASK = {
    "Name": "main",
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", "echo hello"]}},
    "Publisher": {"Type": "s3managed"},
}

EXAMPLES: dict[str, Any] = {
    "jobs.submit": {"Job": {"Type": "batch", "Tasks": [_TASK]}, "IdempotencyToken": "order-4711"},
    "jobs.submit-all": {
        "Jobs": [
            {"Name": "prepare", "Type": "batch", "Tasks": [_TASK]},
            {"Name": "train", "Type": "batch", "Tasks": [_TASK], "Needs": [{"Job": "prepare"}]},
        ],
        "IdempotencyToken": "order-4712",
    },
    "jobs.get": {"JobID": _JOB, "Include": ["history", "executions"]},
    "jobs.list": {"Namespace": "default", "Limit": 20},
    "jobs.stop": {"JobID": _JOB, "Reason": "no longer needed"},
    "jobs.delete": {"JobID": _JOB, "Results": True},
    "jobs.schedule": {"JobID": _JOB, "Action": "pause", "Reason": "the data is late"},
    "jobs.results": {"JobID": _JOB},
    "jobs.history": {"JobID": _JOB, "AfterSeqNum": 3},
    "jobs.waits": {"JobID": _JOB, "Limit": 20},
    "nodes.list": {},
}
"""One request for each of REQUESTS."""

_HEAD = f"""\
# The NATS API

Programs submit and watch jobs over NATS with any NATS client. `make docs` makes this page from the message types, and a
test keeps it true. The [README](../README.md#over-nats) has a program in Python.

`tarpon agent integration show NAME`, run where the orchestrator runs, prints what connects a program as the integration
NAME: the server's URL, a user, its password and the prefix of its inboxes. A name need not be registered before. Each
integration is a user of its own. It may ask on its own subjects, receive answers in its own inboxes, listen to all
events, and look at the service as `nats micro` does. It sees nothing of nodes, of other integrations' answers, or of
JetStream.

Better is a user with a key of its own (`tarpon user create NAME --capability ... --namespace ...`), which can be
limited and revoked alone. Its name and its key are user and password, the prefix of its inboxes is `_INBOX.@NAME`, and
it asks on `{subjects.api_request(subjects.keyed_principal("NAME"), "WHAT")}`. It hears the events of its namespaces,
asks about them alone, and is cut off when the key is revoked or expires.

- **Requests** go to `{subjects.api_request("NAME", "WHAT")}` as JSON and are answered with JSON. An error is answered
  with `Status`, `Message`, `Code` and `Hint`, and with the headers `Nats-Service-Error-Code` and `Nats-Service-Error`
  of a NATS micro service. Keys are read in any case; unknown ones are ignored.
- **Events** are sent to the present subscribers of `{subjects.PREFIX}.events.<namespace>.<jobID>.<what>`. Every line
  of a job's history has a number, `SeqNum`, which it keeps for ever: later lines have larger numbers, not always the
  next ones. `PreviousSeqNum` of an event is the number of the line before it. Late subscribers, and those that missed
  that line, ask `jobs.history` for what comes after the last number that they have. A repeated number is a repeated
  event.
- What does not fit into one answer comes in pages: the answer has a `NextToken`, and the same request with it gets what
  follows. In `jobs.get` each list has its own: that of the executions is for the next `jobs.get`, that of the history
  for `jobs.history`.
- A submit with an `IdempotencyToken` can be repeated safely: the same token names the same job. With another job it is
  refused (`IdempotencyTokenUsed`).
- A `traceparent` that comes with a submit as a header, its name in any case, becomes the parent of the job's trace.
- If the address begins with `tls://`, the server begins with TLS, before it says anything: nats-py wants
  `tls_handshake_first=True`, `nats` `--tlsfirst`. The lines then hold the certificate of the authority as
  `TARPON_AUTHORITY` (`ssl.create_default_context(cadata=os.environ["TARPON_AUTHORITY"])`); the server's has the name
  `orchestrator.tarpon` beside the addresses. Make sure that your library insists: nats-py 2.16 otherwise sends
  the password in the clear to a server without TLS.

**The `nats` command** takes address, user and password from the variables that `integration show` prints, but not the
prefix of the inboxes, without which it is refused (`Permissions Violation for Subscription to "_INBOX...."`):

```
nats --inbox-prefix "$NATS_INBOX_PREFIX" request "${{TARPON_API_SUBJECT}}jobs.list" '{{}}'
nats --inbox-prefix "$NATS_INBOX_PREFIX" subscribe "{subjects.ALL_EVENTS}"
nats --inbox-prefix "$NATS_INBOX_PREFIX" micro ls
nats --inbox-prefix "$NATS_INBOX_PREFIX" micro stats tarpon
```

`nats micro` shows each orchestrator as an instance of the service `tarpon`. On a NATS server of your own this needs the
present output of `tarpon agent nats-config`; a server with an earlier one answers everything else.

Times in nanoseconds since 1970 are integers; others are RFC 3339 text. URLs in results are credentials: anyone who has
one may read that object until it expires.
"""

_REQUESTS, _NODES, _ANSWERS = "nats-api-requests.md", "nats-api-nodes.md", "nats-api-answers.md"
_JOBS = "nats-api-jobs.md"
_TITLES = {
    _REQUESTS: "The NATS API: shapes of requests",
    _JOBS: "The NATS API: shapes of jobs",
    _ANSWERS: "The NATS API: shapes of answers and events",
    _NODES: "The NATS API: shapes of nodes",
}
_TOCTREE = "\n".join(["```{toctree}", ":hidden:", "", *(page.removesuffix(".md") for page in _TITLES), "```", ""])
_REFERENCE = "#/$defs/"


def pages() -> dict[str, str]:
    """The whole text of each page, by its file's name."""
    requests, answers = zip(*REQUESTS.values(), strict=True)
    schemas, components = schemas_of([*requests, *answers, *EVENTS.values()], ref_template=f"{_REFERENCE}{{name}}")
    names = [_name(schema["$ref"]) for schema in schemas]
    asked, answered, told = (iter(names[start:]) for start in (0, len(REQUESTS), 2 * len(REQUESTS)))
    shapes = [(what, next(asked), next(answered)) for what in REQUESTS]
    events = [(what, next(told)) for what in EVENTS]
    roots = {
        _REQUESTS: [request for _, request, _ in shapes],
        _JOBS: ["JobView"],
        _NODES: [answer for what, _, answer in shapes if what.startswith("nodes.")],
        _ANSWERS: names,
    }
    links = _links(roots, components)
    made = {"nats-api.md": "\n".join(_subjects(shapes, events, links))}
    for page, title in _TITLES.items():
        here = [name for name in sorted(components) if links[name].startswith(page)]
        made[page] = "\n".join([f"# {title}\n", *(_shape(name, components[name], links) for name in here)])
    return made


def _subjects(
    shapes: Iterable[tuple[str, str, str]], events: Iterable[tuple[str, str]], links: Mapping[str, str]
) -> Iterator[str]:
    yield _HEAD
    yield "## Requests\n"
    for what, request, answer in shapes:
        yield f"### {what}\n"
        yield f"`{subjects.api_request('NAME', what)}` takes a {_link(request, links)}, such as:\n"
        yield f"```json\n{json.dumps(EXAMPLES[what], indent=2)}\n```\n"
        yield f"and answers with a {_link(answer, links)}.\n"
    yield "## Events\n"
    for what, event in events:
        yield f"- `{subjects.event('<namespace>', JobId('<jobID>'), what)}` has a {_link(event, links)}."
    yield ""
    yield _TOCTREE


def _links(roots: Mapping[str, Iterable[str]], components: Mapping[str, Schema]) -> dict[str, str]:
    """Where each shape is: on the first of these pages that needs it."""
    links: dict[str, str] = {}

    def place(page: str, name: str) -> None:
        if name not in links:
            links[name] = f"{page}#{_title(name).lower().replace(' ', '-')}"
            for reference in _references(components[name]):
                place(page, reference)

    for page, names in roots.items():
        for name in names:
            place(page, name)
    return links


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield _name(reference)
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def _shape(name: str, schema: Schema, links: Mapping[str, str]) -> str:
    described = [schema["description"], ""] if "description" in schema else []
    required = set(schema["required"])
    rows = [
        f"| `{key}` | {_type(each, links)} | {'required' if key in required else _default(each)} |"
        for key, each in sorted(schema["properties"].items())
    ]
    head = ["| key | type | default |", "|-----|------|---------|"]
    return "\n".join([f"## {_title(name)}", "", *described, *head, *rows, ""])


def _type(schema: Schema, links: Mapping[str, str]) -> str:
    match schema:
        case {"$ref": reference}:
            return _link(_name(reference), links)
        case {"anyOf": choices}:
            return " or ".join(_type(each, links) for each in choices)
        case {"type": "array"}:
            return f"list of {_type(schema['items'], links)}" if "items" in schema else "list"
        case {"type": "object"}:
            of = schema.get("additionalProperties")
            return f"map of {_type(of, links)}" if of else "map"
        case {"type": str(name)}:
            return name
        case _:
            return "anything"


def _default(schema: Schema) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _link(name: str, links: Mapping[str, str]) -> str:
    return f"[{_title(name)}]({links[name]})"


def _title(name: str) -> str:
    """As in `Page of JobView`, whose type is called `Page_JobView_`."""
    return f"Page of {name.removeprefix('Page_').removesuffix('_')}" if name.startswith("Page_") else name


def _name(reference: str) -> str:
    return reference.removeprefix(_REFERENCE)


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
