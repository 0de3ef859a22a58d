"""Settings of sign-in by OpenID Connect, in the shape of the reference, with rules added."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from shared.data.loopback_hosts import is_loopback
from shared.jobs.durations import Duration
from shared.settings.sign_in_rules import SignInRules
from shared.settings.tls.declared import FilePath

SECTION = "API.Auth.Oauth2"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those whose keys can be published: no other one may ever be allowed, `none` and HMAC least of all."""
MOST_LEEWAY = 300.0
DEFAULT_INTERVAL = 5
"""In seconds, as RFC 8628 has it."""
_HOUR, _DAY = 3600.0, 86400.0


class Oauth2(Struct, frozen=True, kw_only=True, rename="pascal"):
    issuer: Annotated[
        str,
        Meta(
            description="The issuer whose tokens sign people in at the HTTP API, as its URL stands in `iss`; empty is"
            " none. Its keys and endpoints come from its discovery document."
        ),
    ] = ""
    audience: Annotated[str, Meta(description="What has to be in `aud` of a token: the name of this API there.")] = ""
    rules: Annotated[
        SignInRules,
        Meta(
            description="What a token allows: a list of rules, each with Match (conditions, each with a Claim and a"
            " Value or a Pattern), Capabilities and Namespaces, or Refuse. The first one that matches counts, and who"
            " matches none is not let in."
        ),
    ] = SignInRules()
    provider_id: Annotated[str, Meta(description="A short name of the issuer, for clients.")] = field(
        default="", name="ProviderID"
    )
    provider_name: Annotated[str, Meta(description="Its name for people.")] = ""
    device_client_id: Annotated[
        str,
        Meta(description="The client at the issuer as which command lines sign people in; empty is no device flow."),
    ] = field(default="", name="DeviceClientID")
    scopes: Annotated[
        tuple[str, ...],
        Meta(description="What command lines ask the issuer for; add `offline_access` to stay signed in for longer."),
    ] = ("openid", "profile", "email")
    polling_interval: Annotated[
        int,
        Meta(
            ge=0,
            le=300,
            description="After how many seconds command lines ask again, if the issuer tells none; 0 is 5.",
        ),
    ] = DEFAULT_INTERVAL
    jwks_uri: Annotated[
        str, Meta(description="Where the issuer publishes its keys, if not where its discovery document says.")
    ] = field(default="", name="JWKSUri")
    device_authorization_endpoint: Annotated[
        str, Meta(description="Where a device flow begins, if not where the discovery document says.")
    ] = ""
    token_endpoint: Annotated[
        str, Meta(description="Where it ends with a token, if not where the discovery document says.")
    ] = ""
    authorized_parties: Annotated[
        tuple[str, ...],
        Meta(
            description="The clients at the issuer whose tokens are taken, by `azp` or `client_id`; empty is any, but"
            " for tokens that are made for DeviceClientID itself."
        ),
    ] = ()
    algorithms: Annotated[
        tuple[str, ...], Meta(description="The signatures that are taken; only asymmetric ones are possible.")
    ] = ALGORITHMS
    name_claim: Annotated[
        str, Meta(description="The claim by which people are shown beside their stable name, such as email.")
    ] = "preferred_username"
    leeway: Annotated[
        Duration, Meta(description="How far the issuer's clock may be off from the orchestrator's; at most 5m.")
    ] = Duration(30)
    keys_lifetime: Annotated[
        Duration, Meta(description="How long the issuer's keys stay good while it does not answer.")
    ] = Duration(_DAY)
    max_token_life: Annotated[
        Duration,
        Meta(
            description="How long after its issue a token is taken at most, whatever it says: so long somebody stays in"
            " whom only the issuer has shut out."
        ),
    ] = Duration(12 * _HOUR)
    ca_file: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, by one of which the issuer is known, if this machine does not trust"
            " them."
        ),
    ] = field(default=FilePath(), name="CAFile")


def sign_in_problems(settings: Oauth2, *, anonymous: bool) -> Iterator[str]:
    if not settings.issuer:
        if settings.rules or settings.audience:
            yield f"{SECTION}.Issuer is not set, so that nobody could sign in by the rest of {SECTION}"
        return
    if anonymous:
        yield f"API.Auth.Anonymous and {SECTION}.Issuer are both set; keep one of them"
    if not settings.audience:
        yield f"{SECTION}.Audience is not set: tokens for other services of the issuer would be taken"
    if not settings.rules:
        yield f"{SECTION}.Rules is not set: nobody could sign in"
    if unknown := set(settings.algorithms) - set(ALGORITHMS) or (not settings.algorithms and {"nothing"}):
        yield f"{SECTION}.Algorithms: {min(unknown)[:40]!r} is none of {', '.join(ALGORITHMS)}"
    if not 0 <= settings.leeway <= MOST_LEEWAY:
        yield f"{SECTION}.Leeway must not be negative, nor more than 5m"
    for key, value in (("KeysLifetime", settings.keys_lifetime), ("MaxTokenLife", settings.max_token_life)):
        if value <= 0:
            yield f"{SECTION}.{key} must be greater than zero"
    yield from _urls(settings)


def _urls(settings: Oauth2) -> Iterator[str]:
    if problem := url_problem(settings.issuer, issuer=settings.issuer, has_query=False):
        yield f"{SECTION}.Issuer {problem}"
        return
    for key, url in (
        ("JWKSUri", settings.jwks_uri),
        ("DeviceAuthorizationEndpoint", settings.device_authorization_endpoint),
        ("TokenEndpoint", settings.token_endpoint),
    ):
        if url and (problem := url_problem(url, issuer=settings.issuer)):
            yield f"{SECTION}.{key} {problem}"


def url_problem(url: str, *, issuer: str, has_query: bool = True) -> str:
    """What is wrong with the URL of an issuer, or of one of its endpoints; empty where nothing is. It quotes nothing.

    Plain text is for loopback alone, and for endpoints of an issuer that is there too: no other one may lead there.
    """
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        return "is not a URL"
    if not is_whole or parts.scheme not in {"http", "https"}:
        return "is not a URL such as https://login.example.com"
    if "@" in parts.netloc or parts.fragment or (parts.query and not has_query):
        return "must not hold a password, a query or a fragment"
    if parts.scheme == "http" and not (is_loopback(url) and is_loopback(issuer) and issuer.startswith("http://")):
        return "has to begin with https:// where it is not on this machine"
    return ""
