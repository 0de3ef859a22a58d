"""Calls to an issuer: the device flow (RFC 8628), and new tokens for a refresh token (RFC 6749).

What an issuer says is bounded, and only its codes are shown. No redirect is followed, because what is sent is secret.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from shared.data.plain_text import one_line
from shared.errors import Refused, Unavailable
from shared.protocol.rest_nodes import Oauth2View
from shared.runtime.network_problems import why_unreachable
from shared.runtime.tls.trust import trusting_file, trusting_system
from shared.settings.sign_in import DEFAULT_INTERVAL, url_problem
from tarpon.http.sessions import new_session

ANSWER_SECONDS = 15.0
MOST_BYTES = 256 << 10
LONGEST_WAIT_SECONDS, LONGEST_INTERVAL_SECONDS = 1800.0, 60.0
SLOWER_SECONDS = 5.0
DEFAULT_LIFE_SECONDS = 300.0
MOST_SHOWN = 2000
_PASSES = frozenset({408, 429})
"""By which it says that it was asked too late, or too often."""
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class SignInNotOffered(Refused):
    def __init__(self, why: str) -> None:
        super().__init__(
            f"People cannot sign in there: {why}.", hint="Use an API key (TARPON_API_KEY), or ask its operator."
        )


class SignInDenied(Refused):
    def __init__(self) -> None:
        super().__init__("The sign-in was denied at the issuer.", hint="Begin again with `tarpon auth sso login`.")


class SignInTimedOut(Refused):
    def __init__(self) -> None:
        super().__init__(
            "Nobody has signed in before the code expired.", hint="Begin again with `tarpon auth sso login`."
        )


class SignInOver(Refused):
    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The sign-in at {provider} is over.", hint="Sign in again: `tarpon auth sso login`. Jobs go on meanwhile."
        )


class SignInFailed(Refused):
    """The issuer refuses, with a code of its own."""

    def __init__(self, told: str) -> None:
        super().__init__(
            f"The issuer refuses: {told}.", hint="Its operator, and that of the orchestrator, can tell what is missing."
        )


class IssuerUnreachable(Unavailable):
    retryable = True

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"The issuer at {url} cannot be asked: {why}.", hint="Try again later. Jobs go on meanwhile.")


class DeviceCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is shown, and until when (`time.monotonic`) it is waited for."""

    device_code: str
    user_code: str
    url: str
    whole_url: str
    until: float
    interval: float

    def __repr__(self) -> str:
        return "<DeviceCode>"


class IssuedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """`expires` is in seconds since 1970, by this machine's clock."""

    token: str
    refresh_token: str
    expires: float

    def __repr__(self) -> str:
        return "<IssuedTokens>"


class IssuerCalls:
    """Of the issuer that `told` names. Use `open`."""

    def __init__(self, session: aiohttp.ClientSession, told: Oauth2View) -> None:
        self._session = session
        self._told = told

    def __repr__(self) -> str:
        return f"<IssuerCalls to {self._told.issuer}>"

    @classmethod
    @asynccontextmanager
    async def open(cls, told: Oauth2View, ca_file: str = "") -> AsyncIterator["IssuerCalls"]:
        """Raises AuthorityUnreadable, SignInNotOffered."""
        for url in (told.issuer, told.token_endpoint, told.device_authorization_endpoint):
            if url and (problem := url_problem(url, issuer=told.issuer)):
                raise SignInNotOffered(f"a URL of its issuer {problem}")
        context = await asyncio.to_thread(
            lambda: trusting_file(ca_file, by_address=True) if ca_file else trusting_system()
        )
        limits = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with new_session(context, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield cls(session, told)

    async def begin(self) -> DeviceCode:
        """Raises SignInFailed, SignInNotOffered, IssuerUnreachable."""
        told = self._told
        if not (told.device_client_id and told.device_authorization_endpoint and told.token_endpoint):
            raise SignInNotOffered("the orchestrator names no client for it, or the issuer has no device flow")
        form = {"client_id": told.device_client_id, "scope": " ".join(told.scopes), "audience": told.audience}
        status, found = await self._post(told.device_authorization_endpoint, form)
        code, shown, url = (found.get(name) for name in ("device_code", "user_code", "verification_uri"))
        if status != 200 or not (isinstance(code, str) and isinstance(shown, str) and isinstance(url, str)):
            raise SignInFailed(_refusal(status, found))
        whole = found.get("verification_uri_complete")
        waits = _seconds(found.get("expires_in"), LONGEST_WAIT_SECONDS, default=LONGEST_WAIT_SECONDS)
        default = float(told.polling_interval or DEFAULT_INTERVAL)
        return DeviceCode(
            device_code=code,
            user_code=one_line(shown)[:MOST_SHOWN],
            url=_link(url, told.issuer),
            whole_url=_link(whole, told.issuer) if isinstance(whole, str) else "",
            until=time.monotonic() + waits,
            interval=_seconds(found.get("interval"), LONGEST_INTERVAL_SECONDS, default=default),
        )

    async def wait(self, code: DeviceCode, *, on_wait: Callable[[float], None] = lambda _: None) -> IssuedTokens:
        """When its person has signed in. `on_wait` is told how many seconds there are left.

        Raises SignInDenied, SignInTimedOut, SignInFailed. An issuer that is away for a while is waited for.
        """
        pause = code.interval
        form = {"grant_type": _DEVICE_GRANT, "device_code": code.device_code, "client_id": self._told.device_client_id}
        while (left := code.until - time.monotonic()) > 0:
            on_wait(left)
            await asyncio.sleep(min(pause, left))
            try:
                status, found = await self._post(self._told.token_endpoint, form)
            except IssuerUnreachable:
                pause = min(2 * pause, LONGEST_INTERVAL_SECONDS)
                continue
            if status == 200:
                return self._tokens(found)
            match found.get("error"):
                case "authorization_pending":
                    pass
                case "slow_down":
                    pause = min(pause + SLOWER_SECONDS, LONGEST_INTERVAL_SECONDS)
                case "access_denied":
                    raise SignInDenied
                case "expired_token":
                    raise SignInTimedOut
                case _ if status in _PASSES or status >= 500:
                    pause = min(2 * pause, LONGEST_INTERVAL_SECONDS)
                case _:
                    raise SignInFailed(_refusal(status, found))
        raise SignInTimedOut

    async def refresh(self, refresh_token: str) -> IssuedTokens:
        """Raises SignInOver, SignInFailed, IssuerUnreachable."""
        client = self._told.device_client_id
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client}
        status, found = await self._post(self._told.token_endpoint, form)
        if status in _PASSES or status >= 500:
            raise IssuerUnreachable(self._told.issuer, f"it answers with HTTP status {status}")
        if found.get("error") == "invalid_grant":
            raise SignInOver(self._told.provider_name or self._told.issuer)
        if status != 200:
            raise SignInFailed(_refusal(status, found))
        made = self._tokens(found)
        return made if made.refresh_token else msgspec.structs.replace(made, refresh_token=refresh_token)

    def _tokens(self, found: Mapping[str, Any]) -> IssuedTokens:
        """The token that is for the API: the access token, or where that is none the ID token."""
        audience = self._told.audience
        offered = [text for name in ("access_token", "id_token") if isinstance(text := found.get(name), str)]
        signed = [text for text in offered if audience in _audiences(text)]
        if not signed:
            raise SignInFailed(f"it gives no token for the audience {audience!r} that can be checked")
        refresh = found.get("refresh_token")
        ends = float(claims_in(signed[0]).get("exp", time.time() + DEFAULT_LIFE_SECONDS))
        life = _seconds(found.get("expires_in"), float("inf"), default=float("inf"))
        return IssuedTokens(
            token=signed[0],
            refresh_token=refresh if isinstance(refresh, str) else "",
            expires=min(time.time() + life, ends),
        )

    async def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The status, and the object that is the body; empty where it is none. Raises IssuerUnreachable."""
        data = {name: text for name, text in form.items() if text}
        try:
            async with self._session.post(url, data=data, allow_redirects=False) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_chunked(64 << 10):
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise IssuerUnreachable(self._told.issuer, "its answer does not end")
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:  # the last one of names that no name can be
            raise IssuerUnreachable(self._told.issuer, why_unreachable(error)) from None
        try:
            found = msgspec.json.decode(bytes(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        return status, found if isinstance(found, dict) else {}


def claims_in(token: str) -> dict[str, Any]:
    """What a token says, unchecked and for people; empty where it can be read by nobody else than its audience."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    expires = found.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        found.pop("exp", None)
    return found


def _audiences(token: str) -> list[str]:
    found = claims_in(token).get("aud")
    return [found] if isinstance(found, str) else found if isinstance(found, list) else []


def _seconds(found: object, most: float, *, default: float) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        return min(default, most)
    return min(float(found), most)


def _link(url: str, issuer: str) -> str:
    """A link that a person is sent to. Raises SignInFailed for what no browser should open."""
    if len(url) > MOST_SHOWN or url_problem(url, issuer=issuer):
        raise SignInFailed("where it sends people to is no link that can be shown")
    return url


def _refusal(status: int, found: Mapping[str, Any]) -> str:
    code = found.get("error")
    return one_line(code)[:100] if isinstance(code, str) and code else f"HTTP status {status}"
