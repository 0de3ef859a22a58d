"""Makes NATS-API.md, the page about every public NATS subject: `python -m shared.protocol.nats_api_page > NATS-API.md`.

The schemas come from the message types themselves, and a test compares the page with what this makes, so that it
stays true.
"""

import json
from typing import Any

from shared.data.json_schemas import schemas_of
from shared.ids import JobId
from shared.protocol import subjects
from shared.protocol.nats_api import EVENTS, REQUESTS

_JOB = "j-2f1c3a60-7d0b-4a53-9d43-0f7e9c1f8a11"
_TASK = {
    "Name": "main",
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", "echo hello"]}},
    "Publisher": {"Type": "s3managed"},
}

EXAMPLES: dict[str, Any] = {
    "jobs.submit": {"Job": {"Type": "batch", "Tasks": [_TASK]}, "IdempotencyToken": "order-4711"},
    "jobs.get": {"JobID": _JOB, "Include": ["history", "executions"]},
    "jobs.list": {"Namespace": "default", "Limit": 20},
    "jobs.stop": {"JobID": _JOB, "Reason": "no longer needed"},
    "jobs.delete": {"JobID": _JOB, "Results": True},
    "jobs.results": {"JobID": _JOB},
    "jobs.history": {"JobID": _JOB, "AfterSeqNum": 3},
    "jobs.waits": {"JobID": _JOB, "Limit": 20},
    "nodes.list": {},
}
"""One request for each of REQUESTS."""

_HEAD = f"""\
# The NATS API

Programs submit and watch jobs over NATS with any NATS client. This page is made from the message types
(`make docs`), and a test keeps it true.

`tarpon agent integration show NAME`, run where the orchestrator runs, prints what connects a program as the
integration NAME: the server's URL, a user, its password and the prefix of its inboxes. Each integration is a user of
its own. It may ask on its own subjects, receive answers in its own inboxes, listen to all events, and look at the
service as `nats micro` does; it sees nothing of nodes, of other integrations' answers, or of JetStream.

- **Requests** go to `{subjects.api_request("NAME", "WHAT")}` as JSON and are answered with JSON. An error is answered
  with `Status`, `Message`, `Code` and `Hint`, and with the headers `Nats-Service-Error-Code` and `Nats-Service-Error`
  of a NATS micro service. Keys are read in any case; unknown ones are ignored.
- **Events** come on `{subjects.PREFIX}.events.<namespace>.<jobID>.<what>` to whoever listens at the moment. Every line
  of a job's history has a number, `SeqNum`, which it keeps for ever: later lines have larger numbers, not always the
  next ones. An event tells as `PreviousSeqNum` which line was told before it. Who subscribes late, or does not have
  that one, asks `jobs.history` for what comes after the last number that it has. A repeated number is a repeated event.
- What does not fit into one answer comes in parts: the answer has a `NextToken`, and the same request with it gets what
  follows. In `jobs.get` each list has its own: that of the executions is for the next `jobs.get`, that of the history
  for `jobs.history`.
- A submit with an `IdempotencyToken` can be repeated safely: the same token names the same job. With another job it is
  refused (`IdempotencyTokenUsed`).
- A `traceparent` that comes with a submit as a header, its name in any case, is what the job's trace hangs under.
- Where the address begins with `tls://`, see that your library insists on it: nats-py 2.16 sends the password in the
  clear to a server without TLS.

**The `nats` command** takes address, user and password from the variables that `integration show` prints, but not the
prefix of the inboxes, without which it is refused (`Permissions Violation for Subscription to "_INBOX...."`):

```
nats --inbox-prefix "$NATS_INBOX_PREFIX" request "${{TARPON_API_SUBJECT}}jobs.list" '{{}}'
nats --inbox-prefix "$NATS_INBOX_PREFIX" subscribe "{subjects.ALL_EVENTS}"
nats --inbox-prefix "$NATS_INBOX_PREFIX" micro ls
nats --inbox-prefix "$NATS_INBOX_PREFIX" micro stats tarpon
```

`nats micro` shows each orchestrator as an instance of the service `tarpon`. A NATS server of your own needs what
`tarpon agent nats-config` prints since then; one that was set up earlier answers everything else.

Times in nanoseconds since 1970 are integers; others are RFC 3339 text. URLs in results are credentials: whoever has
one may read that object until it expires.
"""


def render() -> str:
    """The whole page."""
    shapes = [shape for pair in REQUESTS.values() for shape in pair] + list(EVENTS.values())
    schemas, components = schemas_of(shapes, ref_template="#/$defs/{name}")
    numbered = iter(schemas)
    parts = [_HEAD, "## Requests\n"]
    for what in REQUESTS:
        subject = subjects.api_request("NAME", what)
        parts += [f"### `{subject}`\n", "A request, for example:\n", _block(EXAMPLES[what])]
        parts += ["The shape of the request:\n", _block(next(numbered)), "Of the answer:\n", _block(next(numbered))]
    parts.append("## Events\n")
    for what in EVENTS:
        parts += [f"### `{subjects.event('<namespace>', JobId('<jobID>'), what)}`\n", _block(next(numbered))]
    parts += ["## Shapes\n", "What the `$ref`s above name:\n", _block({"$defs": components})]
    return "\n".join(parts)


def _block(data: Any) -> str:
    return f"```json\n{json.dumps(data, indent=2, sort_keys=True)}\n```\n"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201  # its output is the page
