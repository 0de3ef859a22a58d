"""Sign-in by OpenID Connect, with a real issuer: which tokens are taken, and what is told of those that are not."""

import hmac
import json
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.admission.sign_in.issuer import IssuerAway
from orchestrator.admission.sign_in.key_set import MAX_KEYS
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.sign_in.token import MAX_TOKEN_BYTES
from shared.errors import ExtraMissing
from shared.runtime.aio import background
from shared.settings.config import ApiAuth, ApiSettings, Config
from shared.settings.sign_in import Oauth2
from shared.settings.sign_in_rules import SignInRules
from tests.audit_logs import lines_in
from tests.certificates import make_certificate
from tests.integration.fed_api import JOBS, FedApi
from tests.integration.running import Answer
from tests.played_issuer import ADA, AUDIENCE, CLIENT, DISCOVERY, IssuersKey, PlayedIssuer, encoded, json_part
from tests.waiting import answered, eventually

PEOPLE = {
    "Match": [{"Claim": "groups", "Value": "people"}],
    "Capabilities": [{"Actions": ["read:job"]}],
    "Namespaces": ["*"],
}
AUTH_CONFIG = "/api/v1/agent/authconfig"


@pytest.fixture
def issuer() -> Iterator[PlayedIssuer]:
    with PlayedIssuer().running() as played:
        yield played


@asynccontextmanager
async def signing_in(
    issuer: PlayedIssuer, *rules: dict[str, Any], audit_folder: Path | None = None, **settings: Any
) -> AsyncIterator[FedApi]:
    """An API whose people sign in there."""
    chosen = Oauth2(
        issuer=issuer.url,
        audience=settings.pop("audience", AUDIENCE),
        device_client_id=CLIENT,
        rules=SignInRules.read("Rules", list(rules or (PEOPLE,))),
        **settings,
    )
    sign_in = SignIn(chosen)
    config = Config(api=ApiSettings(auth=ApiAuth(oauth2=chosen)))
    async with (
        sign_in.issuer.open(),
        background(issuer=sign_in.issuer.run()),
        FedApi(config, sign_in=sign_in, audit_folder=audit_folder).serving() as fed,
    ):
        fed.job(1)
        fed.job(2, namespace="a")
        fed.job(3, namespace="b")
        yield fed


@pytest.fixture
async def api(issuer: PlayedIssuer) -> AsyncIterator[FedApi]:
    async with signing_in(issuer) as fed:
        yield fed


async def shown(api: FedApi, token: str, path: str = JOBS, method: str = "GET", **more: Any) -> Answer:
    return await api.ask(path, method, headers={"Authorization": f"Bearer {token}"}, **more)


def told(answer: Answer) -> tuple[int, str]:
    """The status, and the code as Tarpon's own programs are told it."""
    if answer.status < 400:
        return answer.status, ""
    return answer.status, answer.json["Details"].get("TarponCode", answer.json["Code"])


async def code(api: FedApi, token: str, path: str = JOBS, method: str = "GET", **more: Any) -> tuple[int, str]:
    return told(await shown(api, token, path, method, **more))


def known_keys(fed: FedApi) -> bool:
    sign_in = fed.api._sign_in
    assert sign_in is not None
    return sign_in.issuer._keys is not None


# ---- what is taken --------------------------------------------------------------------------------------------------


async def test_a_token_of_the_issuer_lets_its_person_in(issuer: PlayedIssuer, api: FedApi) -> None:
    answer = await shown(api, issuer.token())
    assert answer.status == 200
    assert {job["Name"] for job in answer.json["Items"]} == {"job-1"}
    assert await code(api, issuer.token(), method="PUT", body={"Job": {}}) == (403, "CapabilityMissing")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_each_kind_of_key_is_taken(issuer: PlayedIssuer, algorithm: str) -> None:
    issuer.key = IssuersKey(algorithm)
    issuer.published = [issuer.key.jwk]
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (200, "")


async def test_ed25519_is_taken_by_its_newer_name_too(issuer: PlayedIssuer) -> None:
    issuer.key = IssuersKey("Ed25519")
    issuer.published = [issuer.key.jwk]
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (200, "")


async def test_a_token_that_names_no_key_is_checked_with_the_only_one(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token(header={"kid": None})) == (200, "")
    issuer.published.append(IssuersKey().jwk)
    async with signing_in(issuer) as two:
        assert await code(two, issuer.token(header={"kid": None})) == (401, "TokenKeyUnknown")


async def test_an_audience_may_be_one_of_several(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token(aud=["other", AUDIENCE])) == (200, "")


async def test_keys_and_passwords_are_taken_as_ever_beside_tokens(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, "neither-a-key-nor-a-token") == (401, "KeyWrong")
    assert told(await api.ask(JOBS)) == (401, "KeyMissing")


async def test_a_token_counts_for_nothing_where_nobody_signs_in(issuer: PlayedIssuer) -> None:
    async with FedApi(Config()).serving() as api:
        assert await code(api, issuer.token()) == (401, "KeyWrong")
        assert (await api.ask(AUTH_CONFIG)).json["Config"]["ProviderID"] == ""


async def test_an_issuer_is_known_by_the_authority_that_is_named(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    with PlayedIssuer(made).running() as issuer:
        async with signing_in(issuer, ca_file=str(made.certificate)) as api:
            assert await code(api, issuer.token()) == (200, "")
        async with signing_in(issuer) as api:
            assert await code(api, issuer.token()) == (503, "IssuerAway")


# ---- what is not taken ----------------------------------------------------------------------------------------------


async def test_a_token_for_another_service_is_not_taken(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token(aud="another")) == (401, "TokenAudienceWrong")
    assert await code(api, issuer.token(aud=None)) == (401, "TokenAudienceWrong")
    assert await code(api, issuer.token(aud=[])) == (401, "TokenAudienceWrong")


async def test_a_token_of_another_issuer_is_not_taken_and_asks_nobody(issuer: PlayedIssuer, api: FedApi) -> None:
    await eventually(lambda: known_keys(api), within=10, what="the keys are known")
    asked = issuer.asked.total()
    assert await code(api, issuer.token(iss=f"{issuer.url}/")) == (401, "TokenIssuerWrong")
    assert await code(api, issuer.token(IssuersKey(), iss="https://login.example.com")) == (401, "TokenIssuerWrong")
    assert issuer.asked.total() == asked


async def test_a_token_without_a_signature_is_not_taken(issuer: PlayedIssuer, api: FedApi) -> None:
    claims = issuer.token().split(".")[1]
    for header in ({"alg": "none"}, {"alg": "None"}, {"alg": "NONE", "kid": issuer.key.kid}, {"typ": "JWT"}):
        assert await code(api, f"{json_part(header)}.{claims}.") == (401, "TokenAlgorithmRefused")
    assert await code(api, f"{json_part({'alg': 'RS256'})}.{claims}.") == (401, "TokenMalformed")


async def test_a_public_key_is_no_shared_secret(issuer: PlayedIssuer, api: FedApi) -> None:
    issuer.key = IssuersKey("RS256")
    issuer.published = [issuer.key.jwk]
    signed = f"{json_part({'alg': 'HS256', 'kid': issuer.key.kid})}.{issuer.token().split('.')[1]}"
    for secret in (issuer.key.pem, json.dumps(issuer.key.jwk).encode()):
        signature = encoded(hmac.digest(secret, signed.encode(), "sha256"))
        assert await code(api, f"{signed}.{signature}") == (401, "TokenAlgorithmRefused")


async def test_a_key_signs_in_its_own_way_only(issuer: PlayedIssuer, api: FedApi) -> None:
    issuer.key = IssuersKey("RS256")
    issuer.published = [issuer.key.jwk]
    issuer.key.algorithm = "PS256"
    assert await code(api, issuer.token()) == (401, "SigningKeyUnfit")


async def test_only_algorithms_that_are_allowed_are_taken(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer, algorithms=("RS256", "EdDSA")) as api:
        assert await code(api, issuer.token()) == (401, "TokenAlgorithmRefused")


async def test_a_token_that_somebody_else_has_signed_or_changed_is_not_taken(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token(IssuersKey(kid=issuer.key.kid))) == (401, "TokenSignatureWrong")
    header, _, signature = issuer.token().split(".")
    other = issuer.token(sub="somebody").split(".")[1]
    assert await code(api, f"{header}.{other}.{signature}") == (401, "TokenSignatureWrong")


async def test_a_key_within_the_token_is_not_looked_at(issuer: PlayedIssuer, api: FedApi) -> None:
    own = IssuersKey()
    for header in ({"jwk": own.jwk}, {"jku": f"{issuer.url}/other-keys"}, {"x5u": f"{issuer.url}/other-keys"}):
        assert await code(api, issuer.token(own, header={**header, "kid": issuer.key.kid})) == (
            401,
            "TokenSignatureWrong",
        )
    assert not issuer.asked["/other-keys"]


async def test_a_token_is_taken_until_it_expires(issuer: PlayedIssuer, api: FedApi) -> None:
    now = int(time.time())
    assert await code(api, issuer.token(iat=now - 600, exp=now - 120)) == (401, "TokenExpired")
    assert await code(api, issuer.token(exp=None)) == (401, "TokenIncomplete")


async def test_a_token_is_not_taken_before_it_is_valid(issuer: PlayedIssuer, api: FedApi) -> None:
    now = int(time.time())
    assert await code(api, issuer.token(nbf=now + 120)) == (401, "TokenNotYetValid")
    assert await code(api, issuer.token(iat=now + 120, exp=now + 600)) == (401, "TokenNotYetValid")


async def test_clocks_may_differ_by_the_leeway(issuer: PlayedIssuer, api: FedApi) -> None:
    now = int(time.time())
    assert await code(api, issuer.token(iat=now + 20, nbf=now + 20, exp=now + 600)) == (200, "")
    assert await code(api, issuer.token(iat=now - 600, exp=now - 10)) == (200, "")
    async with signing_in(issuer, leeway=0.0) as strict:
        assert await code(strict, issuer.token(iat=now - 600, exp=now - 1)) == (401, "TokenExpired")


async def test_a_token_is_not_taken_for_longer_than_the_settings_say(issuer: PlayedIssuer) -> None:
    now = int(time.time())
    async with signing_in(issuer, max_token_life=3600.0) as api:
        assert await code(api, issuer.token(iat=now - 3000, exp=now + 10**6)) == (200, "")
        assert await code(api, issuer.token(iat=now - 4000, exp=now + 10**6)) == (401, "TokenTooOld")


async def test_a_token_without_a_subject_is_nobodys(issuer: PlayedIssuer, api: FedApi) -> None:
    for subject in (None, "", 5, "a\nb", "s" * 300, ["a"]):
        assert await code(api, issuer.token(sub=subject)) == (401, "TokenIncomplete")


async def test_a_token_that_is_too_large_is_told_so(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token(groups=["people", "x" * 6000])) == (200, "")
    large = issuer.token(groups=["x" * MAX_TOKEN_BYTES])
    assert await code(api, large[: MAX_TOKEN_BYTES + 1]) == (401, "TokenTooLarge")


@pytest.mark.parametrize(
    "token",
    [
        "ey.ey",
        "eyJ.a.b",
        "eyJhbGciOiJSUzI1NiJ9.!!!.AA",
        "eyJhbGciOiJSUzI1NiJ9.e30=.AA",
        "eyJhbGciOiJSUzI1NiJ9.W10.AA",
        "eyJhbGciOiJSUzI1NiJ9.bm8.AA",
        f"{json_part({'alg': 'RS256', 'crit': ['x'], 'x': 1})}.e30.AA",
        f"{json_part({'alg': 'RS256', 'b64': False})}.e30.AA",
        f"{json_part({'alg': 'RS256', 'kid': 5})}.e30.AA",
        f"{json_part({'alg': 'RS256', 'typ': 'logout+jwt'})}.e30.AA",
        f"{json_part({'alg': 'RS256'})}.{encoded(b'[' * 5000)}.AA",
    ],
)
async def test_what_is_no_token_is_told_so(api: FedApi, token: str) -> None:
    assert await code(api, token) == (401, "TokenMalformed")


async def test_what_tells_of_a_sign_out_signs_nobody_in(issuer: PlayedIssuer, api: FedApi) -> None:
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert await code(api, issuer.token(events=events)) == (401, "TokenMalformed")


async def test_an_encrypted_token_is_told_so(api: FedApi) -> None:
    header = json_part({"alg": "RSA-OAEP", "enc": "A256GCM"})
    assert await code(api, f"{header}.a.b.c.d") == (401, "TokenEncrypted")


async def test_a_token_that_is_made_for_another_client_is_not_taken(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer, authorized_parties=("ci",)) as api:
        assert await code(api, issuer.token(azp="ci")) == (200, "")
        assert await code(api, issuer.token(client_id="ci")) == (200, "")
        assert await code(api, issuer.token(azp="web")) == (401, "TokenPartyWrong")
        assert await code(api, issuer.token(azp=["ci"])) == (401, "TokenPartyWrong")
        assert await code(api, issuer.token()) == (401, "TokenPartyWrong")
    async with signing_in(issuer, audience=CLIENT) as api:
        assert await code(api, issuer.token(aud=CLIENT)) == (200, "")
        assert await code(api, issuer.token(aud=CLIENT, azp=CLIENT)) == (200, "")
        assert await code(api, issuer.token(aud=CLIENT, azp="web")) == (401, "TokenPartyWrong")
        assert await code(api, issuer.token(aud=[CLIENT, "web"])) == (401, "TokenPartyWrong")


# ---- rules ----------------------------------------------------------------------------------------------------------


async def test_what_is_told_to_anybody_is_told_whatever_token_is_shown(issuer: PlayedIssuer, api: FedApi) -> None:
    for token in (issuer.token(), issuer.token(groups=[]), issuer.token(aud="another"), "eyJ.a.b"):
        assert await code(api, token, "/api/v1/agent/version") == (200, "")
    issuer.stop()
    assert await code(api, issuer.token(IssuersKey()), "/api/v1/agent/version") == (200, "")


async def test_who_matches_no_rule_is_told_so(issuer: PlayedIssuer, api: FedApi) -> None:
    answer = await shown(api, issuer.token(groups=["others"]))
    assert told(answer) == (403, "NoRuleMatches")
    assert "'ada'" in answer.json["Message"]


async def test_a_rule_may_let_into_one_namespace_alone(issuer: PlayedIssuer) -> None:
    team = {
        "Match": [{"Claim": ["team", "name"], "Pattern": "blue-*"}],
        "Capabilities": [{"Actions": ["read:job", "write:job"]}],
        "Namespaces": ["a"],
    }
    async with signing_in(issuer, team) as api:
        token = issuer.token(team={"name": "blue-1"})
        assert {each["Name"] for each in (await shown(api, token, f"{JOBS}?namespace=*")).json["Items"]} == {"job-2"}
        assert await code(api, token, f"{JOBS}/j-0002") == (200, "")
        assert await code(api, token, f"{JOBS}/j-0001") == (404, "JobNotFound")
        assert await code(api, token, f"{JOBS}/job-3?namespace=b") == (404, "JobNotFound")
        assert await code(api, token, f"{JOBS}/j-0003", "DELETE") == (404, "JobNotFound")
        body = {"Job": {"Name": "x", "Namespace": "b", "Type": "batch", "Tasks": []}}
        assert await code(api, token, method="PUT", body=body) == (403, "NamespaceForbidden")
        assert await code(api, token, "/api/v1/agent/config") == (403, "CapabilityMissing")
        assert await code(api, issuer.token(team={"name": "red-1"})) == (403, "NoRuleMatches")


async def test_a_rule_may_shut_somebody_out(issuer: PlayedIssuer) -> None:
    out = {"Match": [{"Claim": "sub", "Value": ADA["sub"]}], "Refuse": True}
    async with signing_in(issuer, out, PEOPLE) as api:
        assert await code(api, issuer.token()) == (403, "RefusedByRule")
        assert await code(api, issuer.token(sub="another")) == (200, "")


async def test_a_name_that_people_choose_names_nobody_else(issuer: PlayedIssuer) -> None:
    """The name in records is the issuer and the subject, whatever a token calls its person."""
    everything = {**PEOPLE, "Capabilities": [{"Actions": ["*"]}]}
    async with signing_in(issuer, everything) as api:
        sign_in = api.api._sign_in
        assert sign_in is not None
        ada = await sign_in.principal(issuer.token())
        other = await sign_in.principal(issuer.token(sub="2", preferred_username="ada"))
    assert (ada.name, other.name) == (f"{issuer.url}|{ADA['sub']}", f"{issuer.url}|2")
    assert ada.shown == other.shown == "ada"
    assert ada.key_id != other.key_id


# ---- keys -----------------------------------------------------------------------------------------------------------


async def test_rotated_keys_are_found_at_once(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token()) == (200, "")
    asked = issuer.asked["/keys"]
    before = issuer.token()
    issuer.rotate()
    assert await code(api, issuer.token()) == (200, "")
    assert issuer.asked["/keys"] == asked + 1
    assert await code(api, before) == (401, "TokenKeyUnknown")


@pytest.mark.parametrize("left", [[], [{"kty": "EC", "crv": "secp256k1", "kid": "new", "x": "AA", "y": "AA"}]])
async def test_keys_that_are_withdrawn_without_others_are_not_taken(
    issuer: PlayedIssuer, api: FedApi, left: list[dict[str, Any]]
) -> None:
    assert await code(api, issuer.token()) == (200, "")
    issuer.published = left
    assert await code(api, issuer.token(IssuersKey())) == (503, "IssuerUnfit"), "the keys are asked for again"
    assert await code(api, issuer.token(sub="another")) == (503, "IssuerUnfit")


async def test_unknown_keys_ask_the_issuer_once_and_no_more(
    issuer: PlayedIssuer, api: FedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.admission.sign_in.issuer.AT_ONCE_SECONDS", 3600.0)
    assert await code(api, issuer.token()) == (200, "")
    asked = issuer.asked["/keys"]
    for _ in range(20):
        assert await code(api, issuer.token(IssuersKey("EdDSA"))) == (401, "TokenKeyUnknown")
    assert issuer.asked["/keys"] <= asked + 1
    assert await code(api, issuer.token()) == (200, "")


async def test_a_weak_key_is_not_taken(issuer: PlayedIssuer) -> None:
    weak = IssuersKey("RS256", bits=1024)
    issuer.published.append(weak.jwk)
    async with signing_in(issuer) as api:
        answer = await shown(api, issuer.token(weak))
        assert told(answer) == (401, "SigningKeyUnfit")
        assert "1024 bits" in answer.json["Message"]
        assert await code(api, issuer.token()) == (200, "")
    issuer.published = [weak.jwk]
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token(weak)) == (503, "IssuerUnfit")


async def test_a_key_set_has_a_bound(issuer: PlayedIssuer) -> None:
    others = [{**issuer.key.jwk, "kid": f"k-{number}"} for number in range(MAX_KEYS)]
    issuer.published = [*others, issuer.key.jwk]
    async with signing_in(issuer) as api:
        answer = await shown(api, issuer.token())
        assert told(answer) == (503, "IssuerUnfit")
        assert "65 keys" in answer.json["Message"]
    issuer.published = [*others[1:], issuer.key.jwk]
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (200, "")


async def test_a_key_that_is_not_for_signatures_signs_nothing(issuer: PlayedIssuer) -> None:
    keys = [IssuersKey("EdDSA") for _ in range(3)]
    changes: list[dict[str, Any]] = [{"use": "enc"}, {"key_ops": ["sign"]}, {"d": "AA"}]
    issuer.published += [{**key.jwk, **change} for key, change in zip(keys, changes, strict=True)]
    async with signing_in(issuer) as api:
        for key in keys:
            assert await code(api, issuer.token(key)) == (401, "SigningKeyUnfit")


# ---- an issuer that is away, or unfit -------------------------------------------------------------------------------


async def test_what_is_known_goes_on_while_the_issuer_is_away(issuer: PlayedIssuer, api: FedApi) -> None:
    assert await code(api, issuer.token()) == (200, "")
    issuer.stop()
    assert await code(api, issuer.token(sub="another")) == (200, "")
    answer = await shown(api, issuer.token(IssuersKey()))
    assert told(answer) == (503, "IssuerAway")
    assert "cannot be reached" in answer.json["Message"]
    assert told(await api.ask(AUTH_CONFIG)) == (200, "")


async def test_what_is_told_of_an_issuer_holds_no_token(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer) as api:
        issuer.stop()
        assert await code(api, issuer.token(IssuersKey())) == (503, "IssuerAway")
        assert api.api._sign_in is not None
        asked = api.api._sign_in.issuer
        told: list[Exception] = []
        for kid in ("unknown", "another"):
            with pytest.raises(IssuerAway) as refused:
                await asked.key(kid, "RS256")
            told.append(refused.value)
        kept = asked._problem
        assert kept is not None
        assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
        assert told[0] is not told[1]
        assert told[0].args == told[1].args == kept.args


async def test_nobody_signs_in_by_an_issuer_that_was_never_there(issuer: PlayedIssuer) -> None:
    issuer.stop()
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (503, "IssuerAway")
        assert told(await api.ask(AUTH_CONFIG)) == (503, "IssuerAway")
        assert await code(api, issuer.token(aud="another")) == (401, "TokenAudienceWrong")
        issuer.start()

        async def answer() -> tuple[int, str]:
            return await code(api, issuer.token())

        await answered(answer, lambda found: found == (200, ""), within=30, what="the issuer is asked again")


async def test_keys_that_were_not_confirmed_for_too_long_are_not_taken(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer, keys_lifetime=1.0) as api:
        assert await code(api, issuer.token()) == (200, "")
        issuer.stop()

        async def answer() -> tuple[int, str]:
            return await code(api, issuer.token())

        await answered(answer, lambda found: found == (503, "IssuerAway"), within=30, what="the keys are too old")


async def test_a_slow_issuer_is_given_up(issuer: PlayedIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.admission.sign_in.issuer.ANSWER_SECONDS", 0.2)
    issuer.held["/keys"] = threading.Event()
    async with signing_in(issuer) as api:
        answer = await shown(api, issuer.token())
        assert told(answer) == (503, "IssuerAway")
        assert "has not answered within" in answer.json["Message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (DISCOVERY, b"<html>hello</html>"),
        (DISCOVERY, b"[]"),
        (DISCOVERY, b"{}"),
        (DISCOVERY, b"[" * 100_000),
        (DISCOVERY, b"\xff\xfe"),
        ("/keys", b"{}"),
        ("/keys", b'{"keys": 5}'),
        ("/keys", b'{"keys": [5, null, {"kty": "RSA"}, {"kty": ["RSA"], "alg": {}}]}'),
        ("/keys", b" " * (600 << 10)),
    ],
)
async def test_rubbish_of_an_issuer_is_told_as_such(issuer: PlayedIssuer, path: str, body: bytes) -> None:
    issuer.bodies[path] = body
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (503, "IssuerUnfit")


async def test_no_redirect_is_followed(issuer: PlayedIssuer) -> None:
    issuer.redirects["/keys"] = f"{issuer.url}/other-keys"
    async with signing_in(issuer) as api:
        answer = await shown(api, issuer.token())
        assert told(answer) == (503, "IssuerUnfit")
        assert "leads elsewhere" in answer.json["Message"]
    assert not issuer.asked["/other-keys"]


async def test_a_discovery_document_of_another_issuer_is_not_taken(issuer: PlayedIssuer) -> None:
    issuer.discovered["issuer"] = "https://login.example.com"
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (503, "IssuerUnfit")
    assert not issuer.asked["/keys"]


async def test_a_discovery_document_leads_to_plain_text_nowhere(issuer: PlayedIssuer) -> None:
    issuer.discovered["jwks_uri"] = "http://login.example.com/keys"
    async with signing_in(issuer) as api:
        answer = await shown(api, issuer.token())
        assert told(answer) == (503, "IssuerUnfit")
        assert "has to begin with https://" in answer.json["Message"]


@pytest.mark.parametrize("host", ["a" * 70 + ".example.com", "tarpon.invalid", "[::1]:1"])
async def test_keys_that_are_nowhere_end_nothing(issuer: PlayedIssuer, host: str) -> None:
    issuer.discovered["jwks_uri"] = f"https://{host}/keys"
    async with signing_in(issuer) as api:
        assert await code(api, issuer.token()) == (503, "IssuerAway")
        assert (await api.ask("/livez")).status == 200


async def test_what_checks_signatures_is_missed_at_the_start(
    issuer: PlayedIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ExtraMissing, match="Sign-in"):
        async with signing_in(issuer):
            pass


async def test_clients_of_the_reference_are_told_where_people_sign_in(issuer: PlayedIssuer, api: FedApi) -> None:
    assert (await api.ask(AUTH_CONFIG)).json == {
        "Version": "1.0.0",
        "Config": {
            "ProviderID": issuer.url,
            "ProviderName": issuer.url,
            "DeviceAuthorizationEndpoint": f"{issuer.url}/device",
            "TokenEndpoint": f"{issuer.url}/token",
            "Issuer": issuer.url,
            "JWKSUri": f"{issuer.url}/keys",
            "DeviceClientID": CLIENT,
            "PollingInterval": 5,
            "Audience": AUDIENCE,
            "Scopes": ["openid", "profile", "email"],
        },
    }


# ---- streams, and the log -------------------------------------------------------------------------------------------


async def test_the_events_of_a_token_end_when_it_expires(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer, leeway=0.0) as api, aiohttp.ClientSession() as http:
        url = api.url(f"{JOBS}/j-0001/events")
        for seconds in (2, 10, 50):  # a slow machine may be too late for a short one
            now = time.time()
            headers = {"Authorization": f"Bearer {issuer.token(iat=now - 60, exp=now + seconds)}"}
            async with http.get(url, headers=headers) as stream:
                if stream.status == 200:
                    with pytest.raises(aiohttp.ClientPayloadError):
                        await stream.content.read()
                    return
        pytest.fail("no stream has begun")


async def test_a_sign_in_is_audited_once_and_what_its_person_does_by_the_stable_name(
    issuer: PlayedIssuer, tmp_path: Path
) -> None:
    token, later = issuer.token(), issuer.token(exp=int(time.time()) + 900)
    async with signing_in(issuer, audit_folder=tmp_path) as api:
        for each in (token, token, token, later):
            await code(api, each)
        await code(api, token, method="PUT", body={"Job": {}})
        await code(api, issuer.token(aud="another"))
        await code(api, issuer.token(groups=[]))
    name, lines = f"{issuer.url}|{ADA['sub']}", lines_in(tmp_path / "audit.jsonl")
    assert [(each.kind, each.who, each.detail) for each in lines if each.action == "sign-in"] == 2 * [
        ("person", name, "ada")
    ]
    refused = [(each.kind, each.who, each.code) for each in lines if each.outcome == "refused"]
    assert refused == [
        ("person", name, "CapabilityMissing"),
        ("stranger", "", "TokenAudienceWrong"),
        ("person", name, "NoRuleMatches"),
    ]
    told = (tmp_path / "audit.jsonl").read_text()
    assert not any(part in told for part in (token.split(".")[1], later.split(".")[2]))


async def test_no_token_is_logged(issuer: PlayedIssuer, api: FedApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = [issuer.token(), issuer.token(aud="another"), issuer.token(groups=[]), issuer.token(IssuersKey())]
    for token in tokens:
        await code(api, token)
    assert caplog.text
    for token in tokens:
        assert not any(part in caplog.text for part in token.split(".")[1:])
