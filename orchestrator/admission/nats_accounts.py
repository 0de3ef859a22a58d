"""Accounts of Tarpon on a NATS server, by the names that the configuration of that server gives them.

They had shorter names once, which others use too, and servers that were set up then go on as they are. So the
configuration has the names in a mapping of subjects: what is sent to ask for them arrives on a subject that has them.
"""

import asyncio
import contextlib
import logging
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.errors import MessagingUnavailable, MessagingUnfit
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import finish, raising_cancellation

_log = logging.getLogger(__name__)

ORCHESTRATORS = "TARPON"
"""Not to be changed: a server keeps streams under the name of their account."""
_DAMAGED = "The configuration of the NATS server tells what accounts are called in a mapping that was changed: it"
_HINT = "Put the `mappings` of what `tarpon agent nats-config` prints into its account TARPON again, and reload it."
ASK_SECONDS = 5.0
RETRY_SECONDS = 0.5


class Accounts(NamedTuple):
    nodes: str = "TARPON_NODES"
    integrations: str = "TARPON_INTEGRATIONS"
    system: str = "TARPON_SYSTEM"


EARLIER = Accounts("NODES", "INTEGRATIONS", "SYS")
"""What they are called by a configuration that does not tell."""


def announcement(accounts: Accounts) -> tuple[str, str]:
    """From which subject to which a server maps, so that it tells the names."""
    return subjects.accounts_question("*"), subjects.accounts_answer("$1", accounts)


async def ask_accounts(client: Client) -> Accounts:
    """Raises MessagingUnfit, what nats-py raises, and TimeoutError."""
    question = subjects.accounts_question(client.new_inbox().rpartition(".")[2])
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def take(message: Msg) -> None:
        if f"{message.subject}.".startswith(f"{question}.") and not arrived.done():
            arrived.set_result(message.subject)

    subscription = await raising_cancellation(client.subscribe(subjects.ALL_ACCOUNT_NAMES, cb=take))
    try:
        await client.publish(question)
        async with asyncio.timeout(ASK_SECONDS):
            subject = await arrived
    finally:
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await finish(subscription.unsubscribe(), within=1.0)
    return _names(question, subject)


def _names(question: str, arrived_on: str) -> Accounts:
    try:
        names = subjects.accounts_told(question, arrived_on)
    except ValueError:
        raise MessagingUnfit(f"{_DAMAGED} says what is no name.", hint=_HINT) from None
    if not names:
        return EARLIER
    if len(names) < len(Accounts._fields):
        raise MessagingUnfit(f"{_DAMAGED} says {len(names)} instead of {len(Accounts._fields)}.", hint=_HINT)
    return Accounts(*names[: len(Accounts._fields)])  # a later version may tell more


class KnownAccounts:
    """`known` is set once the names have been asked for; they may be others when a server has been started again."""

    def __init__(self) -> None:
        self.names = Accounts()
        self.known = asyncio.Event()

    async def follow(self, connection: Connection) -> None:
        """Ask over each connection, until cancelled."""
        number, told = 0, ""
        while True:
            new = await connection.next_connection(number)
            try:
                self.names, told = await ask_accounts(connection.client), ""
            except MessagingUnfit as error:
                if error.message != told:
                    _log.warning("Nobody can join: %s [%s] %s", error.message, error.code, error.hint)
                    told = error.message
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
                _log.debug("NATS: the names of accounts are not known yet: %r", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            number = new
            self.known.set()

    def __repr__(self) -> str:
        return f"<KnownAccounts {', '.join(self.names)}>"
