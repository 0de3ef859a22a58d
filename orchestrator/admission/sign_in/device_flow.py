"""The device flow (RFC 8628) for the page: the orchestrator asks the issuer, and a person signs in there.

A browser could not ask the issuer itself, which answers no pages of others. What belongs to one sign-in is sealed and
kept by the page, so that any orchestrator goes on with it. Nothing has to be registered but what command lines need.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.admission.sessions.sealing import Seal
from orchestrator.admission.sign_in.issuer import Issuer
from shared.data.plain_text import one_line
from shared.errors import Forbidden, NotFound, TooMuchAtOnce
from shared.settings.secret import Secret
from shared.settings.sign_in import DEFAULT_INTERVAL, Oauth2, url_problem

LONGEST_SECONDS, LONGEST_INTERVAL = 1800.0, 60.0
MOST_SHOWN = 2000
ASKED_PER_SECOND, ASKED_AT_ONCE = 1.0, 20.0
"""By one origin, and tenfold by all: nobody has this orchestrator flood the issuer."""
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_GOES_ON = frozenset({"authorization_pending", "slow_down"})
_BEGIN = "Begin again."


class PageSignInNotOffered(NotFound):
    def __init__(self) -> None:
        super().__init__(
            "Nobody signs in at the page by an identity provider here.",
            hint="Use a key, or a link of `tarpon job open`.",
        )


class PageSignInDeclined(Forbidden):
    def __init__(self) -> None:
        super().__init__("Request Forbidden: the sign-in was declined at the identity provider.", hint=_BEGIN)


class PageSignInExpired(Forbidden):
    def __init__(self) -> None:
        super().__init__("Request Forbidden: nobody has signed in before the code expired.", hint=_BEGIN)


class PageSignInFailed(Forbidden):
    """The issuer refuses, with a code of its own."""

    def __init__(self, told: str) -> None:
        super().__init__(
            f"Request Forbidden: the identity provider refuses: {told}.",
            hint="Its operator, and that of the orchestrator, can tell what is missing.",
        )


class TooManySignIns(TooMuchAtOnce):
    def __init__(self) -> None:
        super().__init__("Too many sign-ins go on.", hint="Wait a moment.", wait_seconds=5.0)


class PageSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is shown, and what the page shows to go on. `expires` is in seconds since 1970."""

    handle: str
    user_code: str
    url: str
    whole_url: str
    interval: float
    expires: float

    def __repr__(self) -> str:
        return "<PageSignIn>"


class _Begun(msgspec.Struct, frozen=True, array_like=True):
    device_code: str
    expires: float


class DeviceFlow:
    """`key` is that of sessions. `clock` gives seconds since 1970."""

    def __init__(
        self, issuer: Issuer, settings: Oauth2, key: Secret, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuer = issuer
        self._settings = settings
        self._seal = Seal(key, "tarpon device 1")
        self._clock = clock
        self._asked = Allowance(ASKED_PER_SECOND, ASKED_AT_ONCE)
        self._asked_by_all = Allowance(10 * ASKED_PER_SECOND, 10 * ASKED_AT_ONCE)

    def __repr__(self) -> str:
        return f"<DeviceFlow of {self._issuer!r}>"

    @property
    def provider(self) -> str:
        """Its name for people; empty where there is no device flow."""
        settings = self._settings
        return (settings.provider_name or settings.issuer) if settings.device_client_id else ""

    async def begin(self, origin: str) -> PageSignIn:
        """Raises PageSignInNotOffered, PageSignInFailed, TooManySignIns, IssuerAway, IssuerUnfit."""
        if not self.provider:
            raise PageSignInNotOffered
        self._check(origin)
        settings, url = self._settings, (await self._issuer.endpoints()).device_authorization
        if not url:
            raise PageSignInNotOffered
        form = {
            "client_id": settings.device_client_id,
            "scope": " ".join(settings.scopes),
            "audience": settings.audience,
        }
        status, found = await self._issuer.post(url, form)
        code, shown, link = (found.get(name) for name in ("device_code", "user_code", "verification_uri"))
        if status != 200 or not (isinstance(code, str) and isinstance(shown, str) and isinstance(link, str)):
            raise PageSignInFailed(_refusal(status, found))
        whole = found.get("verification_uri_complete")
        expires = self._clock() + _seconds(found.get("expires_in"), LONGEST_SECONDS, default=LONGEST_SECONDS)
        default = float(settings.polling_interval or DEFAULT_INTERVAL)
        return PageSignIn(
            handle=self._seal.close(msgspec.msgpack.encode(_Begun(code, expires))),
            user_code=one_line(shown)[:MOST_SHOWN],
            url=self._link(link),
            whole_url=self._link(whole) if isinstance(whole, str) else "",
            interval=_seconds(found.get("interval"), LONGEST_INTERVAL, default=default),
            expires=expires,
        )

    async def token(self, handle: str, origin: str) -> str:
        """The token, once its person has signed in; until then nothing.

        Raises PageSignInDeclined, PageSignInExpired, PageSignInFailed, TooManySignIns, IssuerAway, IssuerUnfit.
        """
        self._check(origin)
        content = self._seal.open(handle)
        begun = msgspec.msgpack.decode(content, type=_Begun) if content is not None else None
        if begun is None or begun.expires <= self._clock():
            raise PageSignInExpired
        form = {
            "grant_type": _GRANT,
            "device_code": begun.device_code,
            "client_id": self._settings.device_client_id,
        }
        status, found = await self._issuer.post((await self._issuer.endpoints()).token, form)
        if status == 200:
            return self._token_in(found)
        match found.get("error"):
            case "access_denied":
                raise PageSignInDeclined
            case "expired_token":
                raise PageSignInExpired
            case told if told in _GOES_ON or status in {408, 429} or status >= 500:
                return ""
            case _:
                raise PageSignInFailed(_refusal(status, found))

    def _check(self, origin: str) -> None:
        now = time.monotonic()
        if not (self._asked.take(origin, 1, now) and self._asked_by_all.take("", 1, now)):
            raise TooManySignIns

    def _token_in(self, found: Mapping[str, Any]) -> str:
        """The one that is for the API: the access token, or where that is none the ID token."""
        audience = self._settings.audience
        offered = [text for name in ("access_token", "id_token") if isinstance(text := found.get(name), str)]
        signed = next((text for text in offered if audience in _audiences(text)), "")
        if not signed:
            raise PageSignInFailed(f"it gives no token for the audience {audience!r} that can be checked")
        return signed

    def _link(self, url: str) -> str:
        """Raises PageSignInFailed for what no browser should open."""
        if len(url) > MOST_SHOWN or url_problem(url, issuer=self._settings.issuer):
            raise PageSignInFailed("where it sends people to is no link that can be shown")
        return url


def _audiences(token: str) -> list[str]:
    """What a token says itself, unchecked: it is checked when it is shown."""
    parts = token.split(".")
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        found = claims.get("aud") if isinstance(claims, dict) else None
    except (binascii.Error, ValueError, RecursionError, IndexError):
        found = None
    return [found] if isinstance(found, str) else found if isinstance(found, list) else []


def _seconds(found: object, most: float, *, default: float) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
        return min(default, most)
    return min(float(found), most)


def _refusal(status: int, found: Mapping[str, Any]) -> str:
    code = found.get("error")
    return one_line(code)[:100] if isinstance(code, str) and code else f"HTTP status {status}"
