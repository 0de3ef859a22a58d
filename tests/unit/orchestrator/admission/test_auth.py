"""The decision about a connection, and how much is said about those that are refused."""

import base64
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import nkeys
import pytest

from orchestrator.admission import nats_jwt
from orchestrator.admission.audited_connections import AuditedConnections
from orchestrator.admission.auth import Admit, Refuse, _Desk, decide
from orchestrator.admission.bounds.refusal_log import LOG_WINDOW_SECONDS, LOGGED_REFUSALS, RefusalLog
from orchestrator.admission.callout import (
    AuthRequest,
    ConnectingClient,
    ConnectOptions,
    Server,
    User,
    admission,
    parse_request,
    refusal,
)
from orchestrator.admission.claims import Claim, Right
from orchestrator.admission.secret_files import integration_password
from orchestrator.rules.joining.join_tokens import JoinTokenRevoked, JoinTokenUnknown
from shared.errors import Unavailable
from shared.ids import NodeId
from shared.protocol.pasted import Credential, JoinToken
from shared.protocol.subjects import SERVICE_REQUESTS, reason_in
from shared.settings.secret import Secret
from tests.audit_logs import NAME, audit_in, lines_in

JOIN_SECRET = Secret("join-secret")
INTEGRATION_SECRET = Secret("the-secret-of-integrations")
NONCE = "7vG0Ac4J1mc-2Vw"


def pair(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))


def public(key: nkeys.KeyPair) -> str:
    return str(key.public_key, "ascii")


NODE, SERVER, ISSUER, EPHEMERAL = (
    pair(nats_jwt.USER),
    pair(nats_jwt.SERVER),
    pair(nats_jwt.ACCOUNT),
    pair(nats_jwt.USER),
)


def signature(signer: nkeys.KeyPair = NODE, nonce: str = NONCE) -> str:
    return base64.urlsafe_b64encode(signer.sign(nonce.encode())).decode().rstrip("=")


def request(*, kind: str = "Client", nonce: str = NONCE, **offered: str) -> AuthRequest:
    options = {"name": "node-1", "nkey": public(NODE), "sig": signature(), "auth_token": "join-secret"} | offered
    return AuthRequest(
        type="authorization_request",
        server_id=Server(id=public(SERVER)),
        user_nkey=public(EPHEMERAL),
        client_info=ConnectingClient(host="10.0.0.7", kind=kind, nonce=nonce),
        connect_opts=ConnectOptions(**options),
    )


def claims(**changed: Any) -> dict[str, Any]:
    nats = {
        "type": "authorization_request",
        "version": 2,
        "server_id": {"name": "s", "host": "0.0.0.0", "id": public(SERVER), "version": "2.15.1"},
        "user_nkey": public(EPHEMERAL),
        "client_info": {"host": "10.0.0.7", "id": 7, "kind": "ConnectingClient", "type": "nats", "nonce": NONCE},
        "connect_opts": {"name": "node-1", "nkey": public(NODE), "sig": signature(), "protocol": 1, "no_such": [1]},
        "request_nonce": "something newer",
    }
    return {"aud": "nats-authorization-request", "sub": public(ISSUER), "exp": 1, "nats": nats | changed}


def parsed(token: bytes) -> AuthRequest:
    return parse_request(token, issuer=public(ISSUER))


class Bound:
    """Bindings with one node, and one token that lets nobody in any more."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys

    def knows(self, node: NodeId, public_key: str, credential: Credential | None) -> bool:
        return self.keys.get(node) == public_key

    def is_rejected(self, node: NodeId) -> bool:
        return False

    def check(self, node: NodeId, public_key: str, credential: Credential) -> None:
        if credential != DEAD:
            raise JoinTokenUnknown(credential.id)
        raise JoinTokenRevoked(credential.id, "2026-01-01")

    async def bind(self, claim: Claim) -> None:
        raise AssertionError(claim)


TOKEN = JoinToken(id="t1", secret=bytes(32))
DEAD = Credential("t1", TOKEN.digest)


def decided(asked: AuthRequest, *, bound: Bound | None = None, join_secret: Secret = JOIN_SECRET) -> Admit | Refuse:
    return decide(asked, bindings=bound or Bound(), join_secret=join_secret, integration_secret=INTEGRATION_SECRET)


def test_a_node_with_secret_key_and_id_gets_its_own_subjects() -> None:
    decision = decided(request())
    assert isinstance(decision, Admit)
    assert decision.claim == Claim(NodeId("node-1"), public(NODE), Right.JOIN_SECRET)
    assert decision.user == User(
        name="node-1",
        account="TARPON_NODES",
        may_publish=("tarpon.v1.node.node-1.out.>",),
        may_subscribe=("tarpon.v1.node.node-1.in.>", "_INBOX.node-1.>"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth_token": ""},
        {"auth_token": "join-secret "},
        {"auth_token": "ü"},
        {"name": ""},
        {"name": "a.b"},
        {"name": ">"},
        {"name": "node-1\n"},
        {"name": "x" * 65},
        {"nkey": ""},
        {"nkey": public(EPHEMERAL)},
        {"nkey": public(ISSUER)},
        {"sig": ""},
        {"sig": "é"},
        {"sig": signature(EPHEMERAL)},
        {"sig": signature(nonce="another nonce")},
        {"nonce": ""},
        {"nonce": "another nonce"},
        {"kind": "Leafnode"},
        {"kind": ""},
    ],
)
def test_whatever_is_wrong_keeps_a_connection_out(wrong: dict[str, str]) -> None:
    assert isinstance(decided(request(**wrong)), Refuse)


def test_nobody_joins_without_a_secret_by_showing_none() -> None:
    assert isinstance(decided(request(auth_token=""), join_secret=Secret("x")), Refuse)


def test_a_refusal_does_not_repeat_what_was_shown() -> None:
    refused = decided(request(auth_token="almost-the-secret"))
    assert "almost" not in repr(refused)
    assert "join-secret" not in repr(request())


def test_a_request_of_a_newer_server_is_read_without_what_is_new_in_it() -> None:
    assert parsed(nats_jwt.encode(claims(), SERVER)).connect_opts.name == "node-1"


@pytest.mark.parametrize(
    ("content", "signer"),
    [
        (claims() | {"sub": public(EPHEMERAL)}, SERVER),
        (claims() | {"aud": "nats-authorization-response"}, SERVER),
        (claims(type="user"), SERVER),
        (claims(server_id={"id": public(NODE)}), SERVER),
        (claims(), pair(nats_jwt.SERVER)),
        (claims(), ISSUER),
        (claims(client_info=7), SERVER),
        (claims(connect_opts={"name": 7}), SERVER),
        ({"nats": {}}, SERVER),
    ],
    ids=["sub", "aud", "type", "server", "another server", "an account", "client", "name", "empty"],
)
def test_a_request_that_is_not_for_this_callout_is_ignored(content: dict[str, Any], signer: nkeys.KeyPair) -> None:
    with pytest.raises(nats_jwt.BadSignature):
        parsed(nats_jwt.encode(content, signer))


def test_an_admission_is_a_user_for_this_connection_and_has_no_end() -> None:
    decision = decided(request())
    assert isinstance(decision, Admit)
    answer = json.loads(
        nats_jwt.decode(admission(request(), decision.user, ISSUER, now=7), issuer_kind=nats_jwt.ACCOUNT)
    )
    user = json.loads(nats_jwt.decode(answer["nats"]["jwt"].encode(), issuer_kind=nats_jwt.ACCOUNT))

    assert (answer["aud"], answer["sub"], answer["nats"]["type"]) == (
        public(SERVER),
        public(EPHEMERAL),
        "authorization_response",
    )
    assert (user["aud"], user["sub"], user["name"], user["iss"]) == (
        "TARPON_NODES",
        public(EPHEMERAL),
        "node-1",
        public(ISSUER),
    )
    assert user["nats"]["resp"] == {"max": 1, "ttl": 120_000_000_000}
    assert "exp" not in answer
    assert "exp" not in user


def test_a_refusal_admits_nobody() -> None:
    answer = json.loads(nats_jwt.decode(refusal(request(), "no", ISSUER, now=7), issuer_kind=nats_jwt.ACCOUNT))
    assert answer["nats"] == {"type": "authorization_response", "version": 2, "error": "no"}


def test_a_flood_of_refusals_is_counted_and_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    refusals = RefusalLog()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            refusals.note("refused", now=0.0)
        assert len(caplog.records) == LOGGED_REFUSALS
        refusals.note("refused again", now=LOG_WINDOW_SECONDS)
    assert [record.getMessage() for record in caplog.records[LOGGED_REFUSALS:]] == [
        f"{1000 - LOGGED_REFUSALS} more connections were refused meanwhile.",
        "refused again",
    ]


def integration(password: str, user: str = "billing") -> AuthRequest:
    return msgspec.structs.replace(request(), connect_opts=ConnectOptions(user=user, password=password))


def test_an_integration_with_its_password_gets_its_own_subjects() -> None:
    password = integration_password(INTEGRATION_SECRET, "billing").reveal()
    decision = decided(integration(password))
    assert isinstance(decision, Admit)
    assert decision.claim is None
    assert decision.user == User(
        name="billing",
        account="TARPON_INTEGRATIONS",
        may_publish=("tarpon.v1.api.billing.>", *SERVICE_REQUESTS),
        may_subscribe=("tarpon.v1.events.>", "_INBOX.billing.>"),
    )


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("payroll", integration_password(INTEGRATION_SECRET, "billing").reveal()),
        ("billing", INTEGRATION_SECRET.reveal()),
        ("billing", ""),
        ("*", integration_password(INTEGRATION_SECRET, "*").reveal()),
        ("a.b", integration_password(INTEGRATION_SECRET, "a.b").reveal()),
    ],
)
def test_an_integration_with_anothers_password_or_an_unsafe_name_is_refused(user: str, password: str) -> None:
    offered = integration(password, user)
    assert isinstance(decided(offered), Refuse)


def test_nobody_joins_by_showing_nothing_where_there_is_no_join_secret() -> None:
    assert isinstance(decided(request(auth_token=""), join_secret=Secret()), Refuse)


def test_a_node_that_is_known_needs_nothing_but_its_key() -> None:
    bound = Bound(**{"node-1": public(NODE)})
    for shown in ("", "whatever became of it", TOKEN.credential):
        decision = decided(request(auth_token=shown), bound=bound, join_secret=Secret())
        assert isinstance(decision, Admit)
        assert decision.claim == Claim(NodeId("node-1"), public(NODE), Right.KNOWN_KEY)


def test_who_names_a_known_key_has_to_prove_that_it_is_its_own() -> None:
    bound = Bound(**{"node-1": public(NODE)})
    assert isinstance(decided(request(auth_token="", sig=signature(EPHEMERAL)), bound=bound), Refuse)


def test_a_join_token_is_claimed_by_its_id_and_the_digest_of_its_secret() -> None:
    decision = decided(request(auth_token=TOKEN.credential))
    assert isinstance(decision, Admit)
    assert decision.claim == Claim(NodeId("node-1"), public(NODE), DEAD)
    assert TOKEN.credential not in repr(decision)


def test_a_refused_node_with_a_real_token_is_told_why_and_may_do_nothing_else() -> None:
    decision = decided(request(name="why.node-1", auth_token=TOKEN.credential))
    assert isinstance(decision, Admit)
    who_am_i, reason = decision.user.may_publish
    assert who_am_i == "$SYS.REQ.USER.INFO"
    assert msgspec.json.decode(reason_in([reason]))["code"] == "JoinTokenRevoked"
    assert decision.user.may_subscribe == (f"_INBOX.not-let-in-{public(NODE)}.>",)
    assert decision.user.lives_seconds == 30
    assert decision.claim is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth_token": ""},
        {"auth_token": "join-secret"},
        {"auth_token": JoinToken(id="t1", secret=bytes(31) + b"1").credential},
        {"auth_token": JoinToken(id="t2", secret=bytes(32)).credential},
        {"sig": signature(EPHEMERAL)},
        {"name": "why."},
        {"name": "why.a.b"},
        {"name": "why.>"},
    ],
)
def test_nobody_is_told_anything_without_a_real_token(wrong: dict[str, str]) -> None:
    asked = request(**{"name": "why.node-1", "auth_token": TOKEN.credential} | wrong)
    assert isinstance(decided(asked), Refuse)


class Lost(Bound):
    async def bind(self, claim: Claim) -> None:
        raise Unavailable("no answer")


async def test_a_join_whose_answer_is_lost_is_told(tmp_path: Path) -> None:
    secrets = SimpleNamespace(system_public_key="", issuer_seed=Secret(str(ISSUER.seed, "ascii")))
    budgets = SimpleNamespace(shut_out_seconds=lambda _: 0)
    async with audit_in(tmp_path) as audit:
        rest = {"attempts": None, "audited": AuditedConnections(audit)}
        desk = cast(Any, _Desk)(Lost(), secrets, budgets, None, None, **rest)
        claim = cast(Any, SimpleNamespace(node=NodeId("n-1"), public_key="U1", credential=None, by=Right.JOIN_SECRET))
        with pytest.raises(Unavailable):
            await desk._judge_claim(request(), None, claim)
    (told,) = [each for each in lines_in(tmp_path / NAME) if each.action == "join"]
    assert (told.object, told.outcome, told.code) == ("n-1", "failed", "Unavailable")
