"""Shapes of the HTTP API by which somebody signs in at the page, and out."""

from datetime import datetime

import msgspec
from msgspec import field


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Begin a session with one of these: a key or a token; a password with its `user`; a link's code.

    Or with the `handle` of a sign-in at the identity provider, again and again until its person has signed in there.
    """

    key: str = ""
    user: str = ""
    link: str = ""
    handle: str = ""

    def __repr__(self) -> str:
        return "<SessionRequest>"

    __str__ = __repr__


class ProviderView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An identity provider where people sign in."""

    name: str


class ProviderSignInResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A person opens `url` and enters `user_code`, or opens `whole_url`, where there is one, and compares the code.

    `handle` is a secret that tells whether that is done, asked every so many seconds.
    """

    handle: str
    user_code: str
    url: str = field(name="URL")
    whole_url: str = field(name="WholeURL", default="")
    interval_seconds: float
    expires: datetime

    def __repr__(self) -> str:
        return "<ProviderSignInResponse>"

    __str__ = __repr__


class SessionResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Who asks. Where everybody is let in it is `anonymous`, and nobody needs to sign in.

    `sign_in` is where people sign in, if there is such a place; `pending` that nobody has done so yet.

    `csrf_token` goes with each change that is made by the session's cookie, as `X-Tarpon-CSRF-Token`.
    """

    signed_in: bool = False
    anonymous: bool = False
    name: str = ""
    capabilities: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    csrf_token: str = field(name="CSRFToken", default="")
    expires: datetime | None = None
    """When the session does."""
    sign_in: ProviderView | None = None
    pending: bool = False


class SessionEndedResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The cookie is good nowhere any more."""

    signed_in: bool = False


class LinkResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A code that begins one session as whoever has asked for it, until it `expires`. It is a secret.

    `page` is where the page is for this machine itself, as its orchestrator knows.
    """

    link: str
    expires: datetime
    page: str = ""

    def __repr__(self) -> str:
        return "<LinkResponse>"

    __str__ = __repr__
