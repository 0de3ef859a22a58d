"""The cookie of a session: where it is in a request, and how it goes with an answer.

Cookies are told apart by host and not by port, so its name has the port. A token of an issuer may be larger than one
cookie can be; the rest is then in others.
"""

from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.admission.bounds.origins import Proxies
from orchestrator.admission.sessions.sessions import Session, Sessions
from orchestrator.api.routes import local_connection

NAME = "tarpon-session"
CSRF_HEADER = "X-Tarpon-CSRF-Token"
MOST_CHARACTERS = 3800
"""Of one cookie: browsers keep 4,096 with its name and what is said of it."""
MOST_COOKIES = 5
FORWARDED_PROTO = "X-Forwarded-Proto"

session_key = web.RequestKey("session", Session)


class SessionCookies:
    """`sessions` read what is in them, `proxies` say by which scheme a browser has come."""

    def __init__(self, sessions: Sessions, proxies: Proxies) -> None:
        self._sessions = sessions
        self._proxies = proxies

    def __repr__(self) -> str:
        return f"<SessionCookies of {self._sessions!r}>"

    def session_of(self, request: web.Request) -> Session | None:
        """That of who shows nothing else, and comes by no socket of the machine. Raises as `Sessions.read` does."""
        if "Authorization" in request.headers or local_connection(request) is not None:
            return None
        text = "".join(request.cookies.get(name, "") for name in self._names(request))
        return self._sessions.read(text, request.host) if text else None

    def are_in(self, request: web.Request) -> bool:
        return self._names(request)[0] in request.cookies

    def set(self, request: web.Request, response: web.Response, session: Session, text: str) -> None:
        names = self._names(request)
        parts = [text[begin : begin + MOST_CHARACTERS] for begin in range(0, len(text), MOST_CHARACTERS)]
        for name, part in zip(names, parts, strict=False):
            response.set_cookie(
                name,
                part,
                max_age=max(0, int(session.expires - session.made)),
                path="/",
                secure=self._is_encrypted(request),
                httponly=True,
                samesite="Strict",
            )
        self._clear(request, response, names[len(parts) :])

    def clear(self, request: web.Request, response: web.Response) -> None:
        self._clear(request, response, self._names(request))

    def _clear(self, request: web.Request, response: web.Response, names: list[str]) -> None:
        for name in names:
            if name in request.cookies:
                secure = self._is_encrypted(request)
                response.del_cookie(name, path="/", secure=secure, httponly=True, samesite="Strict")

    def _names(self, request: web.Request) -> list[str]:
        try:
            port = urlsplit(f"//{request.host}").port
        except ValueError:  # this is no host at all
            port = None
        name = f"{NAME}-{port or (443 if self._is_encrypted(request) else 80)}"
        return [name, *(f"{name}-{number}" for number in range(1, MOST_COOKIES))]

    def _is_encrypted(self, request: web.Request) -> bool:
        """Whether the browser has come by https, here or at a proxy that is trusted to say so."""
        if request.secure or not request.remote or not self._proxies.trust(request.remote):
            return request.secure
        told = request.headers.get(FORWARDED_PROTO, "").rpartition(",")[2].strip().lower()
        described = request.headers.get("Forwarded", "").rpartition(",")[2].lower().replace('"', "")
        return told == "https" or "proto=https" in (each.strip() for each in described.split(";"))
