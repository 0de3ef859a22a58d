"""Registration: the node tells who it is and what it holds, and does what the orchestrator answers."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from msgspec.structs import replace

from compute.executions.held import Executions
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId
from shared.messaging.transport import Connection
from shared.protocol.messages import (
    NodeInfo,
    NodeRequestAnswer,
    Reconciliation,
    Registration,
    RequestRefused,
    UnknownMessage,
    decode,
    encode,
    node_request_answers,
)
from shared.runtime.aio import background, first_of
from shared.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
REQUEST_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


class Registrar:
    """Registers on each connection, once a while, and when asked.

    `problems`, which may block, tells those of the node, given what it holds.
    """

    def __init__(
        self,
        connection: Connection,
        subject: str,
        info: Callable[[], NodeInfo],
        executions: Executions,
        *,
        problems: Callable[[Collection[ExecutionId]], tuple[str, ...]] = lambda _: (),
    ) -> None:
        self._connection = connection
        self._subject = subject
        self._info = info
        self._executions = executions
        self._problems = problems
        self._due = asyncio.Event()
        self._tell_again = False
        self._said = ""

    def __repr__(self) -> str:
        return f"<Registrar of {self._subject}: {self._said or 'not registered yet'}>"

    def register_soon(self) -> None:
        self._due.set()

    async def run(self) -> None:
        async with background(registering_on_connect=self._on_each_connection()):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_SECONDS):
                        await self._due.wait()
                self._due.clear()
                await self._register()

    async def say_farewell(self) -> None:
        """Tell what is still held, when nothing is taken on any more, so that all else is placed elsewhere."""
        if self._connection.connected:
            await self._try()

    async def _on_each_connection(self) -> None:
        number = 0
        while True:
            earlier, number = number, await self._connection.next_connection(number)
            self._tell_again = self._tell_again or earlier > 0
            self._due.set()

    async def _register(self) -> None:
        """Until there is an answer that settles it; whoever asks meanwhile ends the pause."""
        pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while not await self._try():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pauses.next_seconds()):
                    await self._due.wait()

    async def _try(self) -> bool:
        await self._connection.wait_connected()
        problems = await asyncio.to_thread(self._problems, self._executions.held)
        inventory, held = self._executions.inventory()
        request = Registration(
            info=replace(self._info(), problems=problems),
            session=self._executions.session,
            inventory=inventory,
            held=held,
            leaving=self._executions.is_leaving,
        )
        self._due.clear()
        try:
            payload = await first_of(
                self._connection.request(self._subject, encode(request), timeout=REQUEST_SECONDS), self._asked_again()
            )
            answer = decode(node_request_answers, payload)
        except MessagingUnavailable:
            return False
        except UnknownMessage as error:
            self._say(logging.WARNING, f"The orchestrator's answer to the registration is not understood: {error}")
            return True
        return self._apply(answer)

    async def _asked_again(self) -> bytes:
        """Whoever leads now wants to be told, so that the answer of whoever led before need not be waited for."""
        await self._due.wait()
        raise MessagingUnavailable("The node is asked to register anew.")

    def _apply(self, answer: NodeRequestAnswer) -> bool:
        match answer:
            case Reconciliation(settled=settled):
                self._say(logging.INFO, f"Node {self._info().node_id} has joined.")
                self._executions.forget(settled)
                if self._tell_again:
                    self._tell_again = False
                    self._executions.tell_again()
                return True
            case RequestRefused(message=message, retryable=retryable):
                self._say(logging.WARNING, f"The orchestrator refuses this node: {message}")
                return not retryable
            case _:
                self._say(logging.WARNING, "The orchestrator answered another question than the registration.")
                return True

    def _say(self, level: int, message: str) -> None:
        """Log changes, not every registration."""
        if message != self._said:
            self._said = message
            _log.log(level, message)
