"""Names of every NATS subject, stream, bucket and key: the one place that spells them."""

import base64
from collections.abc import Iterable

from shared.ids import JobId, NodeId, is_safe_id

PREFIX = "tarpon.v1"

# ---- between orchestrator and nodes (account NODES); the sender is who the subject says -------------------------

ALL_NODE_ORDERS = f"{PREFIX}.node.*.in.>"
ALL_NODE_REPORTS = f"{PREFIX}.node.*.out.reports"
ALL_NODE_REQUESTS = f"{PREFIX}.node.*.out.requests"
ALL_NODE_HEARTBEATS = f"{PREFIX}.node.*.out.heartbeat"


def node_orders(node: NodeId) -> str:
    return f"{PREFIX}.node.{node}.in.orders"


def node_reports(node: NodeId) -> str:
    return f"{PREFIX}.node.{node}.out.reports"


def node_requests(node: NodeId) -> str:
    return f"{PREFIX}.node.{node}.out.requests"


def node_heartbeat(node: NodeId) -> str:
    return f"{PREFIX}.node.{node}.out.heartbeat"


def node_may_publish(node: NodeId) -> tuple[str, ...]:
    return (f"{PREFIX}.node.{node}.out.>",)


def node_may_subscribe(node: NodeId) -> tuple[str, ...]:
    return (f"{PREFIX}.node.{node}.in.>", f"{node_inbox(node)}.>")


def node_inbox(node: NodeId) -> str:
    """The prefix of the inboxes in which this node alone receives answers."""
    return f"_INBOX.{node}"


_ASKS_WHY = "why."
"""What no node's id begins with."""


def asks_why(node: NodeId) -> str:
    """The name under which a node that was refused asks why, and can do nothing else."""
    return f"{_ASKS_WHY}{node}"


def who_asks_why(name: str) -> str:
    """Which node it is that asks by this name; empty where it is another name."""
    return name.removeprefix(_ASKS_WHY) if name.startswith(_ASKS_WHY) else ""


def refused_inbox(public_key: str) -> str:
    """The prefix of the inboxes of whoever asks with this key why it was refused. It is too long to be a node's."""
    return f"_INBOX.not-let-in-{public_key}"


_REASON = f"{PREFIX}.refused."


def reason_subject(reason: bytes) -> str:
    """A subject that nobody listens on. That it may be sent on, as a server tells, is how a refused node learns why."""
    return f"{_REASON}{base64.urlsafe_b64encode(reason).decode().rstrip('=')}"


def reason_in(subjects: Iterable[str]) -> bytes:
    """What `reason_subject` made one of these of; nothing where there is none. Raises ValueError."""
    for subject in subjects:
        if subject.startswith(_REASON):
            token = subject.removeprefix(_REASON)
            return base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True)
    return b""


def sender(subject: str) -> NodeId | None:
    """Which node a subject speaks for; None if it is not a node's subject."""
    tokens = subject.split(".")
    if len(tokens) < 5 or tokens[:3] != [*PREFIX.split("."), "node"] or not is_safe_id(tokens[3]):
        return None
    return NodeId(tokens[3])


# ---- for integrations (account INTEGRATIONS) --------------------------------------------------------------------

ALL_API_REQUESTS = f"{PREFIX}.api.>"
ALL_EVENTS = f"{PREFIX}.events.>"
API_GROUP = f"{PREFIX}.api.*"


def api_request(principal: str, what: str) -> str:
    """`what` is a key of integration.REQUESTS."""
    return f"{PREFIX}.api.{principal}.{what}"


def event(namespace: str, job: JobId, what: str) -> str:
    """`what` is a key of integration.EVENTS."""
    return f"{PREFIX}.events.{namespace}.{job}.{what}"


def keyed_principal(user: str) -> str:
    """The principal of a user with a key: none of those has it whose password is computed, as `@` is in no safe id."""
    return f"@{user}"


def keyed_user(principal: str) -> str:
    """The user of such a principal; empty for any other."""
    return principal[1:] if principal.startswith("@") else ""


def integration_inbox(principal: str) -> str:
    """The prefix of the inboxes in which this principal alone receives answers."""
    return f"_INBOX.{principal}"


ALL_SERVICE_REQUESTS = "$SRV.>"
SERVICE_REQUESTS = tuple(f"$SRV.{verb}{rest}" for verb in ("PING", "INFO", "STATS") for rest in ("", ".>"))
"""What a micro service of NATS answers about itself, as `nats micro` asks (ADR-32 of NATS)."""


SERVICE = "tarpon"
"""The name of the micro service that every orchestrator offers."""
ORCHESTRATORS_PING = f"$SRV.PING.{SERVICE}"
ORCHESTRATOR = "orchestrator"
"""Under which an orchestrator tells its name there."""


def own_inbox(name: str) -> str:
    """Where an orchestrator hears what is answered to it alone."""
    return f"_INBOX.{name}"


def integration_may_publish(principal: str) -> tuple[str, ...]:
    return (f"{PREFIX}.api.{principal}.>", *SERVICE_REQUESTS)


def integration_may_subscribe(principal: str, namespaces: Iterable[str] | None = None) -> tuple[str, ...]:
    """The events of these namespaces alone, where they are given."""
    events = (ALL_EVENTS,) if namespaces is None else tuple(f"{PREFIX}.events.{each}.>" for each in sorted(namespaces))
    return (*events, f"{integration_inbox(principal)}.>")


# ---- inside the orchestrator's account --------------------------------------------------------------------------

REPORTS_STREAM = "TARPON_REPORTS"
REPORTS_CONSUMER = "orchestrator"
REPORTS_DELIVERY = f"{PREFIX}.leader.reports"
STATE_BUCKET = "tarpon_state"
LEASE_BUCKET = "tarpon_lease"
LEASE_KEY = "leader"


def _token(text: str) -> str:
    """Any text as one token of a key."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


ALL_ACCOUNT_NAMES = f"{PREFIX}.accounts.>"


def accounts_question(token: str) -> str:
    """Where an orchestrator asks what accounts are called; nobody else may send or hear there."""
    return f"{PREFIX}.accounts.{token}"


def accounts_answer(token: str, names: Iterable[str]) -> str:
    """Where the question arrives, by a mapping of the server. A name may have any characters."""
    return f"{accounts_question(token)}.{'.'.join(_token(name) for name in names)}"


def accounts_told(question: str, arrived_on: str) -> tuple[str, ...]:
    """The names that a question arrived with; none where the server maps nothing. Raises ValueError."""
    told = arrived_on.removeprefix(question).removeprefix(".")
    return tuple(_text(each) for each in told.split(".") if each)


def _text(token: str) -> str:
    """What `_token` made the token of. Raises ValueError."""
    return base64.b64decode(f"{token}{'=' * (-len(token) % 4)}", altchars=b"-_", validate=True).decode()


AUTH_REQUESTS = "$SYS.REQ.USER.AUTH"
WHO_AM_I = "$SYS.REQ.USER.INFO"


SYSTEM_INBOX = "_INBOX.orchestrator"
"""The prefix of the inboxes in the system account, where an orchestrator looks for connections and ends them."""


def server_request(server: str, what: str) -> str:
    """A request to one server, or to all by the name PING; it exists in the system account alone."""
    return f"$SYS.REQ.SERVER.{server}.{what}"


CONNECTIONS, KICK, VARIABLES, ACCOUNT = "CONNZ", "KICK", "VARZ", "ACCOUNTZ"
SYSTEM_REQUESTS = tuple(server_request("*", what) for what in (CONNECTIONS, KICK, VARIABLES, ACCOUNT))


def name_record(namespace: str, name: str) -> str:
    return f"name.{_token(namespace)}.{_token(name)}"


def name_of(key: str) -> tuple[str, str]:
    """The namespace and the name whose record has this key. Raises ValueError."""
    _, namespace, name = key.split(".")
    return _text(namespace), _text(name)


def job_record(job: JobId) -> str:
    return f"job.{job}"


def spec_record(job: JobId, version: int) -> str:
    return f"spec.{job}.{version}"


def execution_record(key: str) -> str:
    """`key` is what ids.execution_key gives: the decision that created the execution."""
    return f"execution.{key}"


INCARNATION_RECORD = "incarnation.current"
"""Which incarnation of the state this is, where it was ever restored from a backup."""


def namespace_record(namespace: str) -> str:
    """What was set for a namespace."""
    return f"namespace.{_token(namespace)}"


def namespace_of(token: str) -> str:
    """The namespace whose record has this at the end of its key. Raises ValueError."""
    return _text(token)


def secret_record(namespace: str, name: str) -> str:
    """A secret of tasks, as it is stored."""
    return f"secret.{_token(namespace)}.{_token(name)}"


def data_record(namespace: str, digest: str) -> str:
    """Data that was sent, by the digest of its manifest in hex."""
    return f"data.{_token(namespace)}.{digest}"


WEBHOOKS_RECORD = "webhooks.sent"
"""Up to which end of a job each receiver of webhooks has been told."""

SWEEP_RECORD = "sweep.data"
"""Which sweep of deleted data was the last one."""


BACKUP_RECORD = "backup.last"
"""When the last backup was taken."""

RESULTS_RECORDED = "recorded.results"
"""Up to when each result has a record in the bucket."""


def node_record(node: NodeId) -> str:
    return f"node.{node}"


def binding_record(node: NodeId) -> str:
    """Which public key a node id belongs to since its first join."""
    return f"binding.{node}"


def keys_record(node: NodeId) -> str:
    """Which public keys a node id has belonged to, and when."""
    return f"keys.{node}"


def user_record(name: str) -> str:
    """Who is known by which key. A name is a safe id."""
    return f"user.{name}"


def spent_record(id_: str) -> str:
    """That a session or a link is good no more."""
    return f"spent.{id_}"


def token_record(token: str) -> str:
    """A join token, by its id."""
    return f"token.{token}"
