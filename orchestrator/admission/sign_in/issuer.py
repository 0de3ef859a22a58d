"""The issuer: its discovery document and its keys, asked for now and then, and kept while it does not answer.

Tokens make nobody wait: keys are asked for in the background. Only a token of a key that is not known, and a sign-in
while the endpoints are not known, have them asked for at once, a few times a minute at most, so that no stranger has
this orchestrator flood the issuer.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from orchestrator.admission.sign_in.key_set import KeySet, KeySetUnusable, KeysWithdrawn, SigningKey
from orchestrator.admission.sign_in.token import TokenRefused
from shared.errors import ExtraMissing, Unavailable
from shared.runtime.backoff import Backoff
from shared.runtime.network_problems import why_unreachable
from shared.runtime.tls.trust import trusting_file, trusting_system
from shared.settings.sign_in import SECTION, Oauth2, url_problem

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
"""So long a key is still taken that the issuer has withdrawn."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0
AT_ONCE_SECONDS = 10.0
"""Between two times at which somebody has the issuer asked who needs what is not known of it."""
ANSWER_SECONDS = 10.0
MAX_ANSWER_BYTES = 512 << 10
_DISCOVERY = "/.well-known/openid-configuration"
_READ_BYTES = 64 << 10


class IssuerAway(Unavailable):
    """It does not answer, and what is known of its keys is not enough."""

    retryable = True

    def __init__(self, issuer: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"Nobody can sign in at present: the issuer {issuer} {why}.",
            hint="Try again later. Jobs go on meanwhile, and API keys work as ever.",
        )


class IssuerUnfit(Unavailable):
    """What it answers is not what an issuer answers."""

    retryable = True

    def __init__(self, issuer: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"Nobody can sign in at present: of the issuer {issuer}, {why}.",
            hint=f"Whoever runs the orchestrator has to look at {SECTION}, or at the issuer. API keys work as ever.",
        )


class TokenKeyUnknown(TokenRefused):
    def __init__(self) -> None:
        super().__init__("the issuer publishes no key that signed it")


class Endpoints(NamedTuple):
    """Where command lines sign people in."""

    device_authorization: str = ""
    token: str = ""
    keys: str = ""


class Issuer:
    """Use `open` around all else."""

    def __init__(self, settings: Oauth2) -> None:
        self._settings = settings
        self._found: dict[str, str] = {}
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._begun_at = self._at_once_at = float("-inf")
        self._problem: IssuerAway | IssuerUnfit | None = None
        """Never raised itself, as it would hold what it went through: the tokens of requests."""
        self._one = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Issuer {self._settings.issuer}, {len(self._keys) if self._keys else 'no'} keys>"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Raises AuthorityUnreadable, and ExtraMissing where this orchestrator can check no signature."""
        context = await asyncio.to_thread(_context, self._settings.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=2),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        async with self._session:
            yield

    async def run(self) -> None:
        """Ask now and then, until cancelled."""
        pauses = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        while True:
            async with self._one:
                await self._refresh()
            if self._problem is None:
                pauses.reset()
                await asyncio.sleep(min(REFRESH_SECONDS, self._settings.keys_lifetime / 2))
            else:
                await pauses.pause()

    async def key(self, kid: str | None, algorithm: str) -> SigningKey:
        """The key of a token. Raises IssuerAway, IssuerUnfit, TokenKeyUnknown, SigningKeyUnfit."""
        if (found := self._find(kid, algorithm)) is None:
            await self._ask_at_once(lambda: self._find(kid, algorithm))
            found = self._find(kid, algorithm)
        if found is not None:
            return found
        if self._problem is None and not self._has_good_keys:
            raise IssuerAway(self._settings.issuer, "has not answered for too long")
        raise self._told() or TokenKeyUnknown()

    async def endpoints(self) -> Endpoints:
        """Waits for the issuer where they are not known yet. Raises IssuerAway, IssuerUnfit."""
        if self._needs_discovery:
            if not self._found:
                await self._ask_at_once(lambda: self._found)
            if not self._found:
                raise self._told() or IssuerAway(self._settings.issuer, "has not answered yet")
        settings, found = self._settings, self._found
        return Endpoints(
            settings.device_authorization_endpoint or found.get("device_authorization_endpoint", ""),
            settings.token_endpoint or found.get("token_endpoint", ""),
            settings.jwks_uri or found.get("jwks_uri", ""),
        )

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the object that an endpoint answers, empty where it is none. Raises IssuerAway.

        No redirect is followed, because what is sent is secret.
        """
        assert self._session is not None, "it is open"
        data = {name: text for name, text in form.items() if text}
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session.post(url, data=data, allow_redirects=False) as answer,
            ):
                status, body = answer.status, await _bounded(answer)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            raise IssuerAway(self._settings.issuer, f"cannot be reached: {why_unreachable(error)}") from None
        try:
            found = msgspec.json.decode(body or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        return status, found if isinstance(found, dict) else {}

    def _told(self) -> IssuerAway | IssuerUnfit | None:
        """The problem for one who asks."""
        return type(self._problem)(self._settings.issuer, self._problem.why) if self._problem is not None else None

    @property
    def _has_good_keys(self) -> bool:
        return self._keys is not None and time.monotonic() - self._keys_at <= self._settings.keys_lifetime

    def _find(self, kid: str | None, algorithm: str) -> SigningKey | None:
        return self._keys.find(kid, algorithm) if self._keys is not None and self._has_good_keys else None

    async def _ask_at_once(self, is_known: Callable[[], object]) -> None:
        """Ask, unless that was done a moment ago, or somebody else does it meanwhile, who is then waited for."""
        asked_at = time.monotonic()
        async with self._one:
            is_due = time.monotonic() - self._at_once_at >= AT_ONCE_SECONDS
            if not is_known() and self._begun_at < asked_at and is_due:
                self._at_once_at = time.monotonic()
                await self._refresh()

    async def _refresh(self) -> None:
        """By one at a time. What went wrong is kept and told, as what was known before goes on."""
        self._begun_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._ask()
        except TimeoutError:
            self._note(IssuerAway(self._settings.issuer, f"has not answered within {ANSWER_SECONDS:.0f} s"))
        except (IssuerAway, IssuerUnfit) as error:
            self._note(error)
        else:
            self._note(None)

    async def _ask(self) -> None:
        settings = self._settings
        failed: IssuerAway | IssuerUnfit | None = None
        if self._needs_discovery:
            try:
                self._found = self._endpoints_in(await self._document(settings.issuer.rstrip("/") + _DISCOVERY))
            except (IssuerAway, IssuerUnfit) as error:
                failed = error
        url = settings.jwks_uri or self._found.get("jwks_uri")
        if url:
            try:
                self._keys = KeySet.read(await self._document(url))
            except KeySetUnusable as error:
                if isinstance(error, KeysWithdrawn):
                    self._keys = None
                raise IssuerUnfit(settings.issuer, f"the key set {error}") from None
            self._keys_at = time.monotonic()
        if failed is not None:
            raise failed

    @property
    def _needs_discovery(self) -> bool:
        settings = self._settings
        signs_in = settings.device_client_id and not (
            settings.device_authorization_endpoint and settings.token_endpoint
        )
        return bool(signs_in or not settings.jwks_uri)

    def _endpoints_in(self, document: dict[str, Any]) -> dict[str, str]:
        """Raises IssuerUnfit for a document of another issuer (OpenID Connect Discovery, section 4.3)."""
        issuer = self._settings.issuer
        if document.get("issuer") != issuer:
            raise IssuerUnfit(issuer, f"the discovery document names another issuer than {SECTION}.Issuer does")
        found = {}
        for name in ("jwks_uri", "device_authorization_endpoint", "token_endpoint"):
            url = document.get(name)
            if url is None:
                continue
            if not isinstance(url, str) or (problem := url_problem(url, issuer=issuer)):
                told = problem if isinstance(url, str) else "is not a URL"
                raise IssuerUnfit(issuer, f"{name} in the discovery document {told}")
            found[name] = url
        if "jwks_uri" not in found and not self._settings.jwks_uri:
            raise IssuerUnfit(issuer, "the discovery document has no jwks_uri")
        return found

    async def _document(self, url: str) -> dict[str, Any]:
        """Raises IssuerAway, IssuerUnfit. A redirect is followed nowhere: keys come from where it is said."""
        assert self._session is not None, "it is open"
        issuer = self._settings.issuer
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status >= 500:
                    raise IssuerAway(issuer, f"answers with HTTP status {answer.status}")
                if 300 <= answer.status < 400:
                    raise IssuerUnfit(issuer, f"{_path(url)} leads elsewhere, which is not followed")
                if answer.status != 200:
                    raise IssuerUnfit(issuer, f"{_path(url)} is answered with HTTP status {answer.status}")
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise IssuerUnfit(issuer, f"{_path(url)} is compressed, which nobody has asked for")
                body = await _bounded(answer)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:  # the last one of names that no name can be
            raise IssuerAway(issuer, f"cannot be reached: {why_unreachable(error)}") from error
        if body is None:
            raise IssuerUnfit(issuer, f"{_path(url)} has more than {MAX_ANSWER_BYTES:,} bytes")
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise IssuerUnfit(issuer, f"{_path(url)} is no JSON object")
        return found

    def _note(self, found: IssuerAway | IssuerUnfit | None) -> None:
        """Tell what has changed, once."""
        before, self._problem = self._problem, found
        problem = self._problem = self._told()
        if problem is not None and (before is None or before.message != problem.message):
            _log.warning("%s [%s]", problem.message, problem.code)
        elif problem is None and before is not None:
            _log.info("The issuer %s answers again.", self._settings.issuer)


def _context(ca_file: str) -> ssl.SSLContext:
    """Also loads what checks signatures, so that no token has to wait for it."""
    try:
        import jwt  # noqa: F401  # most orchestrators have no issuer
    except ImportError as error:
        raise ExtraMissing(f"Sign-in ({SECTION}.Issuer)", "orchestrator") from error
    return trusting_file(ca_file, by_address=True) if ca_file else trusting_system()


async def _bounded(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None where it is too long."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(_READ_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _path(url: str) -> str:
    """Of a URL what may be told."""
    return url.partition("?")[0][:200]
