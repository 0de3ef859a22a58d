"""Sign-in of the user's side: the device flow, where the token goes, and how long it lasts."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import tarpon
from shared.errors import RemoteError
from shared.protocol.rest_nodes import Oauth2View
from tarpon.errors import (
    IssuerUnreachable,
    SignInDenied,
    SignInFailed,
    SignInNotOffered,
    SignInOver,
    SignInsOpenToOthers,
    SignInsUnreadable,
    SignInTimedOut,
    TokenNotSent,
)
from tarpon.http.calls import Calls
from tarpon.http.sign_in import issuer_calls
from tarpon.http.sign_in.issuer_calls import DeviceCode
from tarpon.http.sign_in.kept import KeptSignIn, KeptSignIns, authority_of
from tarpon.http.sign_in.login import log_in
from tarpon.http.sign_in.signed_in import signed_in
from tarpon.http.trust import ClientTrust
from tests.certificates import make_certificate
from tests.integration.fed_api import FedApi
from tests.integration.orchestrator.admission.test_sign_in import known_keys, signing_in
from tests.played_issuer import CLIENT, PlayedIssuer
from tests.servers import HOST
from tests.waiting import eventually

PLAIN = "TARPON_API_TLS_PLAINTEXT"


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedIssuer]:
    """On loopback, where these tests let tokens go in plain text."""
    for name in ("TARPON_API_KEY", "TARPON_API_HOST", "TARPON_API_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(PLAIN, "true")
    monkeypatch.setattr(issuer_calls, "SLOWER_SECONDS", 0.1)
    with PlayedIssuer().running() as played:
        played.interval = 0.05
        yield played


@pytest.fixture
async def api(issuer: PlayedIssuer) -> AsyncIterator[FedApi]:
    async with signing_in(issuer) as fed:
        await eventually(lambda: known_keys(fed), within=20, what="the issuer has answered")
        yield fed


def url_of(api: FedApi) -> str:
    return api.url("")


async def sign_in(api: FedApi, folder: Path, trust: ClientTrust | None = None) -> tuple[KeptSignIn, list[DeviceCode]]:
    shown: list[DeviceCode] = []

    def show(code: DeviceCode, _: Oauth2View) -> None:
        shown.append(code)

    kept = await log_in((url_of(api),), trust or ClientTrust(), KeptSignIns(folder), show=show)
    return kept, shown


def client(api: FedApi, folder: Path) -> tarpon.Client:
    return tarpon.Client(HOST, api.port, sign_ins=folder)


def expire(folder: Path) -> None:
    """As if the token were over."""
    path = folder / "sign-ins.json"
    written = json.loads(path.read_bytes())
    written["sign_ins"][0]["expires"] = time.time() - 1
    path.write_bytes(json.dumps(written).encode())


# ---- the device flow ------------------------------------------------------------------------------------------------


async def test_who_has_signed_in_asks_as_that_one(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    async with client(api, tmp_path) as stranger:
        with pytest.raises(RemoteError) as refused:
            await stranger.get("job-1")
        assert refused.value.remote_code == "KeyMissing"
    issuer.first_answers = ["authorization_pending", "slow_down", "authorization_pending"]
    kept, shown = await sign_in(api, tmp_path)
    assert (shown[0].user_code, shown[0].url) == ("WDJB-MJHT", f"{issuer.url}/activate")
    assert issuer.asked["/token"] == 4
    assert issuer.forms[0] == {"client_id": CLIENT, "scope": "openid profile email", "audience": "tarpon-api"}
    async with client(api, tmp_path) as ada:
        assert (await ada.get("job-1")).name == "job-1"
    path = tmp_path / "sign-ins.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(kept.token in text for text in (repr(kept), repr(shown), repr(KeptSignIns(tmp_path))))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("access_denied", SignInDenied), ("expired_token", SignInTimedOut), ("invalid_client", SignInFailed)],
)
async def test_a_sign_in_that_comes_to_nothing_says_why(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path, answer: str, expected: type[Exception]
) -> None:
    issuer.first_answers = [answer]
    with pytest.raises(expected):
        await sign_in(api, tmp_path)
    assert not (tmp_path / "sign-ins.json").exists()


async def test_nobody_is_waited_for_after_the_code_has_expired(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    issuer.approves, issuer.code_lasts = False, 0.3
    with pytest.raises(SignInTimedOut):
        await sign_in(api, tmp_path)


async def test_an_issuer_that_answers_rubbish_signs_nobody_in(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    for body in (b"<html>", b"[]", b'{"device_code": 5}', b" " * (300 << 10)):
        issuer.bodies["/device"] = body
        with pytest.raises((SignInFailed, IssuerUnreachable)):
            await sign_in(api, tmp_path)
    issuer.bodies.clear()
    issuer.bodies["/token"] = b'{"access_token": "of-no-form", "id_token": 5}'
    with pytest.raises(SignInFailed, match="no token for the audience"):
        await sign_in(api, tmp_path)


async def test_no_link_is_shown_that_is_none(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    for link in ("javascript:alert(1)", "http://login.example.com", "https://a\x1b[31m.example.com"):
        told: dict[str, Any] = {"device_code": "d", "user_code": "u", "verification_uri": link, "expires_in": 60}
        issuer.bodies["/device"] = json.dumps(told).encode()
        with pytest.raises(SignInFailed, match="no link that can be shown"):
            await sign_in(api, tmp_path)


async def test_what_is_secret_is_led_nowhere_else(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    issuer.redirects["/device"] = f"{issuer.url}/elsewhere"
    with pytest.raises(SignInFailed):
        await sign_in(api, tmp_path)
    assert not issuer.asked["/elsewhere"]


async def test_who_is_let_in_nowhere_is_told_so_at_once(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    issuer.person["groups"] = ["others"]
    with pytest.raises(RemoteError) as refused:
        await sign_in(api, tmp_path)
    assert refused.value.remote_code == "NoRuleMatches"
    assert not (tmp_path / "sign-ins.json").exists()


async def test_where_nobody_signs_in_that_is_told(issuer: PlayedIssuer, tmp_path: Path) -> None:
    async with FedApi().serving() as api:
        with pytest.raises(SignInNotOffered, match="no identity provider"):
            await sign_in(api, tmp_path)
    with pytest.raises(SignInNotOffered, match="needs no sign-in"):
        await log_in(("unix:///x",), ClientTrust(), KeptSignIns(tmp_path), show=lambda *_: None)


# ---- where the token goes -------------------------------------------------------------------------------------------


async def test_a_token_is_shown_at_the_address_alone_for_which_it_is_kept(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    kept, _ = await sign_in(api, tmp_path)
    async with signing_in(issuer) as other, client(other, tmp_path) as elsewhere:
        with pytest.raises(RemoteError) as refused:
            await elsewhere.get("job-1")
        assert refused.value.remote_code == "KeyMissing"
    assert kept.addresses == (url_of(api).lower(),)


async def test_a_token_is_shown_to_no_other_authority(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = (ClientTrust(ca_file=str(make_certificate(tmp_path / name).certificate)) for name in ("one", "two"))
    url = "https://tarpon.example.com:1234"
    kept = KeptSignIn(
        addresses=(url,),
        authority=authority_of(one),
        issuer="https://login.example.com",
        client_id=CLIENT,
        audience="a",
        token_endpoint="https://login.example.com/token",
        token="t.t.t",
        expires=time.time() + 300,
    )
    KeptSignIns(tmp_path).put(kept)
    found = signed_in(tmp_path, (url,), one, plain_text=False)
    assert found is not None
    assert found.shown(url, is_known=True) == {"Authorization": "Bearer t.t.t"}
    assert found.shown("https://other.example.com", is_known=True) == {}
    assert signed_in(tmp_path, (url,), two, plain_text=False) is None
    assert signed_in(tmp_path, (url,), ClientTrust(), plain_text=False) is None
    assert signed_in(tmp_path, (url, "https://other.example.com"), one, plain_text=False) is None
    with pytest.raises(TokenNotSent):
        found.shown(url, is_known=False)


def test_a_token_for_another_authority_is_not_gone_on_with(tmp_path: Path) -> None:
    store = KeptSignIns(tmp_path)
    old = KeptSignIn(
        addresses=("https://tarpon.example.com:1234",),
        authority="one",
        issuer="https://login.example.com",
        client_id=CLIENT,
        audience="a",
        token_endpoint="https://login.example.com/token",
        token="old",
        expires=0.0,
    )
    other = replace(old, authority="two", token="other")
    store.put(other)
    refreshed = replace(old, token="new")
    assert store.replace(old, lambda: refreshed) == refreshed
    assert store._read() == (other,)


async def test_no_token_goes_to_who_may_be_a_stranger(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, _ = await sign_in(api, tmp_path)
    monkeypatch.delenv(PLAIN)
    async with client(api, tmp_path) as ada:
        with pytest.raises(TokenNotSent) as told:
            await ada.get("job-1")
    assert kept.token not in str(told.value)
    with pytest.raises(TokenNotSent):
        await sign_in(api, tmp_path)


async def test_a_key_goes_before_a_sign_in(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    await sign_in(api, tmp_path)
    async with tarpon.Client(HOST, api.port, api_key="k" * 30, sign_ins=tmp_path) as keyed:
        with pytest.raises(tarpon.errors.KeyNotKnownThere):
            await keyed.get("job-1")


async def test_a_file_that_others_can_read_is_not_used(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    await sign_in(api, tmp_path)
    path = tmp_path / "sign-ins.json"
    path.chmod(0o640)
    with pytest.raises(SignInsOpenToOthers):
        async with client(api, tmp_path):
            pass
    path.chmod(0o600)
    path.write_bytes(b"{")
    with pytest.raises(SignInsUnreadable):
        async with client(api, tmp_path):
            pass


# ---- how long it lasts ----------------------------------------------------------------------------------------------


async def test_a_token_is_refreshed_before_it_is_over(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    kept, _ = await sign_in(api, tmp_path)
    expire(tmp_path)
    async with client(api, tmp_path) as ada:
        await ada.get("job-1")
        await ada.get("job-1")
    grants = [form["grant_type"] for form in issuer.forms if "grant_type" in form]
    assert grants.count("refresh_token") == 1
    (now,) = KeptSignIns(tmp_path)._read()
    assert now.token != kept.token
    assert now.refresh_token in issuer.refresh_tokens
    assert (tmp_path / "sign-ins.json").stat().st_mode & 0o777 == 0o600


async def test_several_programs_use_a_refresh_token_once(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    """An issuer takes one that comes twice for stolen."""
    await sign_in(api, tmp_path)
    expire(tmp_path)
    async with client(api, tmp_path) as one, client(api, tmp_path) as other:
        await one.get("job-1")
        await other.get("job-1")
    grants = [form["grant_type"] for form in issuer.forms if "grant_type" in form]
    assert grants.count("refresh_token") == 1


async def test_a_sign_in_that_the_issuer_has_ended_is_over(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    await sign_in(api, tmp_path)
    expire(tmp_path)
    issuer.refresh_tokens.clear()
    async with client(api, tmp_path) as ada:
        with pytest.raises(SignInOver):
            await ada.get("job-1")


async def test_a_token_that_is_valid_is_used_while_the_issuer_is_away(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    await sign_in(api, tmp_path)
    path = tmp_path / "sign-ins.json"
    written = json.loads(path.read_bytes())
    written["sign_ins"][0]["expires"] = time.time() + 20
    path.write_bytes(json.dumps(written).encode())
    issuer.stop()
    async with client(api, tmp_path) as ada:
        await ada.get("job-1")
    expire(tmp_path)
    async with client(api, tmp_path) as ada:
        with pytest.raises(IssuerUnreachable):
            await ada.get("job-1")


async def test_an_issuer_that_is_asked_too_often_has_not_ended_a_sign_in(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    await sign_in(api, tmp_path)
    expire(tmp_path)
    issuer.statuses["/token"] = 429
    async with client(api, tmp_path) as ada:
        with pytest.raises(IssuerUnreachable):
            await ada.get("job-1")


async def test_what_is_told_to_anybody_is_told_to_who_has_to_sign_in_again(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    await sign_in(api, tmp_path)
    expire(tmp_path)
    issuer.refresh_tokens.clear()
    async with client(api, tmp_path) as ada:
        assert (await ada.version()).git_version


async def test_where_nothing_can_be_kept_nobody_is_signed_in_and_that_is_told(
    issuer: PlayedIssuer, api: FedApi, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with client(api, tmp_path / "file" / "data") as nobody:
        with pytest.raises(RemoteError):
            await nobody.get("job-1")
    with pytest.raises(SignInsUnreadable, match="cannot be used"):
        await sign_in(api, tmp_path / "file" / "data")


async def test_a_sign_out_forgets_what_was_kept(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    await sign_in(api, tmp_path)
    store = KeptSignIns(tmp_path)
    assert store.drop((url_of(api),)) is not None
    assert store.drop((url_of(api),)) is None
    async with client(api, tmp_path) as nobody:
        with pytest.raises(RemoteError):
            await nobody.get("job-1")


async def test_a_bare_connection_knows_no_sign_in(issuer: PlayedIssuer, api: FedApi, tmp_path: Path) -> None:
    await sign_in(api, tmp_path)
    async with Calls((url_of(api),), timeout=10) as calls:
        assert calls.asking(url_of(api), "GET", "/x").headers == {}
