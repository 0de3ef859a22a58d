"""Who asks at the HTTP API: by which key somebody is known, and what that one may do."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from string import ascii_letters, digits
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from orchestrator.api.bodies import READ_SECONDS
from shared.errors import ConfigurationInvalid
from shared.protocol.capabilities import ANY_KEY
from shared.protocol.pasted import ApiKey
from shared.protocol.request_signature import PROOF, Signer, key_id_of, proof_of, read_signed
from shared.settings.api_users import ApiUsers
from shared.settings.config import ApiAuth, ApiSettings, Config
from tests.api_keys import Keyed, basic, keyed
from tests.integration.fed_api import JOBS, NODES, FedApi
from tests.waiting import eventually

USERS = "/api/v1/orchestrator/users"
OPEN = (
    "/api/v1/agent/alive",
    "/api/v1/agent/version",
    "/api/v1/agent/authconfig",
    "/api/v1/auth",
    "/livez",
    "/readyz",
    "/api/v1/openapi.json",
)
CONFIGURED = [
    {"Alias": "ci", "APIKey": "0123456789abcdefghij", "Capabilities": [{"Actions": ["read:job"]}]},
    {"Username": "Snoopy", "Password": "doghouse-1950", "Capabilities": [{"Actions": ["read:*"]}], "Namespaces": ["a"]},
]
ASKS = Config(api=ApiSettings(auth=ApiAuth(anonymous=False, users=ApiUsers.read("API.Auth.Users", CONFIGURED))))


@pytest.fixture
async def api() -> AsyncIterator[FedApi]:
    async with FedApi(ASKS).serving() as fed:
        fed.job(1)
        fed.job(2, namespace="a")
        yield fed


def known(api: FedApi, *capabilities: str, **more: Any) -> Keyed:
    user = keyed("maria", *capabilities, **more)
    api.feed(user.record.key, user.record)
    return user


def filled(path: str) -> str:
    """A route's path, about what is not there."""
    return re.sub(r"\{\w+\}", "none", path)


async def code(api: FedApi, path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
    """The status, and the code as Tarpon's own programs are told it."""
    answer = await api.ask(path, method, **more)
    return answer.status, "" if answer.status < 400 else answer.json["Details"].get("TarponCode", answer.json["Code"])


async def test_who_shows_no_key_is_let_in_nowhere_but_where_all_are(api: FedApi) -> None:
    assert {path: (await api.ask(path)).status for path in OPEN} == dict.fromkeys(OPEN, 200)
    for route in api.api.routes:
        if route.path not in {*OPEN, "/", "/version", "/api/v1/livez"} and "auth" not in route.path:
            assert await code(api, filled(route.path), route.method) == (401, "KeyMissing"), route


async def test_an_answer_to_who_shows_no_key_says_how_to_get_one(api: FedApi) -> None:
    answer = await api.ask(JOBS)
    assert answer.json["Code"] == "Unauthorized"
    assert "Request Unauthorized" in answer.json["Message"]
    assert "TARPON_API_KEY" in answer.json["Hint"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_is_taken_as_a_whole_and_as_what_is_sent_of_it_and_as_a_password(api: FedApi) -> None:
    user = known(api, "read:job")
    sent = {"Authorization": f"Bearer {user.key.credential}"}
    for headers in (user.bearer, user.basic, sent, basic("maria", str(user.key.credential))):
        assert await code(api, JOBS, headers=headers) == (200, "")


async def test_a_key_that_is_not_right_is_told_nothing(api: FedApi) -> None:
    user, other = known(api, "*"), keyed("maria", "*")
    forged = ApiKey(id=user.key.id, secret=other.key.secret)
    shown = {f"Bearer {each}" for each in (other.key.text(), forged.text(), "nonsense", "", "x.y", "\u00fc")}
    for header in shown | {"Basic !", "Negotiate abc", "Tarpon a.b.c", basic("maria", "x")["Authorization"]}:
        assert await code(api, JOBS, headers={"Authorization": header}) == (401, "KeyWrong"), header


@pytest.mark.parametrize("shown", [b"Bearer \xff\xfe", b"Basic \xc3\xbc", b"Basic \xff", b"Tarpon a.1.b.\xff", b"\xff"])
async def test_a_key_that_is_no_text_is_not_taken(api: FedApi, shown: bytes, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n\r\n" % (JOBS.encode(), shown))
    async with asyncio.timeout(READ_SECONDS):
        assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, 20), slice(1, None)])
async def test_a_key_that_is_mistyped_or_cut_off_is_not_taken(api: FedApi, cut: slice) -> None:
    text = known(api, "*").key.text()[cut]
    assert await code(api, JOBS, headers={"Authorization": f"Bearer {text}"}) == (401, "KeyWrong")


async def test_who_has_the_right_key_is_told_that_it_was_revoked_or_has_expired(api: FedApi) -> None:
    revoked = known(api, "*", revoked=1)
    assert await code(api, JOBS, headers=revoked.bearer) == (401, "KeyRevoked")
    expired = keyed("late", "*", expires=time.time_ns() - 1)
    api.feed(expired.record.key, expired.record)
    assert await code(api, JOBS, headers=expired.bearer) == (401, "KeyExpired")


async def test_a_key_without_the_capability_is_told_which_one_it_takes(api: FedApi) -> None:
    user = known(api, "read:job")
    answer = await api.ask(f"{JOBS}/j-0001", "DELETE", headers=user.bearer)
    assert (answer.status, answer.json["Code"]) == (403, "Forbidden")
    assert answer.json["Details"]["TarponCode"] == "CapabilityMissing"
    assert "Request Forbidden: it takes 'write:job', and 'maria'" in answer.json["Message"]


MAY = {
    "read:job": {"read:job"},
    "write:job": {"write:job"},
    "read:*": {"read:job", "read:node", "read:agent", "read:data"},
    "write:*": {"write:job", "write:node", "write:agent", "write:data"},
    "*": {f"{kind}:{what}" for kind in ("read", "write") for what in ("job", "node", "agent", "data")} | {"*"},
}


@pytest.mark.parametrize("capability", MAY)
async def test_a_capability_opens_what_it_names_on_every_route_and_nothing_else(api: FedApi, capability: str) -> None:
    user = known(api, capability)
    for route in (each for each in api.api.routes if each.needs and not each.streams):
        status, _ = await code(api, filled(route.path), route.method, headers=user.bearer, body={"Name": ""})
        assert (status == 403) is (route.needs not in {ANY_KEY, *MAY[capability]}), route


async def test_users_of_the_configuration_are_known_as_by_the_reference(api: FedApi) -> None:
    assert await code(api, JOBS, headers={"Authorization": "Bearer 0123456789abcdefghij"}) == (200, "")
    assert await code(api, NODES, headers={"Authorization": "Bearer 0123456789abcdefghij"}) == (
        403,
        "CapabilityMissing",
    )
    answer = await api.ask(f"{JOBS}?namespace=*", headers=basic("snoopy", "doghouse-1950"))
    assert [job["ID"] for job in answer.json["Items"]] == ["j-0002"]
    assert await code(api, JOBS, headers=basic("snoopy", "doghouse-1951")) == (401, "KeyWrong")


def test_users_of_the_configuration_show_no_secret() -> None:
    told = f"{ASKS!r} {ASKS.api.auth.users} {ASKS.api.auth.users.shown()}"
    assert "0123456789abcdefghij" not in told
    assert "doghouse" not in told


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ({"APIKey": "short", "Capabilities": [{"Actions": ["*"]}]}, "APIKey has to have 20 to 255 characters"),
        ({"Alias": "x", "Capabilities": [{"Actions": ["*"]}]}, "neither an APIKey nor a Username"),
        ({"APIKey": "k" * 20, "Capabilities": [{"Actions": ["read:jobs"]}]}, "'read:jobs' is not a capability"),
        ({"APIKey": "k" * 20}, "No capability is given"),
        ({"APIKey": "k" * 20, "Capabilities": [{"Actions": ["*"]}], "Namespaces": ["a.b"]}, "'a.b' cannot be the name"),
        ({"Username": "u", "Password": "$2a$10$abcdefgh", "Capabilities": [{"Actions": ["*"]}]}, "bcrypt"),
    ],
)
def test_a_user_of_the_configuration_that_makes_no_sense_is_refused(user: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=problem):
        ApiUsers.read("API.Auth.Users", [user])


def test_two_users_of_the_configuration_cannot_have_the_same_key() -> None:
    with pytest.raises(ConfigurationInvalid, match="another user has the same APIKey"):
        ApiUsers.read("API.Auth.Users", [CONFIGURED[0], {**CONFIGURED[0], "Alias": "other"}])


async def test_who_shows_a_key_may_have_been_led_here_by_the_name_of_the_machine(api: FedApi) -> None:
    """As `myhost` means 127.0.1.1 on many machines. A page that a browser shows knows no key."""
    user, led = known(api, "read:job"), {"Host": "myhost:1234"}
    for path in (JOBS, "/api/v1/agent/version"):
        assert await code(api, path, headers=user.bearer | led) == (200, "")
    assert await code(api, JOBS, headers=user.bearer | {"Origin": "http://evil.example"}) == (403, "Refused")
    assert await code(api, JOBS, headers=led) == (401, "KeyMissing")


# ---- signatures -----------------------------------------------------------------------------------------------------


def signed_for(user: Keyed, path: str, *, method: str = "GET", body: bytes = b"", now: float = 0.0) -> dict[str, str]:
    signed = Signer(user.key.secret).sign(user.key.id, method=method, target=path, body=body, now=now or time.time())
    return {"Authorization": signed.header}


async def test_a_signed_request_is_taken_and_its_answer_proves_that_the_key_is_known(api: FedApi) -> None:
    user = known(api, "read:job")
    headers = signed_for(user, f"{JOBS}?limit=1&namespace=%2A")
    answer = await api.ask(f"{JOBS}?limit=1&namespace=%2A", headers=headers)
    signed = read_signed(headers["Authorization"])
    assert answer.status == 200
    assert signed is not None
    assert answer.headers[PROOF] == proof_of(user.key.digest, signed)


async def test_a_signature_is_of_one_request_alone(api: FedApi) -> None:
    user = known(api, "*")
    for path, method, body in ((f"{JOBS}?limit=2", "GET", None), (JOBS, "PUT", None), (JOBS, "PUT", {"Job": {}})):
        headers = signed_for(user, f"{JOBS}?limit=1", method="GET")
        answer = await api.ask(path, method, body, headers=headers)
        assert (answer.status, answer.json["Details"]["TarponCode"]) == (401, "KeyWrong")
        assert PROOF not in answer.headers


async def test_a_signature_is_taken_once_and_not_of_another_time(api: FedApi) -> None:
    user = known(api, "read:job")
    headers = signed_for(user, JOBS)
    assert await code(api, JOBS, headers=headers) == (200, "")
    assert await code(api, JOBS, headers=headers) == (401, "KeyWrong")
    for now in (time.time() - 3600, time.time() + 3600):
        assert await code(api, JOBS, headers=signed_for(user, JOBS, now=now)) == (401, "KeyWrong")


async def test_a_signature_is_not_taken_again_in_other_letters(api: FedApi) -> None:
    """In base64 the last character of 64 bytes has four bits that mean nothing."""
    signed = signed_for(known(api, "read:job"), JOBS)["Authorization"]
    assert await code(api, JOBS, headers={"Authorization": signed}) == (200, "")
    spellings = [f"{signed[:-1]}{letter}" for letter in f"{ascii_letters}{digits}-_"]
    assert {await code(api, JOBS, headers={"Authorization": each}) for each in spellings} == {(401, "KeyWrong")}


async def test_a_signature_proves_the_answer_also_where_no_key_is_asked_for(api: FedApi) -> None:
    user = known(api, "read:job")
    for path in ("/api/v1/agent/version", "/api/v1/of-a-later-version"):
        headers = signed_for(user, path)
        signed = read_signed(headers["Authorization"])
        assert signed is not None
        assert (await api.ask(path, headers=headers)).headers[PROOF] == proof_of(user.key.digest, signed)
        assert PROOF not in (await api.ask(path, headers=signed_for(keyed("maria", "*"), path))).headers


async def test_nothing_is_read_of_a_body_that_no_known_key_has_signed(api: FedApi) -> None:
    headers = signed_for(keyed("maria", "*"), JOBS, method="PUT")
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    head = f"PUT {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {headers['Authorization']}\r\n"
    writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode())
    async with asyncio.timeout(READ_SECONDS / 2):  # the body never comes
        assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_a_body_is_signed_too(api: FedApi) -> None:
    user = known(api, "write:job")
    body = b'{"Job": {}}'
    headers = signed_for(user, f"{JOBS}/diff", method="PUT", body=body) | {"Content-Type": "application/json"}
    answer = await api.ask(f"{JOBS}/diff", "PUT", headers=headers, data=body)
    assert answer.status == 400  # it was let in, and is no job
    headers = signed_for(user, f"{JOBS}/diff", method="PUT", body=body) | {"Content-Type": "application/json"}
    assert (await api.ask(f"{JOBS}/diff", "PUT", headers=headers, data=b'{"Job": 1 }')).status == 401


async def test_the_answer_that_a_key_was_revoked_is_proven_too(api: FedApi) -> None:
    user = known(api, "*", revoked=1)
    answer = await api.ask(JOBS, headers=signed_for(user, JOBS))
    assert answer.json["Details"]["TarponCode"] == "KeyRevoked"
    assert PROOF in answer.headers


async def test_who_has_read_what_is_stored_of_a_key_cannot_sign_with_it(api: FedApi) -> None:
    user = known(api, "read:job")
    for stored in (user.record.digest, user.record.verify_key):
        for secret in (stored.encode(), bytes.fromhex(stored)):
            signed = Signer(secret).sign(user.key.id, method="GET", target=JOBS, body=b"", now=time.time())
            assert await code(api, JOBS, headers={"Authorization": signed.header}) == (401, "KeyWrong")


async def test_a_user_that_is_stored_without_a_key_for_signatures_is_known_by_its_secret_alone(api: FedApi) -> None:
    user = keyed("maria", "read:job")
    api.feed(user.record.key, replace(user.record, verify_key=""))
    assert await code(api, JOBS, headers=user.bearer) == (200, "")
    assert await code(api, JOBS, headers=signed_for(user, JOBS)) == (401, "KeyWrong")


async def test_a_key_of_the_configuration_signs_as_well(api: FedApi) -> None:
    key = "0123456789abcdefghij"
    signed = Signer(key.encode()).sign(key_id_of(key), method="GET", target=JOBS, body=b"", now=time.time())
    assert await code(api, JOBS, headers={"Authorization": signed.header}) == (200, "")


# ---- the log, and streams -------------------------------------------------------------------------------------------


async def test_refusals_are_logged_without_what_was_shown(api: FedApi, caplog: pytest.LogCaptureFixture) -> None:
    user = keyed("maria", "*")
    with caplog.at_level(logging.DEBUG):
        await api.ask(JOBS, headers=user.bearer)
    assert "GET /api/v1/orchestrator/jobs from 127.0.0.1" in caplog.text
    assert user.key.text() not in caplog.text
    assert str(user.key.credential) not in caplog.text


async def test_the_events_of_who_is_revoked_end_at_once_and_those_of_others_go_on(api: FedApi) -> None:
    user, other = known(api, "read:job"), keyed("other", "read:job")
    api.feed(other.record.key, other.record)
    url = api.url(f"{JOBS}/j-0001/events")
    async with aiohttp.ClientSession() as http, http.get(url, headers=other.bearer) as staying:
        await staying.content.readline()
        async with http.get(url, headers=user.bearer) as stream:
            await stream.content.readline()
            began = time.monotonic()
            revoked = keyed("maria", "read:job").record
            api.feed(revoked.key, revoked)  # another key took its place
            with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
                await stream.content.read()
            assert time.monotonic() - began < 2.0
        assert not staying.content.at_eof()


async def test_the_events_of_a_key_end_when_it_expires(api: FedApi) -> None:
    user = known(api, "read:job", expires=time.time_ns() + 300_000_000)
    url = api.url(f"{JOBS}/j-0001/events")
    async with aiohttp.ClientSession() as http, http.get(url, headers=user.bearer) as stream:
        assert stream.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            async with asyncio.timeout(10):
                await stream.content.read()
    await eventually(lambda: not api.model.users._held)


async def test_everybody_is_let_in_where_the_settings_say_so() -> None:
    async with FedApi(Config(api=ApiSettings(auth=ApiAuth(anonymous=True)))).serving() as api:
        assert await code(api, JOBS) == (200, "")
        assert await code(api, JOBS, headers={"Authorization": "Bearer everybody"}) == (200, "")
        assert "ClientKey" in (await api.ask("/api/v1/auth")).json["Methods"]


async def test_where_a_key_is_asked_for_no_other_way_is_offered(api: FedApi) -> None:
    assert (await api.ask("/api/v1/auth")).json["Methods"] == {}
    assert (await api.ask("/api/v1/auth/ClientKey")).status == 404
    assert await code(api, JOBS, headers={"Authorization": "Bearer everybody"}) == (401, "KeyMissing")
