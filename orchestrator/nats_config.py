"""What a NATS server has to know to keep nodes, integrations and the orchestrator apart.

Three accounts are joined by services. nats-server does not check reply subjects against permissions, so a node that
shared an account with JetStream could have the server's acknowledgement of its report overwrite any record. An answer
that crosses accounts travels on a subject that the server makes, so here it cannot. JetStream is in the orchestrator's
account alone.

The text has public keys and no secret in it. The format is that of
https://docs.nats.io/running-a-nats-service/configuration.
"""

import json
from pathlib import Path

import msgspec

from shared.subjects import (
    ALL_API_REQUESTS,
    ALL_EVENTS,
    ALL_NODE_HEARTBEATS,
    ALL_NODE_ORDERS,
    ALL_NODE_REPORTS,
    ALL_NODE_REQUESTS,
)
from shared.transport import MAX_PAYLOAD_BYTES

ORCHESTRATOR_ACCOUNT = "TARPON"
NODES_ACCOUNT = "NODES"
INTEGRATIONS_ACCOUNT = "INTEGRATIONS"
SYSTEM_ACCOUNT = "SYS"

AUTH_SECONDS = 2
"""How long a client may take to say who it is, and the callout to judge it; then the client tries again.

Not longer, because after 2 s the server pings the client, and nats-py takes that for the answer to its CONNECT.
"""

MAX_SUBSCRIPTIONS = 10_000
"""Of one connection, so that none can fill the server's memory."""

PING_SECONDS = 10
"""How long a connection may be silent before it is asked whether it lives; the second question without answer ends it.

By default it is minutes, in which a share of all questions would go to an orchestrator that hangs.
"""

LOG_BYTES = 16 << 20
LOG_FILES = 4

_FROM_NODES = (ALL_NODE_REPORTS, ALL_NODE_REQUESTS, ALL_NODE_HEARTBEATS)


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`issuer` is the public key that signs the callout's answers, `orchestrator` the public key of its user.

    `directory` must be absolute; everything that the server writes is below it. `sync_interval` is `always` or a
    duration of Go such as `2s`.
    """

    directory: Path
    host: str
    port: int
    server_name: str
    issuer: str
    orchestrator: str
    sync_interval: str = "always"

    @property
    def pid_file(self) -> Path:
        return self.directory / "nats-server.pid"

    @property
    def log_file(self) -> Path:
        return self.directory / "nats-server.log"


def render_server(config: ServerConfig) -> str:
    """The whole configuration of the embedded server."""
    return f"""\
# Made by Tarpon at each start; changes are overwritten.
server_name: {_quoted(config.server_name)}
host: {_quoted(config.host)}
port: {config.port}
pid_file: {_quoted(str(config.pid_file))}
log_file: {_quoted(str(config.log_file))}
logfile_size_limit: {LOG_BYTES}
logfile_max_num: {LOG_FILES}
logtime_utc: true
max_subscriptions: {MAX_SUBSCRIPTIONS}
jetstream {{
  store_dir: {_quoted(str(config.directory))}
  sync_interval: {_quoted(config.sync_interval)}
}}
{render_accounts(issuer=config.issuer, orchestrator=config.orchestrator)}"""


def render_accounts(*, issuer: str, orchestrator: str) -> str:
    """The part that an external server or cluster needs too, beside JetStream being on."""
    return f"""\
max_payload: {MAX_PAYLOAD_BYTES}
ping_interval: "{PING_SECONDS}s"
ping_max: 2
accounts {{
  {ORCHESTRATOR_ACCOUNT} {{
    jetstream: enabled
    users: [ {{ nkey: {orchestrator} }} ]
    exports: [{_lines(*_orchestrator_exports())}
    ]
    imports: [{_lines(_import("service", ALL_NODE_ORDERS, NODES_ACCOUNT))}
    ]
  }}
  {NODES_ACCOUNT} {{
    exports: [{_lines(_export("service", ALL_NODE_ORDERS, ORCHESTRATOR_ACCOUNT))}
    ]
    imports: [{_lines(*(_import("service", subject, ORCHESTRATOR_ACCOUNT) for subject in _FROM_NODES))}
    ]
  }}
  {INTEGRATIONS_ACCOUNT} {{
    imports: [{_lines(*_integration_imports())}
    ]
  }}
  {SYSTEM_ACCOUNT} {{}}
}}
system_account: {SYSTEM_ACCOUNT}
authorization {{
  timeout: {AUTH_SECONDS}
  auth_callout {{
    issuer: {issuer}
    account: {ORCHESTRATOR_ACCOUNT}
    auth_users: [ {orchestrator} ]
  }}
}}
"""


def _orchestrator_exports() -> list[str]:
    return [
        *(_export("service", subject, NODES_ACCOUNT) for subject in _FROM_NODES),
        _export("service", ALL_API_REQUESTS, INTEGRATIONS_ACCOUNT),
        _export("stream", ALL_EVENTS, INTEGRATIONS_ACCOUNT),
    ]


def _integration_imports() -> list[str]:
    return [
        _import("service", ALL_API_REQUESTS, ORCHESTRATOR_ACCOUNT),
        _import("stream", ALL_EVENTS, ORCHESTRATOR_ACCOUNT),
    ]


def _export(kind: str, subject: str, to: str) -> str:
    return f"{{ {kind}: {_quoted(subject)}, accounts: [ {to} ] }}"


def _import(kind: str, subject: str, of: str) -> str:
    return f"{{ {kind}: {{ account: {of}, subject: {_quoted(subject)} }} }}"


def _lines(*entries: str) -> str:
    return "".join(f"\n      {entry}" for entry in entries)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
