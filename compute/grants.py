"""How the node comes by the right to PUT a result: from the assignment, or by asking for a fresh URL."""

import time
from collections.abc import Awaitable, Callable

from compute.backoff import Backoff
from shared.errors import GrantRefused, NotReady, Unavailable
from shared.ids import ExecutionId
from shared.messages import (
    GrantGiven,
    GrantRequest,
    Reconciliation,
    RequestRefused,
    UnknownMessage,
    decode,
    encode,
    node_request_answers,
)
from shared.signed_url import Grant
from shared.transport import Connection

REQUEST_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


class GrantRequests:
    """Asks the orchestrator, on this node's own subject."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject

    async def ask(self, execution_id: ExecutionId, s3_code: str = "") -> Grant:
        """Raise Unavailable where asking again may help, GrantRefused where it will not."""
        asked_at = time.monotonic()
        request = encode(GrantRequest(execution_id=execution_id, s3_code=s3_code))
        payload = await self._connection.request(self._subject, request, timeout=REQUEST_SECONDS)
        try:
            answer = decode(node_request_answers, payload)
        except UnknownMessage as error:
            raise NotReady(f"The orchestrator's answer cannot be understood: {error.message}") from None
        match answer:
            case GrantGiven(archive=url):
                # The lifetime began when the orchestrator signed, which was after the question.
                return Grant(url, received_at=asked_at)
            case RequestRefused(message=message, retryable=True):
                raise NotReady(message)
            case RequestRefused(message=message):
                raise GrantRefused(message)
            case Reconciliation():
                raise NotReady("The orchestrator answered another question than the one asked.")


class Grants:
    """The newest grant of one execution. It is in memory alone: a journal holds no URL."""

    def __init__(
        self, execution_id: ExecutionId, ask: Callable[[ExecutionId, str], Awaitable[Grant]], first: Grant | None = None
    ) -> None:
        self.current = first
        self.last_problem = ""
        self._execution_id = execution_id
        self._ask = ask

    def __repr__(self) -> str:
        return f"<Grants of {self._execution_id}: {self.current}>"

    def offer(self, grant: Grant | None) -> None:
        """Take a grant that came unasked, if it lives longer."""
        if grant is not None and (self.current is None or grant.expires_at > self.current.expires_at):
            self.current = grant

    async def renew(self, s3_code: str = "") -> Grant:
        """A fresh grant, however long the orchestrator is away; `s3_code` is what S3 said to the last one.

        Raises GrantRefused.
        """
        pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            try:
                self.current = await self._ask(self._execution_id, s3_code)
            except Unavailable as error:
                self.last_problem = error.message
                await pauses.pause()
            else:
                return self.current
