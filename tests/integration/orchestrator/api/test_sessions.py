"""Sessions of the page: somebody is known by a cookie, as by a key, and by nothing that another page could use."""

import asyncio
import time
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

import aiohttp
import pytest
from yarl import URL

from orchestrator.admission.identities import Identities
from orchestrator.admission.sessions.sessions import KnownBy, Sessions
from orchestrator.rules.records import SpentRecord
from shared.settings.api_users import ApiUsers
from shared.settings.config import ApiAuth, ApiSettings, Config
from shared.settings.secret import Secret
from tests.api_keys import Keyed, keyed
from tests.audit_logs import lines_in
from tests.integration.fed_api import JOBS, FedApi
from tests.integration.orchestrator.api.test_identity import CONFIGURED
from tests.integration.running import Answer
from tests.servers import HOST
from tests.waiting import eventually

SESSION, LINK = "/api/v1/auth/session", "/api/v1/auth/link"
CSRF = "X-Tarpon-CSRF-Token"
ASKS = Config(
    api=ApiSettings(auth=ApiAuth(users=ApiUsers.read("API.Auth.Users", CONFIGURED)), trusted_proxies=("127.0.0.1",))
)


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    async with FedApi(ASKS).serving() as fed:
        fed.job(1)
        yield fed


class Cookie(NamedTuple):
    name: str
    text: str
    token: str
    """That of CSRF."""

    @property
    def shown(self) -> dict[str, str]:
        return {"Cookie": f"{self.name}={self.text}"}

    @property
    def changes(self) -> dict[str, str]:
        return {**self.shown, CSRF: self.token}


def known(api: FedApi, *capabilities: str, **more: Any) -> Keyed:
    user = keyed("maria", *capabilities, **more)
    api.feed(user.record.key, user.record)
    return user


def cookie_in(answer: Answer) -> Cookie:
    ((name, morsel),) = SimpleCookie(answer.headers["Set-Cookie"]).items()
    return Cookie(name, morsel.value, answer.json["CSRFToken"])


async def signed_in(api: FedApi, user: Keyed) -> Cookie:
    answer = await api.ask(SESSION, "POST", {"Key": user.key.text()})
    assert answer.status == 200, answer.body
    return cookie_in(answer)


def code(answer: Answer) -> str:
    """With a sentence and a hint, as every error has."""
    assert answer.json["Message"]
    assert answer.json["Hint"]
    return str(answer.json["Details"].get("TarponCode", answer.json["Code"]))


def sessions_of(api: FedApi, *, ago: float) -> Sessions:
    """Those of another orchestrator of the set, whose clock is behind."""
    identities = Identities(api.model.users, ASKS.api.auth)
    return Sessions(Secret("of-the-tests"), api.model, api.store, identities, None, clock=lambda: time.time() - ago)


async def test_who_signs_in_with_a_key_is_known_by_a_cookie_that_does_not_hold_it(api: FedApi) -> None:
    user = known(api, "read:job")
    answer = await api.ask(SESSION, "POST", {"Key": user.key.text()})
    morsel = SimpleCookie(answer.headers["Set-Cookie"])[f"tarpon-session-{api.port}"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (True, "Strict", "/", "")
    assert 0 < int(morsel["max-age"]) <= 12 * 3600
    assert user.key.credential not in morsel.value
    cookie = cookie_in(answer)
    assert (await api.ask(JOBS, headers=cookie.shown)).status == 200
    told = (await api.ask(SESSION, headers=cookie.shown)).json
    assert (told["SignedIn"], told["Name"], told["Capabilities"]) == (True, "maria", ["read:job"])
    assert told["CSRFToken"] == cookie.token
    assert code(await api.ask("/api/v1/agent/node", headers=cookie.shown)) == "CapabilityMissing"


async def test_who_is_not_signed_in_is_told_so_and_a_wrong_key_begins_nothing(api: FedApi) -> None:
    assert (await api.ask(SESSION)).json == {
        **(await api.ask(SESSION, headers={"Cookie": f"tarpon-session-{api.port}=junk"})).json,
        "SignedIn": False,
    }
    answer = await api.ask(SESSION, "POST", {"Key": keyed("other", "*").key.text()})
    assert (answer.status, code(answer)) == (401, "KeyWrong")
    assert "Set-Cookie" not in answer.headers
    assert code(await api.ask(SESSION, "POST", {"Key": " "})) == "InvalidInput"


async def test_a_password_signs_in_and_is_not_in_the_cookie(api: FedApi) -> None:
    answer = await api.ask(SESSION, "POST", {"User": "snoopy", "Key": "doghouse-1950"})
    assert answer.json["Name"] == "Snoopy"
    assert (await api.ask(f"{JOBS}?namespace=a", headers=cookie_in(answer).shown)).status == 200
    assert code(await api.ask(SESSION, "POST", {"User": "snoopy", "Key": "doghouse-1951"})) == "KeyWrong"


async def test_a_change_by_a_cookie_takes_the_token_of_the_session(api: FedApi) -> None:
    user = known(api, "*")
    cookie, other = await signed_in(api, user), await signed_in(api, user)
    for token in ({}, {CSRF: ""}, {CSRF: other.token}):
        refused = await api.ask(JOBS, "PUT", {}, headers={**cookie.shown, **token})
        assert (refused.status, code(refused)) == (403, "CSRFTokenWrong")
    assert code(await api.ask(SESSION, "DELETE", headers=cookie.shown)) == "CSRFTokenWrong"
    assert (await api.ask(JOBS, "PUT", {}, headers=cookie.changes)).status == 400, "it is looked at"
    assert (await api.ask(JOBS, "PUT", {}, headers=user.bearer)).status == 400, "a program needs none"


async def test_a_cookie_that_was_changed_or_made_for_something_else_is_none(api: FedApi) -> None:
    user = known(api, "*")
    cookie = await signed_in(api, user)
    link = (await api.ask(LINK, "POST", headers=user.bearer)).json["Link"]
    flipped = cookie.text[:-2] + ("A" if cookie.text[-2] != "A" else "B") + cookie.text[-1]
    for text in (flipped, cookie.text[:-4], link, "a.b", "A" * 5000):
        refused = await api.ask(JOBS, headers={"Cookie": f"{cookie.name}={text}"})
        assert (refused.status, code(refused)) == (401, "SessionInvalid")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]"])
async def test_a_cookie_of_another_host_or_port_is_not_taken(api: FedApi, host: str) -> None:
    cookie = await signed_in(api, known(api, "*"))
    name = f"tarpon-session-{URL(f'http://{host}').port}"
    refused = await api.ask(JOBS, headers={"Cookie": f"{name}={cookie.text}", "Host": host})
    assert (refused.status, code(refused)) == (401, "SessionOfOtherHost")
    assert code(await api.ask(JOBS, headers={**cookie.shown, "Host": host})) in {"KeyMissing", "SessionOfOtherHost"}


async def test_a_session_ends_with_its_hours_and_with_its_key(api: FedApi) -> None:
    user = known(api, "*", expires=time.time_ns() + 3600 * 10**9)
    told = (await api.ask(SESSION, "POST", {"Key": user.key.text()})).json
    assert told["Expires"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3601))
    name = f"tarpon-session-{api.port}"
    _, old = sessions_of(api, ago=13 * 3600).begin(KnownBy("key", user.key.id), f"{HOST}:{api.port}")
    refused = await api.ask(JOBS, headers={"Cookie": f"{name}={old}"})
    assert (refused.status, code(refused)) == (401, "SessionExpired")


async def test_what_ends_a_key_ends_its_sessions(api: FedApi) -> None:
    cookie = await signed_in(api, known(api, "*"))
    known(api, "*")  # another key of the same name
    assert code(await api.ask(JOBS, headers=cookie.shown)) == "KeyWrong"
    user = keyed("carla", "*")
    api.feed(user.record.key, user.record)
    cookie = await signed_in(api, user)
    revoked = keyed("carla", "*", revoked=1)
    api.feed(user.record.key, type(user.record)(**{**_fields(user), "revoked": revoked.record.revoked}))
    assert code(await api.ask(JOBS, headers=cookie.shown)) == "KeyRevoked"
    assert not (await api.ask(SESSION, headers=cookie.shown)).json["SignedIn"]


def _fields(user: Keyed) -> dict[str, Any]:
    return {name: getattr(user.record, name) for name in user.record.__struct_fields__}


async def test_signing_out_anywhere_ends_the_session_and_what_is_open_by_it(api: FedApi) -> None:
    cookie = await signed_in(api, known(api, "read:job"))
    session = sessions_of(api, ago=0).read(cookie.text, f"{HOST}:{api.port}")
    url = api.url(f"{JOBS}/j-0001/events")
    async with aiohttp.ClientSession() as http, http.get(url, headers=cookie.shown) as events:
        await events.content.readline()
        spent = SpentRecord(id=session.id, expires=int(session.expires * 1e9))
        api.feed(spent.key, spent)  # as another orchestrator has stored it
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(10):
                await events.content.read()
    refused = await api.ask(JOBS, headers=cookie.shown)
    assert (refused.status, code(refused)) == (401, "SessionEnded")


async def test_a_websocket_takes_the_cookie_from_its_own_page_alone(api: FedApi) -> None:
    cookie = await signed_in(api, known(api, "read:job"))
    url = api.url(f"{JOBS}/j-0001/logs")
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(url, headers={**cookie.shown, "Origin": api.url("")}) as logs:
            assert (await logs.receive()).type is aiohttp.WSMsgType.TEXT
        for headers, status in (({**cookie.shown, "Origin": "http://evil.example"}, 403), ({}, 401)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(url, headers=headers)
            assert refused.value.status == status


async def test_no_page_of_another_site_signs_anybody_in(api: FedApi) -> None:
    """Nor does one that has led its name to this machine (DNS rebinding)."""
    body = {"Key": known(api, "*").key.text()}
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
        refused = await api.ask(SESSION, "POST", body, headers=headers)
        assert (refused.status, code(refused)) == (403, "Refused")
        assert "Set-Cookie" not in refused.headers


@pytest.mark.parametrize("told", [{"X-Forwarded-Proto": "https"}, {"Forwarded": 'for=192.0.2.1;proto="https"'}])
async def test_behind_a_proxy_with_https_the_cookie_is_sent_over_nothing_else(
    api: FedApi, told: dict[str, str]
) -> None:
    user = known(api, "*")
    headers = {**told, "Host": "localhost"}
    answer = await api.ask(SESSION, "POST", {"Key": user.key.text()}, headers=headers)
    assert SimpleCookie(answer.headers["Set-Cookie"])["tarpon-session-443"]["secure"]
    assert (await api.ask(JOBS, headers={**headers, **cookie_in(answer).shown})).status == 200


async def test_where_everybody_is_let_in_nobody_needs_a_session() -> None:
    async with FedApi().serving() as fed:
        fed.job(1)
        junk = {"Cookie": f"tarpon-session-{fed.port}=junk"}
        assert (await fed.ask(JOBS, headers=junk)).status == 200
        told = (await fed.ask(SESSION, headers=junk)).json
        assert (told["SignedIn"], told["Anonymous"]) == (False, True)
        answer = await fed.ask(SESSION, "POST", {"Key": "nonsense"})
        assert (answer.json["Anonymous"], "Set-Cookie" in answer.headers) == (True, False)


async def test_a_script_of_the_page_is_asked_for_no_password_by_the_browser(api: FedApi) -> None:
    for headers in ({CSRF: ""}, {"Sec-Fetch-Mode": "cors"}):
        assert "Basic" not in (await api.ask(JOBS, headers=headers)).headers["WWW-Authenticate"]
    assert "Basic" in (await api.ask(JOBS)).headers["WWW-Authenticate"]


async def test_a_link_is_of_who_has_asked_and_is_nothing_that_was_changed_or_is_old(api: FedApi) -> None:
    user = known(api, "read:job")
    assert code(await api.ask(LINK, "POST")) == "KeyMissing"
    made = (await api.ask(LINK, "POST", headers=user.bearer)).json
    assert made["Expires"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 121))
    cookie = await signed_in(api, user)
    assert (await api.ask(LINK, "POST", headers=cookie.changes)).status == 200
    for link in (made["Link"][:-3], cookie.text, "x"):
        assert code(await api.ask(SESSION, "POST", {"Link": link})) == "LinkInvalid"
    old, _ = sessions_of(api, ago=121).link(KnownBy("key", user.key.id))
    refused = await api.ask(SESSION, "POST", {"Link": old})
    assert (refused.status, code(refused)) == (401, "LinkExpired")


async def test_a_sign_in_is_in_the_audit_log_and_nothing_that_was_shown(tmp_path: Any) -> None:
    async with FedApi(ASKS, audit_folder=tmp_path).serving() as fed:
        user = known(fed, "read:job")
        await signed_in(fed, user)
        await fed.ask(SESSION, "POST", {"Key": "0123456789abcdefghij-wrong"})
        path = tmp_path / "audit.jsonl"
        await eventually(lambda: len([each for each in lines_in(path) if each.action == "sign-in"]) == 2)
        done, refused = (each for each in lines_in(path) if each.action == "sign-in")
        assert (done.who, done.operation, done.outcome) == ("maria", "begin_session", "done")
        assert (refused.outcome, refused.code) == ("refused", "KeyWrong")
        assert "abcdefghij" not in path.read_text()
