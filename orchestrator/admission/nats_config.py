"""The configuration of a NATS server, which keeps nodes, integrations and the orchestrator apart.

Three accounts are joined by services. nats-server does not check reply subjects against permissions, so a node that
shared an account with JetStream could have the server's acknowledgement of its report overwrite any record. An answer
that crosses accounts travels on a subject that the server makes, so here it cannot. JetStream is in the orchestrator's
account alone.

nats-server takes of two blocks of one name the last alone, and says nothing. So what it needs comes whole, for a server
that is Tarpon's alone, or in parts that are included in the blocks of somebody else's configuration.

The text has public keys and no secret in it. The format is that of
https://docs.nats.io/running-a-nats-service/configuration.
"""

import json
from enum import StrEnum
from pathlib import Path

import msgspec

from orchestrator.admission.nats_accounts import ORCHESTRATORS, Accounts, announcement
from shared.messaging.transport import MAX_PAYLOAD_BYTES
from shared.protocol.subjects import (
    ALL_API_REQUESTS,
    ALL_EVENTS,
    ALL_NODE_HEARTBEATS,
    ALL_NODE_ORDERS,
    ALL_NODE_REPORTS,
    ALL_NODE_REQUESTS,
    ALL_SERVICE_REQUESTS,
)

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

FROM_NODES = (ALL_NODE_REPORTS, ALL_NODE_REQUESTS, ALL_NODE_HEARTBEATS)
FOR_INTEGRATIONS = (("service", ALL_API_REQUESTS), ("stream", ALL_EVENTS))
"""What they cannot do without; servers that were set up earlier have no more."""


class ServerTls(msgspec.Struct, frozen=True, kw_only=True):
    """`timeout` is in seconds. With `plain_too`, who does not begin with TLS is served without it.

    `clients` is a file with the authorities of one of which everybody has to show a certificate; None asks for none.
    """

    certificate: Path
    key: Path
    clients: Path | None = None
    timeout: int = 10
    plain_too: bool = False


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
    tls: ServerTls | None = None

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
{_tls(config.tls) if config.tls else ""}{render_accounts(issuer=config.issuer, orchestrator=config.orchestrator)}"""


def _tls(tls: ServerTls) -> str:
    """TLS begins before the server says anything. Where some come without, it waits for 50 ms before it greets."""
    first, also = ("auto", "allow_non_tls: true\n") if tls.plain_too else ("true", "")
    lock = f"  ca_file: {_quoted(str(tls.clients))}\n  verify: true\n" if tls.clients else ""
    return f"""\
tls {{
  cert_file: {_quoted(str(tls.certificate))}
  key_file: {_quoted(str(tls.key))}
  min_version: "1.2"
  timeout: {tls.timeout}
  handshake_first: {first}
{lock}}}
{also}"""


def render_accounts(*, issuer: str, orchestrator: str) -> str:
    """The part that an external server or cluster needs too, beside JetStream being on."""
    return render_part(ConfigSection.ALL, Neighbours(), issuer=issuer, orchestrator=orchestrator)


class ConfigSection(StrEnum):
    """Where a part is included."""

    ALL = "all"
    ACCOUNTS = "accounts"
    AUTHORIZATION = "authorization"
    SERVER = "server"


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """Who else uses the server: its system account, if it has one, and who logs in by its own lists of users."""

    system_account: str = ""
    users: tuple[str, ...] = ()

    @property
    def accounts(self) -> Accounts:
        return Accounts(system=self.system_account) if self.system_account else Accounts()


def render_part(part: ConfigSection, beside: Neighbours, *, issuer: str, orchestrator: str) -> str:
    accounts = _accounts(beside, orchestrator)
    authorization = _authorization(beside, issuer, orchestrator)
    system = "" if beside.system_account else f"system_account: {beside.accounts.system}\n"
    outside = f"{system}authorization {{\n{_indented(authorization)}}}\n"
    match part:
        case ConfigSection.ALL:
            limits = f'max_payload: {MAX_PAYLOAD_BYTES}\nping_interval: "{PING_SECONDS}s"\nping_max: 2\n'
            return f"{limits}accounts {{\n{_indented(accounts)}}}\n{outside}"
        case ConfigSection.ACCOUNTS:
            return accounts
        case ConfigSection.AUTHORIZATION:
            return authorization
        case ConfigSection.SERVER:
            return outside


def _accounts(beside: Neighbours, orchestrator: str) -> str:
    """What stands in the block of all accounts."""
    names = beside.accounts
    asked, told = announcement(names)
    system = "" if beside.system_account else f"{names.system} {{}}\n"
    return f"""\
{ORCHESTRATORS} {{
  jetstream: enabled
  users: [ {{ nkey: {orchestrator} }} ]
  mappings: {{ {_quoted(asked)}: {_quoted(told)} }}
  exports: [{_lines(*_orchestrator_exports(names))}
  ]
  imports: [{_lines(_import("service", ALL_NODE_ORDERS, names.nodes))}
  ]
}}
{names.nodes} {{
  exports: [{_lines(_export("service", ALL_NODE_ORDERS, ORCHESTRATORS))}
  ]
  imports: [{_lines(*(_import("service", subject, ORCHESTRATORS) for subject in FROM_NODES))}
  ]
}}
{names.integrations} {{
  imports: [{_lines(*_integration_imports())}
  ]
}}
{system}"""


def _authorization(beside: Neighbours, issuer: str, orchestrator: str) -> str:
    """What stands in the block of authorization. Who is not named here is judged by an orchestrator."""
    users = ", ".join([orchestrator, *(_quoted(user) for user in beside.users)])
    return f"""\
timeout: {AUTH_SECONDS}
auth_callout {{
  issuer: {issuer}
  account: {ORCHESTRATORS}
  auth_users: [ {users} ]
}}
"""


def _indented(text: str) -> str:
    return "".join(f"  {line}" for line in text.splitlines(keepends=True))


def _orchestrator_exports(names: Accounts) -> list[str]:
    return [
        *(_export("service", subject, names.nodes) for subject in FROM_NODES),
        _export("service", ALL_API_REQUESTS, names.integrations),
        _export("stream", ALL_EVENTS, names.integrations),
        _export("service", ALL_SERVICE_REQUESTS, names.integrations, answers="stream"),
    ]


def _integration_imports() -> list[str]:
    imports = (*FOR_INTEGRATIONS, ("service", ALL_SERVICE_REQUESTS))
    return [_import(kind, subject, ORCHESTRATORS) for kind, subject in imports]


def _export(kind: str, subject: str, to: str, *, answers: str = "") -> str:
    """Where every orchestrator answers, the answers to one question are a stream."""
    response = f", response_type: {answers}" if answers else ""
    return f"{{ {kind}: {_quoted(subject)}, accounts: [ {to} ]{response} }}"


def _import(kind: str, subject: str, of: str) -> str:
    return f"{{ {kind}: {{ account: {of}, subject: {_quoted(subject)} }} }}"


def _lines(*entries: str) -> str:
    return "".join(f"\n    {entry}" for entry in entries)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
