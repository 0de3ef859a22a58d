"""Why a session or a link is not taken."""

from shared.errors import Forbidden, TooMuchAtOnce, Unauthorized

_AGAIN = "Sign in again."
_NEW_LINK = "`tarpon job open JOB` makes another link; each is good once, for two minutes."


class SessionInvalid(Unauthorized):
    def __init__(self) -> None:
        super().__init__(
            "Request Unauthorized: the cookie that is shown is no session of this orchestrator, or was changed.",
            hint=f"{_AGAIN} Orchestrators of one set have to share their secrets.",
        )


class SessionOfOtherHost(Unauthorized):
    def __init__(self) -> None:
        super().__init__(
            "Request Unauthorized: the session was begun at another address than the one that is asked.", hint=_AGAIN
        )


class SessionExpired(Unauthorized):
    def __init__(self) -> None:
        super().__init__("Request Unauthorized: the session has expired.", hint=_AGAIN)


class SessionEnded(Unauthorized):
    def __init__(self) -> None:
        super().__init__("Request Unauthorized: the session was signed out of.", hint=_AGAIN)


class CSRFTokenWrong(Forbidden):
    """The cookie alone is not enough to change something, as a browser may send it on behalf of another page."""

    def __init__(self, *, is_missing: bool) -> None:
        told = "shows no CSRF token" if is_missing else "shows a CSRF token that is not the session's"
        super().__init__(
            f"Request Forbidden: it would change something, is made by a session's cookie, and {told}.",
            hint="Load the page again. Programs show a key as `Authorization`, and need neither.",
        )


class LinkInvalid(Unauthorized):
    def __init__(self) -> None:
        super().__init__(
            "Request Unauthorized: the link is not one of this orchestrator, or was changed or cut off.", hint=_NEW_LINK
        )


class LinkExpired(Unauthorized):
    def __init__(self) -> None:
        super().__init__("Request Unauthorized: the link was made more than two minutes ago.", hint=_NEW_LINK)


class LinkUsed(Unauthorized):
    def __init__(self) -> None:
        super().__init__("Request Unauthorized: the link was used before.", hint=_NEW_LINK)


class TooManySessionsEnded(TooMuchAtOnce):
    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most:,} sessions and links have ended that would be good still, and no more can be remembered.",
            hint="Wait until some have expired. To end sessions at once, revoke the key: `tarpon user revoke`.",
            wait_seconds=60.0,
        )
