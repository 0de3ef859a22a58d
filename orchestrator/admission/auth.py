"""Authentication over NATS: who may join, and as whom.

A node shows its id as its name, its own key by signing the server's nonce, and what entitles it to join. The id is
bound to the key at the first join: whoever has a join token, or the join secret where there is one, may take an id that
is free, and nobody another's. After that the key alone counts. A program that uses the NATS API, an integration, shows
its name as user, and the password that belongs to that name. An orchestrator that looks for connections, to end them,
shows a key that only orchestrators can compute.

A node that an operator has rejected is let in for a moment, to ask and to be told so, and can do nothing else. So is
one whose join token is real and does not let it in any more, under a name that is no node's.

`decide` judges a request without any I/O; `serve_auth` listens, binds and answers.
"""

import asyncio
import hmac
import logging
import time
from typing import Protocol

import msgspec
import nkeys

from orchestrator.admission import nats_jwt
from orchestrator.admission.audited_connections import AuditedConnections
from orchestrator.admission.bounds.attempts import AttemptsQueue, AttemptStanding, NatsAttempts
from orchestrator.admission.bounds.refusal_log import RefusalLog
from orchestrator.admission.budgets import Budgets
from orchestrator.admission.callout import AuthRequest, User, admission, claimed, parse_request, refusal
from orchestrator.admission.claims import Claim, Right
from orchestrator.admission.identities import Identities, is_key
from orchestrator.admission.nats_accounts import Accounts, KnownAccounts
from orchestrator.admission.nats_config import AUTH_SECONDS
from orchestrator.admission.secret_files import Secrets, integration_password
from orchestrator.audit.recorder import Audit
from orchestrator.rules.joining.join_tokens import JoinRefused, JoinTokenUnknown
from shared.errors import InvalidId, TarponError, Unauthorized
from shared.ids import NodeId, is_safe_id, node_id
from shared.messaging.transport import Connection, Received
from shared.protocol.capabilities import READ_JOB
from shared.protocol.pasted import Credential, read_credential
from shared.protocol.subjects import (
    AUTH_REQUESTS,
    SYSTEM_INBOX,
    SYSTEM_REQUESTS,
    WHO_AM_I,
    asks_why,
    integration_may_publish,
    integration_may_subscribe,
    keyed_principal,
    node_inbox,
    node_may_publish,
    node_may_subscribe,
    node_requests,
    reason_subject,
    refused_inbox,
    who_asks_why,
)
from shared.settings.secret import Secret

_log = logging.getLogger(__name__)

QUEUE = "tarpon-auth"
PATIENCE_SECONDS = AUTH_SECONDS * 0.75
"""A question that has waited longer is dropped, since its answer would come too late.

Otherwise, when more nodes come back at once than can be judged in time, all would be judged too late, for ever.
"""
BIND_SECONDS = AUTH_SECONDS / 2
TOLD_SECONDS = 30
"""How long a rejected node may stay to be told why; then it comes again."""
MOST_WARNED = 100
OLD_WAY = (
    "Integration %s shows a password that follows from the integration secret: it may do everything, and cannot be"
    " revoked alone. `tarpon user create` makes a key for it."
)


class Admit(msgspec.Struct, frozen=True):
    """Let it in, provided that its claim, where it makes one, is granted."""

    user: User
    claim: Claim | None = None


class Refuse(msgspec.Struct, frozen=True):
    """`reason` is for the logs of the orchestrator and the server; the client is told nothing."""

    reason: str
    code: str = "NotLetIn"
    is_ours: bool = False
    """It could not be judged, by no fault of whoever connects."""


class Bindings(Protocol):
    """Which node id belongs to which key, until the node is deleted."""

    def knows(self, node: NodeId, public_key: str, credential: Credential | None) -> bool:
        """Whether the id is this key's already, so that no token has to let it in."""
        ...

    def is_rejected(self, node: NodeId) -> bool:
        """Whether an operator has rejected the key to which the id is bound."""
        ...

    def check(self, node: NodeId, public_key: str, credential: Credential) -> None:
        """Raise JoinRefused if the token of this credential would not let the node in now, or there is none."""
        ...

    async def bind(self, claim: Claim) -> None:
        """Have the id be bound to this key, now or since earlier.

        Raises JoinRefused, and Unavailable; the node then tries again.
        """
        ...


def decide(
    request: AuthRequest,
    *,
    bindings: Bindings | None,
    join_secret: Secret,
    integration_secret: Secret,
    system_key: str = "",
    accounts: Accounts = Accounts(),  # noqa: B008  # it is immutable
    identities: Identities | None = None,
) -> Admit | Refuse:
    """What can be judged without asking anybody. Without `bindings` no node is let in, without `identities` no user."""
    offered = request.connect_opts
    if request.client_info.kind != "Client":
        return Refuse("it is not a client but a leaf node or the like")
    try:
        if system_key and offered.nkey == system_key:
            return _decide_system(request, accounts)
        if offered.user and identities is not None and is_key(offered.password):
            return _decide_user(offered.user, offered.password, identities, accounts)
        if offered.user:
            return _decide_integration(offered.user, offered.password, integration_secret, accounts)
        if bindings is None:
            return Refuse("no node can be let in at present")
        if node := who_asks_why(offered.name):
            return _decide_question(request, node_id(node), bindings, accounts)
        return _decide_node(request, bindings, join_secret, accounts)
    except InvalidId:
        return Refuse("its name is not a node id")
    except nats_jwt.BadSignature:
        return Refuse("it does not prove that it has a key")


def _decide_node(request: AuthRequest, bindings: Bindings, join_secret: Secret, accounts: Accounts) -> Admit | Refuse:
    offered = request.connect_opts
    credential = read_credential(offered.auth_token)
    by: Right | Credential
    if bindings.knows(NodeId(offered.name), offered.nkey, credential):
        by = Right.KNOWN_KEY
    elif _is_join_secret(offered.auth_token, join_secret):
        by = Right.JOIN_SECRET
    elif credential is not None:
        by = credential
    else:
        return Refuse("its join secret is wrong" if offered.auth_token else "it shows no join token")
    node = node_id(offered.name)
    _check_key(request)
    user = User(
        name=node, account=accounts.nodes, may_publish=node_may_publish(node), may_subscribe=node_may_subscribe(node)
    )
    return Admit(user, Claim(node, offered.nkey, by))


def _is_join_secret(shown: str, join_secret: Secret) -> bool:
    """Never where there is none."""
    return bool(join_secret) and hmac.compare_digest(shown.encode(), join_secret.reveal().encode())


def _decide_question(request: AuthRequest, node: NodeId, bindings: Bindings, accounts: Accounts) -> Admit | Refuse:
    """A node that was refused asks why. Who has shown a real token is told, and can do nothing else."""
    offered = request.connect_opts
    credential = read_credential(offered.auth_token)
    if credential is None:
        return Refuse("it asks why it was refused, and shows no join token")
    _check_key(request)
    try:
        bindings.check(node, offered.nkey, credential)
        told = {}
    except JoinTokenUnknown as error:
        return Refuse(f"it asks why it was refused: {error.message}")
    except JoinRefused as error:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
    user = User(
        name=asks_why(node),
        account=accounts.nodes,
        may_publish=(WHO_AM_I, reason_subject(msgspec.json.encode(told))),
        may_subscribe=(f"{refused_inbox(offered.nkey)}.>",),
        lives_seconds=TOLD_SECONDS,
    )
    return Admit(user)


def _decide_system(request: AuthRequest, accounts: Accounts) -> Admit:
    _check_key(request)
    inbox = (f"{SYSTEM_INBOX}.>",)
    return Admit(User(name="orchestrator", account=accounts.system, may_publish=SYSTEM_REQUESTS, may_subscribe=inbox))


def _only_to_be_told(user: User, node: NodeId) -> User:
    """The rights of a node that has been rejected."""
    return msgspec.structs.replace(
        user,
        may_publish=(node_requests(node),),
        may_subscribe=(f"{node_inbox(node)}.>",),
        lives_seconds=TOLD_SECONDS,
    )


def _decide_integration(principal: str, password: str, secret: Secret, accounts: Accounts) -> Admit | Refuse:
    if not is_safe_id(principal):
        return Refuse("its user is not the name of an integration")
    if not hmac.compare_digest(password.encode(), integration_password(secret, principal).reveal().encode()):
        return Refuse("its password is not that of this integration")
    user = User(
        name=principal,
        account=accounts.integrations,
        may_publish=integration_may_publish(principal),
        may_subscribe=integration_may_subscribe(principal),
    )
    return Admit(user)


def _decide_user(name: str, key: str, identities: Identities, accounts: Accounts) -> Admit | Refuse:
    """A program that shows the key of a user: it hears and asks about that one's namespaces alone."""
    try:
        principal = identities.of_user(name, key)
    except Unauthorized as error:
        return Refuse(error.message, error.code)
    namespaces = principal.namespaces if principal.may(READ_JOB) else frozenset()
    in_all = principal.sees_all and principal.may(READ_JOB)
    subject = keyed_principal(name)
    left = (principal.expires - time.time_ns()) // 10**9 if principal.expires else 0
    user = User(
        name=subject,
        account=accounts.integrations,
        may_publish=integration_may_publish(subject),
        may_subscribe=integration_may_subscribe(subject, None if in_all else namespaces),
        lives_seconds=max(1, left) if principal.expires else 0,
    )
    return Admit(user)


def _check_key(request: AuthRequest) -> None:
    """The nonce is fresh and the server's, so a signature of it cannot be a repeated one."""
    offered, nonce = request.connect_opts, request.client_info.nonce
    if not nonce:
        raise nats_jwt.BadSignature("Nothing is signed.")
    nats_jwt.verify(nonce.encode(), nats_jwt.from_base64(offered.sig.encode()), offered.nkey, kind=nats_jwt.USER)


async def serve_auth(
    connection: Connection,
    bindings: Bindings,
    *,
    secrets: Secrets,
    budgets: Budgets,
    accounts: KnownAccounts,
    attempts: NatsAttempts,
    identities: Identities | None = None,
    audit: Audit | None = None,
    ready: asyncio.Event | None = None,
) -> None:
    """Answer the servers' questions until cancelled; several orchestrators share them. Sets `ready` when listening."""
    audited = AuditedConnections(audit)
    desk = _Desk(bindings, secrets, budgets, accounts, identities, attempts=attempts, audited=audited)
    await accounts.known.wait()
    async with connection.subscribe(AUTH_REQUESTS, queue=QUEUE) as requests, asyncio.TaskGroup() as group:
        if ready is not None:
            await connection.wait_connected()
            ready.set()
        async for received in requests:
            if queue := desk.queue_for(received):
                group.create_task(desk.attend(received, queue, arrived=time.monotonic()), name="auth")


class _Desk:
    """Judges requests, many at once. Strangers have a queue of their own, in which no node that comes back waits."""

    def __init__(
        self,
        bindings: Bindings,
        secrets: Secrets,
        budgets: Budgets,
        accounts: KnownAccounts,
        identities: Identities | None,
        *,
        attempts: NatsAttempts,
        audited: AuditedConnections,
    ) -> None:
        self._audited = audited
        self._identities = identities
        self._warned: set[str] = set()
        self._bindings = bindings
        self._secrets = secrets
        self._budgets = budgets
        self._accounts = accounts
        self._attempts = attempts
        self._system_key = secrets.system_public_key
        self._signer = nkeys.from_seed(bytearray(secrets.issuer_seed.reveal(), "ascii"))
        self._issuer = str(self._signer.public_key, "ascii")
        self._refusals = RefusalLog()

    def queue_for(self, received: Received) -> AttemptsQueue | None:
        """Where it waits; None if it is not looked at, and the server ends the connection after a while."""
        request = claimed(received.payload)
        if request is None:
            return None
        return self._attempts.queue_for(request.client_info.host, self._name(request), self._standing(request))

    def _standing(self, request: AuthRequest) -> AttemptStanding:
        """By what costs next to nothing to look at: whether the key that it names is really its own is judged later."""
        offered = request.connect_opts
        try:
            if offered.nkey == self._system_key:
                return AttemptStanding.NAMED
            if self._shows_secret(request):
                return AttemptStanding.PROVEN
        except TarponError:
            pass
        if offered.user:
            return AttemptStanding.STRANGE
        is_named = self._bindings.knows(NodeId(offered.name), offered.nkey, read_credential(offered.auth_token))
        return AttemptStanding.NAMED if is_named else AttemptStanding.STRANGE

    def _shows_secret(self, request: AuthRequest) -> bool:
        """A good password, join secret or join token. Raises JoinRefused."""
        offered = request.connect_opts
        if offered.user:
            return isinstance(self._decide(request), Admit)
        credential = read_credential(offered.auth_token)
        if credential is None:
            return _is_join_secret(offered.auth_token, self._secrets.join_secret)
        self._bindings.check(NodeId(offered.name), offered.nkey, credential)
        return True

    def _name(self, request: AuthRequest) -> str:
        """Of a node with its key, so that nobody else uses up what that one may; empty for who shows a password."""
        offered = request.connect_opts
        is_by_key = not offered.user or offered.nkey == self._system_key
        return f"{offered.name[:64]} {offered.nkey[:64]}" if is_by_key else ""

    async def attend(self, received: Received, queue: AttemptsQueue, *, arrived: float) -> None:
        queue.waiting += 1
        try:
            async with queue.free:
                await self._answer(received, late=time.monotonic() - arrived > PATIENCE_SECONDS)
        finally:
            queue.waiting -= 1

    async def _answer(self, received: Received, *, late: bool) -> None:
        if late:
            self._refusals.note("A connection was not judged in time and has to try again.", now=time.monotonic())
            return
        try:
            request = parse_request(received.payload, issuer=self._issuer)
        except nats_jwt.BadSignature as error:  # whom an answer would be for is not known
            self._refusals.note(f"A request to judge a connection is ignored: {error}", now=time.monotonic())
            return
        decision = await self._judge(request)
        now = int(time.time())
        if isinstance(decision, Admit):
            payload = admission(request, decision.user, self._signer, now=now)
        else:
            payload = refusal(request, decision.reason, self._signer, now=now)
            if not decision.is_ours:
                self._attempts.on_refused(request.client_info.host, self._name(request))
            self._refusals.note(_explain(request, decision), now=time.monotonic())
            self._audited.refused(request, decision.code)
        await received.respond(payload)

    async def _judge(self, request: AuthRequest) -> Admit | Refuse:
        try:
            decision = self._decide(request)
            self._warn_of_old(request, decision)
            if isinstance(decision, Admit) and decision.claim is not None:
                return await self._judge_claim(request, decision.user, decision.claim)
            self._tell_of_program(request, decision)
        except JoinRefused as error:
            return Refuse(f"{error.message} [{error.code}]", error.code)
        except (TarponError, TimeoutError) as error:
            return Refuse(f"whether the id is its own cannot be told at present: {error!r}", is_ours=True)
        except Exception:  # noqa: BLE001  # a fault at one request must not end the service
            _log.exception("A connection could not be judged.")
            return Refuse("the orchestrator has a fault", is_ours=True)
        return decision

    def _decide(self, request: AuthRequest) -> Admit | Refuse:
        return decide(
            request,
            bindings=self._bindings,
            join_secret=self._secrets.join_secret,
            integration_secret=self._secrets.integration_secret,
            system_key=self._system_key,
            accounts=self._accounts.names,
            identities=self._identities,
        )

    def _warn_of_old(self, request: AuthRequest, decision: Admit | Refuse) -> None:
        """Once for each of the first ones that come so."""
        name = request.connect_opts.user
        is_old = isinstance(decision, Admit) and name == decision.user.name
        if is_old and name not in self._warned and len(self._warned) < MOST_WARNED:
            self._warned.add(name)
            _log.warning(OLD_WAY, name)

    def _tell_of_program(self, request: AuthRequest, decision: Admit | Refuse) -> None:
        name = request.connect_opts.user
        if isinstance(decision, Admit) and name:
            self._audited.let_in(request, "integration" if name == decision.user.name else "key", name)

    async def _judge_claim(self, request: AuthRequest, user: User, claim: Claim) -> Admit | Refuse:
        if seconds := self._budgets.shut_out_seconds(claim.node):
            return Refuse(f"it has sent far too much, and may come back in {seconds:.0f} s")
        is_new = not self._bindings.knows(claim.node, claim.public_key, claim.credential)
        if is_new:
            self._audited.check()
        try:
            async with asyncio.timeout(BIND_SECONDS):
                await self._bindings.bind(claim)
        except JoinRefused:
            raise
        except (TarponError, TimeoutError) as error:  # its answer may be lost alone
            if is_new:
                self._audited.may_have_joined(request, claim, getattr(error, "code", type(error).__name__))
            raise
        if is_new:
            await self._audited.joined(request, claim)
        elif not self._bindings.is_rejected(claim.node):
            self._audited.let_in(request, "node", claim.node)
        return Admit(_only_to_be_told(user, claim.node) if self._bindings.is_rejected(claim.node) else user, claim)


def _explain(request: AuthRequest, refused: Refuse) -> str:
    offered, host = request.connect_opts, request.client_info.host[:64]
    who = f"integration {offered.user[:64]!r}" if offered.user else f"node {offered.name[:64]!r}"
    return f"A connection from {host!r} as {who} is refused: {refused.reason}."
