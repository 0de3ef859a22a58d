"""Sign-in at the page by an identity provider, with a real issuer: the device flow, asked for by the orchestrator."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest

from orchestrator.admission.sign_in.token import MAX_TOKEN_BYTES
from orchestrator.api.access.session_cookies import MOST_COOKIES
from tests.integration.fed_api import JOBS, FedApi
from tests.integration.orchestrator.admission.test_sign_in import signing_in
from tests.integration.running import Answer
from tests.played_issuer import DISCOVERY, PlayedIssuer
from tests.waiting import eventually

SESSION, PROVIDER = "/api/v1/auth/session", "/api/v1/auth/provider"


@pytest.fixture
def issuer() -> Iterator[PlayedIssuer]:
    with PlayedIssuer().running() as played:
        yield played


async def begun(api: FedApi) -> dict[str, Any]:
    answer = await api.ask(PROVIDER, "POST")
    assert answer.status == 200, answer.body
    return dict(answer.json)


async def gone_on(api: FedApi, handle: str) -> Answer:
    return await api.ask(SESSION, "POST", {"Handle": handle})


def cookies_in(answer: Answer) -> dict[str, str]:
    found = SimpleCookie()
    for line in answer.headers.getall("Set-Cookie"):  # type: ignore[attr-defined]  # of aiohttp
        found.load(line)
    return {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in found.items())}


def code(answer: Answer) -> str:
    assert answer.json["Message"]
    return str(answer.json["Details"].get("TarponCode", answer.json["Code"]))


async def test_a_person_signs_in_at_the_provider_and_is_known_by_a_session(issuer: PlayedIssuer) -> None:
    issuer.approves = False
    async with signing_in(issuer) as api:
        assert (await api.ask(SESSION)).json["SignIn"] == {"Name": issuer.url}
        shown = await begun(api)
        assert shown["UserCode"] == "WDJB-MJHT"
        assert shown["URL"] == f"{issuer.url}/activate"
        waiting = await gone_on(api, shown["Handle"])
        assert (waiting.json["Pending"], waiting.json["SignedIn"], "Set-Cookie" in waiting.headers) == (
            True,
            False,
            False,
        )
        for device in issuer.devices.values():
            device.is_approved = True
        done = await gone_on(api, shown["Handle"])
        assert (done.json["SignedIn"], done.json["Name"]) == (True, "ada")
        assert done.json["Expires"] <= time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + issuer.lasts_seconds + 31)
        )
        assert (await api.ask(JOBS, headers=cookies_in(done))).status == 200


async def test_who_signs_in_before_the_issuer_has_answered_waits_for_it(issuer: PlayedIssuer) -> None:
    slow = issuer.held[DISCOVERY] = threading.Event()
    async with signing_in(issuer) as api, asyncio.TaskGroup() as tasks:
        shown = tasks.create_task(begun(api))
        await eventually(lambda: issuer.asked[DISCOVERY], what="the issuer is asked")
        for _ in range(3):
            assert (await api.ask(SESSION)).status == 200, "the page can be read meanwhile"
        slow.set()
        assert (await gone_on(api, (await shown)["Handle"])).json["SignedIn"]
        assert issuer.asked[DISCOVERY] == 1


async def test_who_signs_in_after_the_issuer_was_away_has_it_asked_at_once(
    issuer: PlayedIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.admission.sign_in.issuer.FIRST_RETRY_SECONDS", 60.0)
    issuer.stop()
    async with signing_in(issuer) as api:
        sign_in = api.api._sign_in
        assert sign_in is not None
        await eventually(lambda: sign_in.issuer._problem, what="the issuer is known to be away")
        issuer.start()
        assert (await begun(api))["Handle"]


async def test_a_token_that_is_larger_than_a_cookie_is_in_several(issuer: PlayedIssuer) -> None:
    issuer.person["groups"] = ["people", *(f"group-{number:04}" for number in range(630))]
    assert MAX_TOKEN_BYTES - 500 < len(issuer.token(**issuer.person)) < MAX_TOKEN_BYTES
    async with signing_in(issuer) as api:
        done = await gone_on(api, (await begun(api))["Handle"])
        shown = cookies_in(done)
        assert shown["Cookie"].count("tarpon-session-") == MOST_COOKIES
        assert (await api.ask(JOBS, headers=shown)).status == 200


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("access_denied", "PageSignInDeclined"),
        ("expired_token", "PageSignInExpired"),
        ("invalid_scope", "PageSignInFailed"),
    ],
)
async def test_what_the_provider_refuses_is_told(issuer: PlayedIssuer, told: str, expected: str) -> None:
    issuer.first_answers = [told]
    async with signing_in(issuer) as api:
        refused = await gone_on(api, (await begun(api))["Handle"])
        assert (refused.status, code(refused)) == (403, expected)


async def test_a_provider_that_sends_people_elsewhere_by_plain_text_is_not_followed(issuer: PlayedIssuer) -> None:
    issuer.bodies["/device"] = (
        b'{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)","expires_in":60}'
    )
    async with signing_in(issuer) as api:
        assert code(await api.ask(PROVIDER, "POST")) == "PageSignInFailed"


async def test_a_handle_of_nobody_begins_nothing_and_many_sign_ins_are_too_many(issuer: PlayedIssuer) -> None:
    async with signing_in(issuer) as api:
        assert code(await gone_on(api, "x")) == "PageSignInExpired"
        statuses = {(await gone_on(api, "x")).status for _ in range(30)}
        assert statuses == {403, 429}
        assert issuer.asked["/token"] == 0


async def test_where_nobody_signs_in_it_is_not_offered() -> None:
    async with FedApi().serving() as api:
        assert code(await api.ask(PROVIDER, "POST")) == "PageSignInNotOffered"
        assert "SignIn" not in {name for name, value in (await api.ask(SESSION)).json.items() if value}
